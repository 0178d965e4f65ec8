"""How little an adversary needs to find forgotten interactions in the rows of a recommender."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from auditor.checks.check import Workload
from auditor.probes.few_shot import custom
from auditor.probes.few_shot.fold_in import ITEMS, USERS, Fold
from auditor.probes.few_shot.one_shot import Settings
from auditor.records.base import Row
from auditor.records.figure import Figure
from auditor.records.score import Reading, Score
from auditor.records.source import Source
from auditor.tasks.custom.sets import CustomSets
from auditor.tasks.custom.subject import CustomModel
from auditor.tasks.recommender.subject import RecommenderModel

Array = NDArray[np.float64]

ONE_SHOT, BY_ITEMS, BY_USERS = "one shot", "users from items", "items from users"
UNSEEN = "directions of rows too narrow to be seen"
_SIDES = {BY_ITEMS: ITEMS, BY_USERS: USERS}
_LEAST_GAP = 3.0
"""Spreads of the references by which an arm has to tell the original from them, to count."""
_LEAST_SPREAD = 1e-6
_MOSTLY = 0.5


class FewShot(custom.FewShot):
    """Three arms, and the model that shows most in any: one-shot probes, and folding in by either side.

    *One shot* is that of any model (:class:`auditor.probes.few_shot.custom.FewShot`), on the row of the user beside
    that of the item. *Users from items* puts each user together from the items that the attack half names, and x_i is
    the share of the items never taken that then score below one of the eval half; *items from users* the other way
    round (:mod:`auditor.probes.few_shot.fold_in`), each a mean over the layers of ``tables``. The second arm needs no
    row of the user: it sees what the rows of items keep of forgotten users, which of them go together, and deleting or
    pushing away the rows of users does not touch that. With ρ of each arm by its own references and original, T is the
    larger of them. A reference is held against the others, as a further model is held against models that it is none
    of. Where retain knows fewer than half of the forgotten users, items are not put together from them, and the other
    way round.

    An arm in which the original stands less than three spreads above the references does not count, and then nothing is
    cleared: what it would show is not seen. Putting a new user together from known items is folding-in (Sarwar et
    al. 2002); as a question to an unlearned model it is this project's own.
    """

    name: ClassVar[str] = "few_shot"
    tasks: ClassVar[tuple[str, ...]] = ("recommender",)
    summary: ClassVar[str] = (
        "Gave a probe one forgotten interaction to find the others by, put forgotten users together from half of what "
        "they took (or items from half of their users), and looked how far up the others then rank by the model's rows."
    )
    finds: ClassVar[str] = "Given a few forgotten interactions, the model's inner rows put the others together by"
    unit: ClassVar[str] = (
        "rank of forgotten interactions by the arm that shows most, from references (0) to original (1)"
    )
    cost: ClassVar[str] = "its tables, read once"
    figures: ClassVar[tuple[Figure, ...]] = (
        *custom.FewShot.figures,
        Figure(
            x="layer",
            y="rank",
            panels=("arm",),
            categories=True,
            x_label="layer",
            y_label="share of what was never taken below",
            caption=(
                "How far up forgotten interactions rank when users are put together from items, or items from users, by"
                " the rows of each layer. 0.5 is chance; what forgotten users share with others lifts the references "
                "above it."
            ),
        ),
    )
    sources: ClassVar[tuple[Source, ...]] = (
        Source(
            paper="Sarwar et al. 2002", here="folding-in, of forgotten users from half of what they took", part=True
        ),
    )
    caveats: ClassVar[tuple[str, ...]] = (
        "It needs forgotten interactions that belong together; of users who are like everyone else it sees little.",
    )

    def workload(self, data: CustomSets, settings: Settings, n_layers: int) -> Workload:
        """The tables once."""
        return Workload(forward=1)

    def score(self, subject: CustomModel, artefact: None, data: CustomSets, settings: Settings, seed: int) -> Score:
        """Measure one model by all arms."""
        assert isinstance(subject, RecommenderModel), "of this task"
        probed, tables = super().score(subject, artefact, data, settings, seed), subject.tables()
        one_shot = np.mean([reading.examples for reading in probed.readings.values()], axis=0)
        readings, rows, unseen = {ONE_SHOT: _reading(one_shot)}, list(probed.rows), 0
        for arm, side in _sides(data).items():
            fold = Fold.of(data, side, len(next(iter(tables.values()))[side]))
            found = {layer: fold.ranks(pair) for layer, pair in tables.items()}
            unseen += sum(map(fold.unseen, tables.values()))
            readings[arm] = _reading(torch.stack(list(found.values())).mean(0).numpy())
            rows += [_row(arm, layer, float(values.mean())) for layer, values in found.items()]
        return Score(
            check=self.name,
            readings=readings,
            n_examples=probed.n_examples,
            rows=rows,
            controls={UNSEEN: float(unseen)},
        )

    def rescale(self, original: Score, references: Sequence[Score]) -> Callable[[Score], Score]:
        """From three arms to the one that shows most; without two references their mean."""
        if len(references) < 2:
            return _mean_of_arms
        arms = [_arm(name, original, references) for name in original.readings]
        counted = [arm for arm in arms if arm.gap >= _LEAST_GAP]
        blind = next((_blind(arm) for arm in arms if arm.gap < _LEAST_GAP), None)
        if not counted:
            return lambda score: _mean_of_arms(score).model_copy(update={"cannot_clear_because": blind})
        # By identity: another model may carry the same numbers and is no reference.
        known = {id(score): row for score, row in zip(references, _of_references(counted, references), strict=True)}
        usual = max(score.controls[UNSEEN] for score in references)

        def one(score: Score) -> Score:
            row = known[id(score)] if id(score) in known else _most(counted, score)
            found = score.model_copy(update={"readings": {"largest arm": _reading(row)}})
            controls = {f"ρ by {arm.name} alone": float(arm.of(score).mean()) for arm in counted}
            return found.model_copy(
                update={
                    "controls": {**score.controls, **controls},
                    "cannot_clear_because": blind or _narrow(score, usual),
                }
            )

        return one


def _sides(data: CustomSets) -> dict[str, int]:
    """Arms by the side whose rows they rank by: none of a side whose rows no retrain has trained.

    Such rows stand where they began, near 0, and are alike in every retrain.
    """
    forget, retain = data.forget.inputs, data.retain.inputs
    known = {side: torch.isin(forget[:, side].unique(), retain[:, side]).double().mean() for side in (USERS, ITEMS)}
    return {arm: side for arm, side in _SIDES.items() if known[side] >= _MOSTLY}


@dataclass(frozen=True, kw_only=True)
class _Arm:
    """One arm between references and original.

    Attributes:
        name: of its reading.
        references: their values.
        delta: how far the original stands above their mean.
        gap: the same in spreads of the references.
    """

    name: str
    references: tuple[float, ...]
    delta: float
    gap: float

    def of(self, score: Score, but: int | None = None) -> Array:
        """ρ of one model by this arm alone, [n]; ``but`` a reference, which is then no part of the null."""
        null = float(np.mean([value for i, value in enumerate(self.references) if i != but]))
        return np.asarray((np.asarray(score.readings[self.name].examples) - null) / self.delta)


def _arm(name: str, original: Score, references: Sequence[Score]) -> _Arm:
    values = tuple(score.readings[name].value for score in references)
    delta = original.readings[name].value - float(np.mean(values))
    return _Arm(
        name=name, references=values, delta=delta, gap=delta / max(float(np.std(values, ddof=1)), _LEAST_SPREAD)
    )


def _blind(arm: _Arm) -> str:
    return (
        f"by the arm {arm.name} the original stands {arm.gap:.1f} spreads of the references above them, so that what a "
        "model keeps there is not seen"
    )


def _narrow(score: Score, usual: float) -> str | None:
    if score.controls[UNSEEN] <= usual:
        return None
    return "its rows differ so much in one direction that what they hold in others is not seen, as in no reference"


def _most(arms: Sequence[_Arm], score: Score, but: int | None = None) -> Array:
    return max((arm.of(score, but) for arm in arms), key=lambda row: float(row.mean()))


def _of_references(arms: Sequence[_Arm], references: Sequence[Score]) -> Array:
    """ρ of each reference, [K, n], held against the others, and its deviation brought back to size.

    As for the arms of relearning (:mod:`auditor.attacks.relearning.arms`).
    """
    rows = np.stack([_most(arms, score, but=i) for i, score in enumerate(references)])
    centre, k = rows.mean(axis=0), len(references)
    return np.asarray(centre + (rows - centre) * (k - 1) / k)


def _mean_of_arms(score: Score) -> Score:
    row = np.mean([reading.examples for reading in score.readings.values()], axis=0)
    return score.model_copy(update={"readings": {"mean of the arms": _reading(row)}})


def _reading(values: Array) -> Reading:
    return Reading(value=float(values.mean()), examples=tuple(values.tolist()))


def _row(arm: str, layer: str, rank: float) -> Row:
    return {"arm": arm, "layer": layer, "rank": rank}

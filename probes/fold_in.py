"""Whether a recommender's rows still put together what forgotten users took, whoever they are now said to be."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from auditor.checks.check import Check, NoSettings, Workload
from auditor.checks.subject import Features
from auditor.records.access import Access
from auditor.records.base import Row
from auditor.records.evidence import Family, May
from auditor.records.figure import Figure
from auditor.records.score import Reading, Score
from auditor.records.source import Source
from auditor.tasks.custom.sets import CustomExamples, CustomSets
from auditor.tasks.recommender.ranks import Asked, never_made, ranks
from auditor.tasks.recommender.subject import RecommenderModel

Array = NDArray[np.float64]

ITEMS, USERS = "items", "users"
# In spreads of the references, as for the arms of relearning.
_LEAST_GAP = 7.5
_LEAST_SPREAD = 1e-3
_EMPTY = 1e-12


class FoldIn(Check[RecommenderModel, CustomSets, NoSettings, None]):
    """A user made of the items that the attack half names, and an item of its users, rank the eval half.

    With rows z-scored over the users or items of retain and brought to length 1, in each layer that ``tables`` gives,

        by items: s_ui = (Σ of z_k over items k that u took in the attack half) · z_i,
        by users: s_ui = z_u · (Σ of z_v over users v who took i in the attack half),

    and x_ui is the share of the items never taken by u that score below i (:mod:`auditor.tasks.recommender.ranks`),
    averaged over layers. The first needs no row of the user, and so sees what a model keeps of forgotten users in the
    rows of items: which of them go together. Deleting the rows of users, or pushing them away, does not touch that.
    The second sees which users are still alike, whatever became of the items. ρ of a model is the larger of the two,
    each by its own original and references; a side counts where the attack half, folded in without the interaction
    itself, tells the original from the references by 7.5 of their spreads, and the wider one always does.

    Putting a new user together from known items is old (folding-in, Sarwar et al. 2002); as a question to an unlearned
    model it is this project's own.
    """

    name: ClassVar[str] = "fold_in"
    family: ClassVar[Family] = "representation"
    may: ClassVar[May] = "accuse"
    access: ClassVar[Access] = "weights"
    tasks: ClassVar[tuple[str, ...]] = ("recommender",)
    asks: ClassVar[tuple[type, ...]] = (Features,)
    summary: ClassVar[str] = (
        "Put forgotten users together from half of the items they took, and items from half of their users, and looked "
        "how far up the other half then ranks by the model's inner rows."
    )
    finds: ClassVar[str] = "Given half of the forgotten interactions, the model's rows rank the others by"
    unit: ClassVar[str] = "share of never-taken items that rank below the forgotten one (0.5 by chance)"
    cost: ClassVar[str] = "its tables, read once"
    figures: ClassVar[tuple[Figure, ...]] = (
        Figure(
            x="layer",
            y="rank",
            panels=("side",),
            categories=True,
            x_label="layer",
            y_label="share of never-taken items below",
            caption=(
                "How far up forgotten interactions rank when users are put together from items (one panel), and items "
                "from users (the other), by the rows of each layer. 0.5 is chance; what users share with those who stay "
                "lifts the references above it."
            ),
        ),
    )
    sources: ClassVar[tuple[Source, ...]] = (
        Source(paper="Sarwar et al. 2002", here="folding-in, of forgotten users from half of what they took", part=True),
    )
    caveats: ClassVar[tuple[str, ...]] = (
        "It needs forgotten interactions that belong together; of users who are like everyone else it sees little.",
    )

    def workload(self, data: CustomSets, settings: NoSettings, n_layers: int) -> Workload:
        """The tables once."""
        return Workload(forward=1)

    def score(
        self, subject: RecommenderModel, artefact: None, data: CustomSets, settings: NoSettings, seed: int
    ) -> Score:
        """Fold in by both sides, in every layer."""
        tables = {name: _alike(pair, data) for name, pair in subject.tables().items()}
        folds = {half: _Fold.of(data, getattr(data, half), tables) for half in ("forget_eval", "forget_attack")}
        readings, rows = {}, []
        for side in (ITEMS, USERS):
            found = {half: fold.by_layer(side, tables) for half, fold in folds.items()}
            own, spare = (torch.stack(list(found[half].values())).mean(0) for half in folds)
            readings[side] = Reading(
                value=float(own.mean()), examples=tuple(own.tolist()), choice=float(spare.mean()) if len(spare) else None
            )
            rows += _rows(side, found["forget_eval"])
        return Score(check=self.name, readings=readings, n_examples=len(data.forget_eval), rows=rows)

    def rescale(self, original: Score, references: Sequence[Score]) -> Callable[[Score], Score]:
        """The larger side, each in units of its own gap; the mean of both where there are no references."""
        sides = _counted(original, references)
        widest = max((side.delta for side in sides), default=1.0)
        # By identity: another model may carry the same numbers and is no reference.
        known = {id(score): row for score, row in zip(references, _of_references(sides, references), strict=True)}

        def one(score: Score) -> Score:
            if not sides:
                row = np.mean([reading.examples for reading in score.readings.values()], axis=0)
            else:
                row = known.get(id(score), _larger(sides, score)) * widest
            reading = Reading(value=float(row.mean()), examples=tuple(row.tolist()))
            return score.model_copy(update={"readings": {"larger side": reading}})

        return one


@dataclass(frozen=True, kw_only=True)
class _Fold:
    """One half of forget, and what the attack half says of its users and items.

    Attributes:
        asked: the interactions that are ranked.
        free: which items each of their users never took, bool [users, items].
        taken: which items each user took in the attack half, float64 [all users, items].
        itself: whether an interaction stands in the attack half, and is taken out of what it is ranked by.
    """

    asked: Asked
    free: Tensor
    taken: Tensor
    itself: bool

    @classmethod
    def of(cls, data: CustomSets, examples: CustomExamples, tables: Mapping[str, tuple[Tensor, Tensor]]) -> "_Fold":
        users, items = next(iter(tables.values()))
        asked, taken = Asked.of(examples), torch.zeros(len(users), len(items), dtype=torch.float64)
        attack = data.forget_attack.inputs
        taken[attack[:, 0], attack[:, 1]] = 1.0
        return cls(
            asked=asked,
            free=never_made(data, asked.users, len(items)),
            taken=taken,
            itself=examples is data.forget_attack,
        )

    def by_layer(self, side: str, tables: Mapping[str, tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
        """Ranks of the interactions in each layer, float64 [n]."""
        return {name: self._ranks(side, *pair) for name, pair in tables.items()}

    def _ranks(self, side: str, users: Tensor, items: Tensor) -> Tensor:
        own = users[self.asked.users]
        if side == ITEMS:
            scores = self.taken[self.asked.users] @ items @ items.T
            length = items.square().sum(1).expand(len(own), -1)
        else:
            scores = own @ (self.taken.T @ users).T
            length = own.square().sum(1, keepdim=True).expand(-1, len(items))
        if self.itself:
            # Each interaction without itself; what else an item or a user is made of stays.
            scores = scores - self.taken[self.asked.users] * length
        return ranks(scores, self.asked, self.free)


def _alike(pair: tuple[Tensor, Tensor], data: CustomSets) -> tuple[Tensor, Tensor]:
    """Rows of users and of items, each z-scored over those of retain and brought to length 1."""
    users, items = (_unit(rows, data.retain.inputs[:, side].unique()) for side, rows in enumerate(pair))
    return users, items


def _unit(rows: Tensor, kept: Tensor) -> Tensor:
    known = rows[kept]
    spread = known.std(0, correction=0)
    scaled = (rows - known.mean(0)) / torch.where(spread > _EMPTY, spread, torch.inf)
    return scaled / scaled.norm(dim=1, keepdim=True).clamp_min(_EMPTY)


def _rows(side: str, found: Mapping[str, Tensor]) -> list[Row]:
    return [{"side": side, "layer": layer, "rank": float(values.mean())} for layer, values in found.items()]


@dataclass(frozen=True, kw_only=True)
class _Side:
    """One way of putting together, between references and original.

    Attributes:
        name: ``items`` or ``users``.
        references: their values.
        delta: how far the original stands above their mean, > 0.
        gap: the same on the attack half, in spreads of the references.
    """

    name: str
    references: tuple[float, ...]
    delta: float
    gap: float

    def of(self, score: Score, but: int | None = None) -> Array:
        """ρ by this side alone, [n]; ``but`` the number of a reference, which is then no part of the null."""
        null = float(np.mean([value for i, value in enumerate(self.references) if i != but]))
        return np.asarray((np.asarray(score.readings[self.name].examples) - null) / self.delta)


def _counted(original: Score, references: Sequence[Score]) -> list[_Side]:
    """The sides that make up T, widest gap first; none without two references, or where the original stands above none."""
    if len(references) < 2:
        return []
    found = [side for name in original.readings if (side := _side(name, original, references)) is not None]
    found.sort(key=lambda side: -side.gap)
    return [side for i, side in enumerate(found) if i == 0 or side.gap >= _LEAST_GAP]


def _side(name: str, original: Score, references: Sequence[Score]) -> _Side | None:
    values = tuple(score.readings[name].value for score in references)
    delta = original.readings[name].value - float(np.mean(values))
    spare, chosen = original.readings[name].choice, [score.readings[name].choice for score in references]
    kept = [value for value in chosen if value is not None]
    if delta <= 0 or spare is None or len(kept) < len(chosen):
        return None
    spread = max(float(np.std(kept, ddof=1)), _LEAST_SPREAD)
    return _Side(name=name, references=values, delta=delta, gap=(spare - float(np.mean(kept))) / spread)


def _larger(sides: Sequence[_Side], score: Score, but: int | None = None) -> Array:
    return max((side.of(score, but) for side in sides), key=lambda row: float(row.mean()))


def _of_references(sides: Sequence[_Side], references: Sequence[Score]) -> Array:
    """ρ of each reference, [K, n]: held against the others, and its deviation brought back to size.

    As for the arms of relearning: a further model is held against a mean that it is no part of.
    """
    if not sides:
        return np.zeros((len(references), 0))
    rows = np.stack([_larger(sides, score, but=i) for i, score in enumerate(references)])
    centre, k = rows.mean(axis=0), len(references)
    return np.asarray(centre + (rows - centre) * (k - 1) / k)

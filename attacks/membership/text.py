"""Membership in the outputs of a language model: can an adversary tell that the forget facts were trained on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from pydantic import Field

from auditor.attacks.membership import figures
from auditor.attacks.membership.bag_of_words import blind_auc
from auditor.attacks.membership.readings import (
    MARGIN,
    MembershipSettings,
    curves,
    detection_rates,
    is_void,
    margin_score,
    margins_of,
    require_holdout,
)
from auditor.attacks.membership.scores import Array, Rate, priv_leak
from auditor.attacks.membership.token_scores import token_attacks
from auditor.attacks.membership.words_by_subject import not_by_chance, p_by_subject
from auditor.checks.check import Check, Room, Workload
from auditor.models.canonical import CANONICAL_FACTS, CANONICAL_PASSES
from auditor.models.precision import doubled
from auditor.randomness import derive_seed, generator
from auditor.records.access import Access, allows
from auditor.records.base import Frozen, Row
from auditor.records.evidence import Family, May
from auditor.records.figure import Figure
from auditor.records.score import Items, Score
from auditor.records.source import Source
from auditor.tasks.causal_lm.sets import Facts, FactsData
from auditor.tasks.causal_lm.sides import sides
from auditor.tasks.causal_lm.subject import CausalLM

_CALIBRATED = "calibrated loss"
# Of these attacks the one that MUSE (arXiv 2407.06460) takes.
_PRIV_LEAK_OF = "Min-K% AUC"


class Settings(MembershipSettings):
    """Sizes."""

    # Each fact takes a backward pass of its own.
    gradient_facts: int = Field(
        default=200, ge=0, description="facts of either set whose gradient norm is drawn, at most; 0 for none"
    )


@dataclass(frozen=True, kw_only=True)
class Blind:
    """What the words tell without any model.

    Attributes:
        rate: AUC; None where there are too few facts.
        p: against an assignment by chance; None where no word of the user's has to be tested.
    """

    rate: Rate | None
    p: float | None


class Membership(Check[CausalLM, FactsData, Settings, Blind]):
    """Log-probabilities of forget facts less those of holdout facts, held against references.

    T(m) = mean over forget eval of log p_m(x) − mean over holdout of log p_m(x), p the probability of the
    answer, in nats per token. As in the check of classifiers every reference is measured on the same facts, so
    T(u) − r̄ is the difference of losses calibrated by the references (Watson et al. 2022, arXiv 2111.08440), and ρ its
    share of the original's. Chosen beforehand among the attacks below for that: the others correct for how hard a fact
    is by itself, which the references do better.

    Drawn, not counted: ROC, AUC and TPR at low FPR of loss (Yeom et al. 2018), zlib, Min-K% and Min-K%++
    (:mod:`auditor.attacks.membership.token_scores`), calibrated loss, and −‖∇L‖ over all weights (Nasr et al. 2019,
    arXiv 1812.00910) after homogeneous units are rescaled; and PrivLeak on Min-K% of every model, the references' each
    against the others.

    Where the words alone tell forget from holdout, holdout is no yardstick for what an unlearned model does to text it
    never saw, and the check has no say.
    """

    name: ClassVar[str] = "membership"
    family: ClassVar[Family] = "privacy"
    may: ClassVar[May] = "clear"
    access: ClassVar[Access] = "logits"
    tasks: ClassVar[tuple[str, ...]] = ("causal-lm",)
    requests: ClassVar[tuple[str, ...]] = ("facts",)
    needs: ClassVar[tuple[str, ...]] = ("forget", "retain", "holdout")
    summary: ClassVar[str] = (
        "Compared the log-probability of forget answers with that of answers never trained on, each against the "
        "references' on the same facts."
    )
    finds: ClassVar[str] = "For telling forgotten facts from unseen ones, the model's outputs still hold"
    unit: ClassVar[str] = "mean token log-probability of forget answers less that of holdout answers (nats)"
    cost: ClassVar[str] = (
        "a pass with gradients over eval and holdout facts, and three over retain facts for rescaling (at most 256)"
    )
    figures: ClassVar[tuple[Figure, ...]] = figures.TEXT
    sources: ClassVar[tuple[Source, ...]] = (
        Source(paper="arXiv 2111.08440", here="losses calibrated by the references"),
        Source(paper="arXiv 2407.06460", here="PrivLeak, drawn beside the score", part=True),
        Source(paper="arXiv 2310.16789", here="Min-K%, drawn", part=True),
        Source(paper="arXiv 2404.02936", here="Min-K%++, drawn", part=True),
        Source(paper="arXiv 2012.07805", here="likelihood over compressed size, drawn", part=True),
        Source(paper="arXiv 1812.00910", here="the gradient's norm, drawn", part=True),
        Source(paper="arXiv 1709.01604", here="the loss, drawn", part=True),
        Source(
            paper="arXiv 2406.16201",
            here="the baseline of words that sees no model, and voids the check where it wins",
            part=True,
        ),
    )
    caveats: ClassVar[tuple[str, ...]] = (
        "Unlearning was given the facts measured here and can lower their probability without removing what the "
        "weights hold: membership in the outputs clears the outputs only.",
        "The attack curves decide nothing.",
    )
    settings_type: ClassVar[type[Frozen]] = Settings
    # Rescaled, and its gradients.
    copies: ClassVar[int] = 2

    def fitted(self, settings: Settings, room: Room, frozen: Mapping[str, object]) -> Settings:
        """Without the gradients, which are drawn and not counted, where the weights may not be used."""
        return settings if allows(room.access, "weights") else settings.model_copy(update={"gradient_facts": 0})

    def workload(self, data: FactsData, settings: Settings, n_layers: int) -> Workload:
        """Gradients, and the facts by which units are rescaled."""
        if not settings.gradient_facts or data.holdout is None:
            return Workload()
        n = sum(min(settings.gradient_facts, len(facts)) for facts in (data.forget_eval, data.holdout))
        return Workload(training=n, forward=CANONICAL_PASSES * min(CANONICAL_FACTS, len(data.retain)))

    def prepare(self, original: CausalLM, data: FactsData, settings: Settings, seed: int) -> Blind:
        """Compute the blind baseline, which sees no model and is the same for all."""
        holdout, folds = require_holdout(self.name, data), derive_seed(seed, "membership", "folds")
        # A draw that was committed is believed, whatever the words happen to tell.
        p = p_by_subject(data.forget, holdout, folds) if data.assigned == "declared" else None
        return Blind(rate=blind_auc(data.forget, holdout, folds), p=p)

    def score(self, subject: CausalLM, artefact: Blind, data: FactsData, settings: Settings, seed: int) -> Score:
        """Measure one model from its recordings of forget eval and holdout."""
        sets = {"forget_eval": data.forget_eval, "holdout": require_holdout(self.name, data)}
        found = {
            name: _read(subject, name, facts) for name, facts in (*sets.items(), ("forget_attack", data.forget_attack))
        }
        attacks = {name: (own, found["holdout"][name]) for name, own in found["forget_eval"].items()}
        # Facts of one subject are alike: the null may only move them together.
        blocks = {name: [fact.subject for fact in facts.items] for name, facts in sets.items()}
        score = margin_score(
            self.name, *attacks["loss"], artefact.rate, settings, seed, (blocks["forget_eval"], blocks["holdout"])
        )
        if settings.gradient_facts:
            attacks["gradient norm"] = _gradients(subject, tuple(sets.values()), settings.gradient_facts, seed)
        controls = {k: v for name, sides in attacks.items() for k, v in detection_rates(name, *sides).items()}
        if data.by_chance:
            score = _with_sides(score, data, {name: values["loss"] for name, values in found.items()})
        # It voids the comparison with references as well: unlearning may treat another kind of text otherwise.
        void = not_by_chance(artefact.p) if data.by_chance else _void(artefact.rate)
        return score.model_copy(
            update={
                "rows": _curves(attacks),
                "controls": {**score.controls, **controls},
                "notes": score.notes if void is None else (f"No say: {void}.",),
                "not_applicable_because": void,
                "items": _items(data, {name: values["loss"] for name, values in found.items()}, settings.tops),
            }
        )

    def choose(self, original: Score, references: Sequence[Score]) -> tuple[str, ...]:
        """Choose the difference; the holdout log-probabilities are carried for the curves."""
        return (MARGIN,)

    def summarise(
        self, scores: Mapping[str, Score], references: Sequence[str]
    ) -> tuple[list[Row], dict[str, dict[str, float]]]:
        """Curves of the calibrated loss and PrivLeak of every model; a reference is held against the others."""
        cells: list[Row] = []
        controls: dict[str, dict[str, float]] = {}
        for name in scores:
            # A reference is calibrated by the others: its own loss among them would take off part of itself.
            others = [scores[reference] for reference in references if reference != name]
            if not others:
                continue
            sides = _calibrated(scores[name], others)
            cells += curves(name, {_CALIBRATED: sides})
            controls[name] = detection_rates(_CALIBRATED, *sides)
            leak = priv_leak(scores[name].controls[_PRIV_LEAK_OF], [s.controls[_PRIV_LEAK_OF] for s in others])
            controls[name] |= {} if leak is None else {"PrivLeak": leak}
        return cells, controls


def _with_sides(score: Score, data: FactsData, losses: Mapping[str, Array]) -> Score:
    """The score with log-probabilities by subject; the difference between the sides is what T is."""
    forget = [torch.from_numpy(losses[split]) for split in ("forget_attack", "forget_eval")]
    both = sides(data, forget, torch.from_numpy(losses["holdout"]))
    margin = score.readings[MARGIN].model_copy(update={"sides": both})
    return score.model_copy(update={"readings": {**score.readings, MARGIN: margin}})


def _read(subject: CausalLM, split: str, facts: Facts) -> dict[str, Array]:
    return token_attacks(subject.recording(split), [fact.answer for fact in facts.items])


def _items(data: FactsData, values: Mapping[str, Array], tops: tuple[int, ...]) -> Items:
    """Log-probabilities of both forget halves and of holdout, by the subject that each fact is about."""
    assert data.holdout is not None, "asked for before"
    # Both halves: nothing is trained on either, and a single kept subject may lie in any of them.
    forget = (*data.forget_eval.items, *data.forget_attack.items)
    return Items(
        forget=(*values["forget_eval"].tolist(), *values["forget_attack"].tolist()),
        holdout=tuple(values["holdout"].tolist()),
        forget_about=tuple(fact.subject for fact in forget),
        holdout_about=tuple(fact.subject for fact in data.holdout.items),
        tops=tops,
        noun="subjects" if any(fact.subject for fact in forget) else "facts",
    )


def _curves(attacks: Mapping[str, tuple[Array, Array]]) -> list[Row]:
    """ROC curves; the model's name is put before them where they are gathered."""
    return [{key: row[key] for key in ("attack", "fpr", "tpr")} for row in curves("", attacks)]


def _void(blind: Rate | None) -> str | None:
    if blind is None or not is_void(blind):
        return None
    return (
        f"the words alone tell forget from holdout (blind AUC {blind.value:.2f}, lower limit {blind.low:.2f}), so that "
        "holdout is no yardstick for forget; give a holdout distributed like the forget set"
    )


def _calibrated(score: Score, others: Sequence[Score]) -> tuple[Array, Array]:
    """Log-probabilities less their mean over other models, of members and non-members."""
    own, rest = margins_of(score), [margins_of(other) for other in others]
    means = [np.mean([sides[i] for sides in rest], axis=0) for i in (0, 1)]
    return own[0] - means[0], own[1] - means[1]


def _gradients(subject: CausalLM, sets: tuple[Facts, ...], most: int, seed: int) -> tuple[Array, Array]:
    # Rescaled units change gradients and no output.
    model = subject.canonical()
    sides = [negative_gradient_norms(model, _some(facts, most, seed)) for facts in sets]
    return sides[0], sides[1]


def _some(facts: Facts, most: int, seed: int) -> Facts:
    picks = generator(seed, "gradients").permutation(len(facts))[:most]
    return facts.take(np.sort(picks).tolist())


def negative_gradient_norms(model: CausalLM, facts: Facts) -> Array:
    """−‖∇L‖₂ of each fact's mean token loss over all weights, [n]; less steep is more likely a member.

    Every weight of the model is left asking for gradients.
    """
    weights = [p.requires_grad_() for p in model.module.parameters() if p.is_floating_point()]
    device = weights[0].device
    norms = []
    # One fact a time: a batch would give the norm of a sum of gradients.
    for fact in facts.items:
        loss = model.losses(model.encoder.batch((fact,)).to(device)).sum()
        # Weights that a fact does not pass, as of idle experts, have no gradient.
        gradients = torch.autograd.grad(loss, weights, allow_unused=True)
        # float64: a sum over all weights of squares that may be tiny.
        squares = [doubled(g).square().sum() for g in gradients if g is not None]
        norms.append(float(torch.stack(squares).sum().sqrt()))
    return -np.array(norms)

"""Carry a model's inner states into the original: from which layer on are the answers still there?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from auditor.checks.check import Check, Workload
from auditor.models.alignment import Affine, fit_affine
from auditor.probes.depth import figures
from auditor.probes.depth.unlearning_depth import DEPTH_SCORE, depth_score, yardstick
from auditor.records.access import Access
from auditor.records.base import Frozen, Row
from auditor.records.evidence import Family, May
from auditor.records.figure import Figure
from auditor.records.score import Reading, Score
from auditor.records.source import Source
from auditor.tasks.causal_lm.encoding import Tokens
from auditor.tasks.causal_lm.sets import Facts, FactsData
from auditor.tasks.causal_lm.subject import CausalLM

# Measured on models that were never taught: up to .11 more on forget than on holdout subjects (docs/checks-text.md).
_THROUGH_THE_ORIGINAL = (
    "it reads through the original, which was taught forget and not holdout subjects, so that a model that knows "
    "neither scores them unlike"
)


class Settings(Frozen):
    """How the two models' states are aligned."""

    retain_facts: int = Field(default=512, ge=8, description="facts the alignment is fitted on, at most")
    ridge: float = Field(default=1e-3, gt=0, description="of the alignment, relative to the number of tokens")


@dataclass(frozen=True, kw_only=True)
class _Target:
    """What every model is patched into.

    Attributes:
        original: the subject that answers.
        retain: facts that the maps are fitted on.
        states: its residual stream over them, by block.
        own: its mean log p of each forget answer, unpatched.
    """

    original: CausalLM
    retain: Facts
    states: dict[str, Tensor]
    own: Tensor


class Depth(Check[CausalLM, FactsData, Settings, _Target]):
    """Activation patching, after the Unlearning Depth Score (arXiv 2605.24614).

    For block l the residual stream of model m on a forget fact, at every token, is mapped by an affine alignment fitted
    on retain tokens and put in place of the original's; what follows is the original's own. With p_l the probability
    of the answer that comes out (exp of its mean token log-probability),

        T(m) = max over l of mean over eval facts of p_l:

    the least erased layer decides, since an edit that erased late layers leaves the answer to be read off early ones.
    The published score is drawn beside it: Δ_l = mean over facts of log p_original − log p_l; UDS = Σ_KE Δ_l(r̄) ·
    clip(Δ_l/Δ_l(r̄), 0, 1) / Σ_KE Δ_l(r̄) over KE, the layers where the references' mean exceeds 0.05; 1 is as erased
    as the references.
    """

    name: ClassVar[str] = "depth"
    family: ClassVar[Family] = "representation"
    may: ClassVar[May] = "clear"
    access: ClassVar[Access] = "weights"
    tasks: ClassVar[tuple[str, ...]] = ("causal-lm",)
    requests: ClassVar[tuple[str, ...]] = ("facts",)
    summary: ClassVar[str] = (
        "Put the model's internal states into the original, layer by layer, and asked whether the answers come out."
    )
    finds: ClassVar[str] = "Put into the original, the model's inner states still carried"
    unit: ClassVar[str] = "answer probability after patching, at the least erased layer (0 to 1)"
    cost: ClassVar[str] = "a pass over retain and eval facts, and one pass of the original over eval for every block"
    decoys: ClassVar[tuple[str, ...]] = ("logit_mask",)
    figures: ClassVar[tuple[Figure, ...]] = figures.TEXT
    sources: ClassVar[tuple[Source, ...]] = (
        Source(
            paper="arXiv 2605.24614", here="the answer read at the least erased block; the published score beside it"
        ),
    )
    caveats: ClassVar[tuple[str, ...]] = (
        "Reads what the original's later layers can use; knowledge stored in a form they cannot read is missed.",
    )
    settings_type: ClassVar[type[Frozen]] = Settings

    def workload(self, data: FactsData, settings: Settings, n_layers: int) -> Workload:
        """Passes over retain, over eval, and one over eval for every block."""
        patched = (1 + n_layers) * len(data.forget_eval)
        return Workload(forward=min(settings.retain_facts, len(data.retain)) + patched)

    def prepare(self, original: CausalLM, data: FactsData, settings: Settings, seed: int) -> _Target:
        """The original itself, its retain states and its answers."""
        retain = data.retain.take(range(min(settings.retain_facts, len(data.retain))))
        own = original.log_probabilities(data.forget_eval)
        return _Target(original=original, retain=retain, states=_stream(original, retain), own=own)

    def score(self, subject: CausalLM, artefact: _Target, data: FactsData, settings: Settings, seed: int) -> Score:
        """Patch one model's states into the original."""
        own, sources = artefact.own, _stream(subject, artefact.retain)
        # Retain facts alone: a map that saw forget facts could itself write the answers into the original.
        maps = {layer: fit_affine(sources[layer], artefact.states[layer], settings.ridge) for layer in subject.layers()}
        logs = _patched(artefact.original, subject, data.forget_eval, maps)
        by_layer = {layer: values.exp() for layer, values in logs.items()}
        best = max(by_layer, key=lambda layer: float(by_layer[layer].mean()))
        cells: list[Row] = [
            {"layer": layer, "value": float(p.mean()), "lost": float((own - logs[layer]).mean()), "r2": maps[layer].r2}
            for layer, p in by_layer.items()
        ]
        return Score(
            check=self.name,
            readings={"least erased layer": _reading(by_layer[best])},
            n_examples=len(data.forget_eval),
            rows=cells,
            controls={"mean over layers": float(torch.stack(list(by_layer.values())).mean())},
            not_applicable_because=_THROUGH_THE_ORIGINAL if data.by_chance else None,
        )

    def summarise(
        self, scores: Mapping[str, Score], references: Sequence[str]
    ) -> tuple[list[Row], dict[str, dict[str, float]]]:
        """The published score of every model, where there are references that lose something."""
        lost = {name: {str(c["layer"]): float(c["lost"] or 0.0) for c in s.rows} for name, s in scores.items()}
        yard = yardstick([lost[name] for name in references]) if references else {}
        if not yard:
            return [], {}
        return [], {name: {DEPTH_SCORE: depth_score(own, yard)} for name, own in lost.items()}


def _reading(values: Tensor) -> Reading:
    return Reading(value=float(values.mean()), examples=tuple(values.tolist()))


def _stream(subject: CausalLM, facts: Facts) -> dict[str, Tensor]:
    """Residual stream at every token, padding left out, by block [tokens, width]."""
    parts: dict[str, list[Tensor]] = {layer: [] for layer in subject.layers()}
    for tokens in subject.batches(facts):
        for layer, states in subject.activations(tokens, subject.layers()).items():
            # States of padding mean nothing, and would pull the map towards them.
            parts[layer].append(states[tokens.mask].float().cpu())
    return {layer: torch.cat(rows) for layer, rows in parts.items()}


def _patched(original: CausalLM, subject: CausalLM, facts: Facts, maps: dict[str, Affine]) -> dict[str, Tensor]:
    """Mean token log-probability of each answer after patching, by block, float64 [n]."""
    found: dict[str, list[Tensor]] = {layer: [] for layer in maps}
    for tokens in subject.batches(facts):
        streams = subject.activations(tokens, subject.layers())
        for layer, carry in maps.items():
            # At every position: states of its own left in place would let the original answer by itself.
            found[layer].append(_with_states(original, layer, carry(streams[layer].float()), tokens))
    return {layer: torch.cat(parts) for layer, parts in found.items()}


def _with_states(original: CausalLM, layer: str, states: Tensor, tokens: Tokens) -> Tensor:
    # In the original's own type: apart from the states it has to run as it always does.
    with torch.no_grad(), original.intervene(layer, lambda own: states.to(own.dtype)):
        return -original.losses(tokens).cpu().double()

"""How deep the forgetting goes: the model's activations, layer by layer, put into the original."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from auditor.checks.check import Check, Workload
from auditor.errors import AuditError, UsageError
from auditor.models.alignment import Affine, fit_affine
from auditor.models.alignment import rows as as_rows
from auditor.probes.depth import figures
from auditor.probes.depth.unlearning_depth import DEPTH_SCORE, depth_score, erased, yardstick
from auditor.randomness import generator
from auditor.records.access import Access
from auditor.records.base import Frozen, Row
from auditor.records.evidence import Family, May
from auditor.records.figure import Figure
from auditor.records.score import Reading, Score
from auditor.records.source import Source
from auditor.tasks.classification.recording import Recording
from auditor.tasks.classification.sets import AuditData, Examples
from auditor.tasks.classification.subject import Classifier

SMALLEST_RETAIN = 8
_THROUGH_THE_ORIGINAL = (
    "it reads through the original, which was taught the forget examples and answers them better than holdout ones "
    "whatever the model hands it"
)


class DepthSettings(Frozen):
    """Size of the alignment and of its control."""

    fit_examples: int = Field(default=1024, ge=SMALLEST_RETAIN, description="retain examples the maps are fitted on")
    control_examples: int = Field(default=512, ge=1, description="other retain examples, patched as a control")
    positions: int = Field(default=8, ge=1, description="positions or tokens sampled per example for the fit")
    ridge: float = Field(default=1e-3, gt=0, description="penalty of the maps, per row")


@dataclass(frozen=True, kw_only=True)
class PatchTarget:
    """The original, ready to be patched.

    Attributes:
        original: the model that is patched.
        fit: retain examples that the maps are fitted on.
        splits: examples patched, by name; ``retain`` has none in common with ``fit``.
        unpatched: the original's own outputs on them.
        rows: its activations on ``fit``, sampled, float32 [rows, width] by layer.
    """

    original: Classifier
    fit: Examples
    splits: Mapping[str, Examples]
    unpatched: Mapping[str, Recording]
    rows: Mapping[str, Tensor]


class Depth(Check[Classifier, AuditData, DepthSettings, PatchTarget]):
    """Activation patching from the model into the original (Unlearning Depth Score, arXiv 2605.24614).

    At each cut point the model's activation, carried into the original's space by an affine map fitted on
    retain data, takes the place of the original's, and the original runs on from there. Where it still names
    the forget set's labels, what they need was there to be read. T is the mean logit margin
    φ = log p_y − log Σ_{k≠y} p_k of the patched original on the forget set, over the layers chosen. The
    margin, not the probability: that saturates near 1, where a class partly lost and one kept look the same.

    Early layers pass on nearly the whole image in any network, trained or not, so only layers whose gap
    between original and references is at least half the widest make up T; every layer stands in the cells.
    """

    name: ClassVar[str] = "depth"
    family: ClassVar[Family] = "representation"
    may: ClassVar[May] = "clear"
    access: ClassVar[Access] = "weights"
    tasks: ClassVar[tuple[str, ...]] = ("classification",)
    summary: ClassVar[str] = (
        "Put the model's activations, aligned on retain data, into the original, which ran on from there."
    )
    finds: ClassVar[str] = "Put into the original, the model's inner activations still carried"
    unit: ClassVar[str] = "logit margin of the true class in the patched original (nats), mean over chosen layers"
    cost: ClassVar[str] = (
        "the original: fit examples once; each model: fit, forget and control examples through itself, and "
        "forget and control examples through the original once per layer"
    )
    # Both edit the head alone: a reading of inner layers has to find the class behind either.
    decoys: ClassVar[tuple[str, ...]] = ("head_row_zeroed", "head_relabelling")
    figures: ClassVar[tuple[Figure, ...]] = figures.IMAGES
    sources: ClassVar[tuple[Source, ...]] = (
        Source(paper="arXiv 2605.24614", here="the same by activations of a classifier's layers"),
    )
    caveats: ClassVar[tuple[str, ...]] = (
        "The original does the reading: features by which it tells the class may serve other classes too, so "
        "only what exceeds the references counts.",
        "An affine map between differently trained networks is imperfect, so a low score may be a poor map: "
        "see the retain accuracy when patched.",
    )
    settings_type: ClassVar[type[Frozen]] = DepthSettings

    def prepare(self, original: Classifier, data: AuditData, settings: DepthSettings, seed: int) -> PatchTarget:
        """Divide the retain set and read the original's activations on the part the maps are fitted on."""
        fit, control = _divide(len(data.retain), settings, seed)
        examples = data.retain.take(fit)
        splits = {"forget_attack": data.forget_attack, "forget_eval": data.forget_eval}
        unpatched = {name: original.recording(name) for name in splits}
        # From the recording: the control's unpatched outputs cost no second pass.
        retain = original.recording("retain")
        return PatchTarget(
            original=original,
            fit=examples,
            splits={**splits, "retain": data.retain.take(control)},
            unpatched={**unpatched, "retain": _outputs(retain.labels[control], retain.logits[control])},
            rows=activation_rows(original, examples, settings.positions, seed),
        )

    def score(
        self, subject: Classifier, artefact: PatchTarget, data: AuditData, settings: DepthSettings, seed: int
    ) -> Score:
        """Patch one model into the original at every layer."""
        # The seed of prepare: rows of two models pair up only at the same positions of the same examples.
        source = activation_rows(subject, artefact.fit, settings.positions, seed)
        # Retain examples alone: a map that saw forget examples could itself write the class into the original.
        maps = {layer: fit_affine(source[layer], artefact.rows[layer], settings.ridge) for layer in source}
        patched = {
            split: patched_outputs(subject, artefact.original, examples, maps)
            for split, examples in artefact.splits.items()
        }
        return Score(
            check=self.name,
            readings={layer: _reading(layer, patched) for layer in maps},
            n_examples=len(data.forget_eval),
            rows=[row for layer in maps for row in _rows(layer, maps[layer], patched, artefact.unpatched)],
            controls=_controls(subject, artefact, patched),
            not_applicable_because=_THROUGH_THE_ORIGINAL if data.by_chance else None,
        )

    def workload(self, data: AuditData, settings: DepthSettings, n_layers: int) -> Workload:
        """One pass over what the maps are fitted on; over the rest one, and one of the original for each layer."""
        n_fit, n_control = _sizes(len(data.retain), settings)
        patched = len(data.forget_attack) + len(data.forget_eval) + n_control
        return Workload(forward=n_fit + (1 + n_layers) * patched)

    def choose(self, original: Score, references: Sequence[Score]) -> tuple[str, ...]:
        """Layers whose attack-half gap between original and references is at least half the widest."""
        if not references:
            return tuple(original.readings)
        # By the attack half and without the subject: the layers are fixed before what is judged is looked at.
        gaps = {
            layer: _choice(original, layer) - float(np.mean([_choice(score, layer) for score in references]))
            for layer in original.readings
        }
        widest = max(gaps.values())
        # No layer tells them apart, and half of a negative gap would be no bar.
        if widest <= 0:
            return tuple(gaps)
        return tuple(name for name, gap in gaps.items() if gap >= widest / 2)

    def summarise(
        self, scores: Mapping[str, Score], references: Sequence[str]
    ) -> tuple[list[Row], dict[str, dict[str, float]]]:
        """Each model's Unlearning Depth Score against the mean reference, and its least erased layer."""
        losses = {name: _losses(score) for name, score in scores.items()}
        yard = yardstick([losses[name] for name in references]) if references else {}
        if not yard:
            return [], {}
        rows: list[Row] = []
        controls = {}
        for name, own in losses.items():
            shares = erased(own, yard)
            rows += [{"model": name, "layer": layer, "erased": share} for layer, share in shares.items()]
            controls[name] = {
                DEPTH_SCORE: depth_score(own, yard),
                # The mean hides a layer left alone, from which the class can still be read.
                "share erased at the least erased layer": min(shares.values()),
            }
        return rows, controls


def sample_positions(activation: Tensor, count: int, random: np.random.Generator) -> Tensor:
    """At most ``count`` vectors of every example, float32 [rows, width]: all where there are no more.

    Of token states [n, tokens, d] the first is always taken: there transformers keep the class token.
    """
    n, vectors = activation.shape[0], as_rows(activation)
    positions = vectors.shape[0] // n
    if positions > count:
        picks = random.integers(0, positions, (n, count))
        if activation.ndim == 3:
            picks[:, 0] = 0
        index = torch.from_numpy(picks + positions * np.arange(n)[:, None]).flatten()
        vectors = vectors[index.to(vectors.device)]
    return vectors.float().cpu()


def activation_rows(subject: Classifier, examples: Examples, positions: int, seed: int) -> dict[str, Tensor]:
    """Sample activation vectors of every layer, float32 [rows, width].

    One seed takes the same positions of the same examples in every model, so that rows pair up.
    """
    layers = subject.layers()
    randoms = {layer: generator(seed, "depth", "positions", layer) for layer in layers}
    parts: dict[str, list[Tensor]] = {layer: [] for layer in layers}
    for inputs, _ in subject.batches(examples):
        for layer, activation in subject.activations(inputs, layers).items():
            parts[layer].append(sample_positions(activation, positions, randoms[layer]))
    return {layer: torch.cat(blocks) for layer, blocks in parts.items()}


def patched_outputs(
    source: Classifier, target: Classifier, examples: Examples, maps: Mapping[str, Affine]
) -> dict[str, Recording]:
    """Run ``target`` with a layer's activation replaced by the mapped one of ``source``, for each layer."""
    logits: dict[str, list[Tensor]] = {layer: [] for layer in maps}
    for inputs, _ in source.batches(examples):
        # One pass of the source serves every layer; only the target runs on from each.
        activations = source.activations(inputs, tuple(maps))
        for layer, affine in maps.items():
            mapped = affine(activations[layer].float().cpu())
            logits[layer].append(_run_on(target, inputs, layer, mapped))
    return {layer: _outputs(examples.labels, torch.cat(blocks)) for layer, blocks in logits.items()}


def _run_on(target: Classifier, inputs: Tensor, layer: str, activation: Tensor) -> Tensor:
    # In the target's own type: apart from the activation it has to run as it always does.
    with torch.no_grad(), target.intervene(layer, lambda own: activation.to(own)):
        return target.forward(inputs).float().cpu()


def _divide(n: int, settings: DepthSettings, seed: int) -> tuple[Tensor, Tensor]:
    """Choose retain examples to fit on and, apart from them, to check on; their indices."""
    if n < SMALLEST_RETAIN:
        raise UsageError(
            f"the retain set has {n} examples; depth needs {SMALLEST_RETAIN} or more to align models, supply them"
        )
    # Drawn: a retain set sorted by class would leave some classes out of the fit.
    order = torch.from_numpy(generator(seed, "depth", "retain").permutation(n))
    n_fit, n_control = _sizes(n, settings)
    return order[:n_fit], order[n_fit : n_fit + n_control]


def _sizes(n: int, settings: DepthSettings) -> tuple[int, int]:
    """Number of retain examples, of n, to fit on and to check on."""
    # A quarter is kept for the control, without which a poor map passes for forgetting.
    n_fit = min(settings.fit_examples, 3 * n // 4)
    return n_fit, min(settings.control_examples, n - n_fit)


def _outputs(labels: Tensor, logits: Tensor) -> Recording:
    return Recording(labels=labels, logits=logits, features={})


def _reading(layer: str, patched: Mapping[str, Mapping[str, Recording]]) -> Reading:
    margins = patched["forget_eval"][layer].margins
    return Reading(
        value=float(margins.mean()),
        examples=tuple(margins.tolist()),
        choice=float(patched["forget_attack"][layer].margins.mean()),
    )


def _rows(
    layer: str,
    affine: Affine,
    patched: Mapping[str, Mapping[str, Recording]],
    unpatched: Mapping[str, Recording],
) -> list[Row]:
    """One row per split; ``loss`` is Δ_l, the log-probability lost by patching, in nats."""
    return [
        {
            "layer": layer,
            "split": split,
            "margin": float(outputs[layer].margins.mean()),
            "accuracy": float(outputs[layer].correct.double().mean()),
            "loss": float((outputs[layer].losses - unpatched[split].losses).mean()),
            "alignment_r2": affine.r2,
        }
        for split, outputs in patched.items()
    ]


def _controls(
    subject: Classifier, target: PatchTarget, patched: Mapping[str, Mapping[str, Recording]]
) -> dict[str, float]:
    controls = {
        f"retain accuracy when patched at {layer}": float(outputs.correct.double().mean())
        for layer, outputs in patched["retain"].items()
    }
    # Patched into itself the original should answer as before: what is missing is the cost of sampling and ridge.
    if subject.digest == target.original.digest:
        own = target.unpatched["forget_eval"].losses.neg().exp()
        worst = max(
            float((outputs.losses.neg().exp() - own).abs().mean()) for outputs in patched["forget_eval"].values()
        )
        controls["self-patch fidelity"] = 1 - worst
    return controls


def _choice(score: Score, layer: str) -> float:
    # No stand-in for a missing attack half: a layer must not look as if it had no gap.
    choice = score.readings[layer].choice
    if choice is None:
        raise AuditError(f"the stored depth score has no attack half at {layer!r}; score the model again")
    return choice


def _losses(score: Score) -> dict[str, float]:
    """Δ_l on the eval half, by layer."""
    rows = [row for row in score.rows if row["split"] == "forget_eval"]
    return {str(row["layer"]): loss for row in rows if isinstance(loss := row["loss"], float)}

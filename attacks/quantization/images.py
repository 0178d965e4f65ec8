"""Knowledge that returns when the weights are rounded to fewer bits."""

from collections.abc import Iterable, Mapping
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.attacks.quantization import figures
from auditor.checks.check import Check, Workload
from auditor.errors import UsageError
from auditor.models.canonical import CANONICAL_EXAMPLES, CANONICAL_PASSES
from auditor.randomness import generator
from auditor.records.access import Access
from auditor.records.base import Frozen, Row
from auditor.records.evidence import Family, May
from auditor.records.figure import Figure
from auditor.records.score import Reading, Score, Sides
from auditor.records.source import Source
from auditor.tasks.classification.recording import Recording
from auditor.tasks.classification.sets import AuditData, Examples
from auditor.tasks.classification.sides import held_out, sides
from auditor.tasks.classification.subject import Classifier

QUANTIZED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
FULL_PRECISION = 32
BETTER_WIDTH = "better width"


class QuantizationSettings(Frozen):
    """Bit widths, and how much retain data to spend on the control."""

    bits: tuple[int, ...] = Field(default=(8, 4), min_length=1, description="widths, 2 to 16")
    control_examples: int = Field(default=1024, ge=1, description="retain examples measured at each width")


def round_to_nearest(weight: Tensor, bits: int) -> Tensor:
    """Symmetric uniform quantisation per output channel, returned as real numbers.

    w ↦ s·round(w/s) with s = max|w| / (2^(bits−1) − 1) over each output channel.

    Args:
        weight: float [out, ...].
        bits: 2 to 16; 4 bits have the 15 levels −7 … 7.

    >>> round_to_nearest(torch.tensor([[7.0, 2.4, -0.6]]), 4)
    tensor([[ 7.,  2., -1.]])
    """
    # The lowest code is left out, so that both signs have as many steps.
    levels = 2 ** (bits - 1) - 1
    step = weight.abs().flatten(1).amax(1).view(-1, *[1] * (weight.ndim - 1)) / levels
    # A channel of zeros has no step and stays as it is.
    return torch.where(step > 0, (weight / torch.where(step > 0, step, 1.0)).round() * step, weight)


def quantized(subject: Classifier, bits: int) -> Classifier:
    """Copy the subject with the weights of all linear maps and convolutions rounded; biases and norms stay.

    Raises:
        UsageError: the network has no such weights.
    """
    clone = subject.clone()
    layers = [module for module in clone.module.modules() if isinstance(module, QUANTIZED)]
    if not layers:
        raise UsageError(f"the {subject.role} model has no linear map or convolution to quantise; leave the check out")
    with torch.no_grad():
        for layer in layers:
            layer.weight.copy_(round_to_nearest(layer.weight, bits))
    return clone


class Quantization(Check[Classifier, AuditData, QuantizationSettings, None]):
    """Knowledge of the forget set after rounding the weights to 8 and to 4 bits.

    Unlearning that moves weights less than half a quantisation step is undone by rounding (Zhang et al. 2024,
    arXiv 2410.16454). At each width x_i = probability of the true class of forget example i after rounding;
    for a class request less the probability that retain examples are given for the forgotten classes, so
    that a model broken into always naming them scores 0. Probability rather than accuracy, for it moves
    before the top class does; rather than the margin, for an output pushed far down must not weigh more than
    one just forgotten. T = mean over i at the model's better width: what returns at one width must not be
    diluted by another that keeps it hidden.

    Units are first rescaled to one size (:meth:`~auditor.tasks.classification.subject.Classifier.canonical`): scaling a
    unit up and its outgoing weights down changes no output but changes what is rounded away.
    """

    name: ClassVar[str] = "quantization"
    family: ClassVar[Family] = "tampering"
    may: ClassVar[May] = "accuse"
    access: ClassVar[Access] = "weights"
    tasks: ClassVar[tuple[str, ...]] = ("classification",)
    summary: ClassVar[str] = "Rounded the weights to 8 and to 4 bits and measured what the model knows after that."
    finds: ClassVar[str] = "Rounding the weights to few bits brought back"
    unit: ClassVar[str] = (
        "probability of the true class on forget after rounding (0 to 1), less that of forgotten classes on "
        "retain for a class request; at the better bit width"
    )
    cost: ClassVar[str] = (
        "retain examples for rescaling (at most 512) three times, and forget and control examples once per bit width"
    )
    figures: ClassVar[tuple[Figure, ...]] = figures.IMAGES
    sources: ClassVar[tuple[Source, ...]] = (Source(paper="arXiv 2410.16454", here="the same for classifiers"),)
    caveats: ClassVar[tuple[str, ...]] = (
        "Only unlearning by small weight changes is undone by rounding: that nothing returns says little.",
    )
    settings_type: ClassVar[type[Frozen]] = QuantizationSettings
    # Rescaled, and rounded.
    copies: ClassVar[int] = 2

    def score(
        self, subject: Classifier, artefact: None, data: AuditData, settings: QuantizationSettings, seed: int
    ) -> Score:
        """Round one model at every width."""
        # Left as it is, a unit scaled up with its outgoing weights scaled down would evade the rounding.
        canonical = subject.canonical()
        # The same retain examples at every width and in every model.
        picks = generator(seed, self.name).permutation(len(data.retain))[: settings.control_examples]
        splits = {"forget_eval": data.forget_eval, "retain": data.retain.take(torch.from_numpy(picks))}
        if data.by_chance:
            # Every subject that was assigned: nothing is trained here, so that both halves can be measured.
            splits |= {"forget_attack": data.forget_attack, "holdout": held_out(data)}
        full = {split: subject.recording(split) for split in splits}
        measured = {bits: _outputs(quantized(canonical, bits), splits) for bits in settings.bits}
        known = {bits: _known(outputs, data) for bits, outputs in measured.items()}
        # Each model at its own better width, references too: T is one rule for all.
        best = max(known.values(), key=lambda examples: float(examples.mean()))
        return Score(
            check=self.name,
            readings={
                BETTER_WIDTH: Reading(
                    value=float(best.mean()),
                    examples=tuple(best.tolist()),
                    sides=_sides(data, measured.values()) if data.by_chance else None,
                )
            },
            n_examples=len(data.forget_eval),
            rows=[row for bits, outputs in {FULL_PRECISION: full, **measured}.items() for row in _rows(bits, outputs)],
            controls={f"T at {bits} bits": float(examples.mean()) for bits, examples in known.items()}
            | {f"retain accuracy at {bits} bits": _accuracy(out["retain"]) for bits, out in measured.items()},
        )

    def workload(self, data: AuditData, settings: QuantizationSettings, n_layers: int) -> Workload:
        """Retain examples for rescaling, and forget and control examples at each width."""
        measured = len(data.forget_eval) + min(settings.control_examples, len(data.retain))
        measured += len(data.forget_attack) + len(held_out(data)) if data.by_chance else 0
        return Workload(
            forward=CANONICAL_PASSES * min(CANONICAL_EXAMPLES, len(data.retain)) + len(settings.bits) * measured
        )


def _outputs(subject: Classifier, splits: Mapping[str, Examples]) -> dict[str, Recording]:
    return {
        split: Recording(labels=examples.labels, logits=subject.logits(examples), features={})
        for split, examples in splits.items()
    }


def _probabilities(recording: Recording) -> Tensor:
    """Of the true class, float64 [n]."""
    return recording.losses.neg().exp()


def _accuracy(recording: Recording) -> float:
    return float(recording.correct.double().mean())


def _known(outputs: Mapping[str, Recording], data: AuditData) -> Tensor:
    """x_i, float64 [n]."""
    alarms = _false_alarms(outputs["retain"], data) if data.request == "class" else 0.0
    return _probabilities(outputs["forget_eval"]) - alarms


def _sides(data: AuditData, measured: Iterable[Mapping[str, Recording]]) -> Sides:
    """Probability of the true class by subject, at the width that is better over forget and holdout together."""
    order = ("forget_attack", "forget_eval", "holdout")
    attack, evaluation, holdout = max(
        ([_probabilities(outputs[split]) for split in order] for outputs in measured),
        # By both sides at once: by forget alone one of them would be favoured in a model that knows neither.
        key=lambda parts: float(torch.cat(parts).mean()),
    )
    return sides(data, [attack, evaluation], holdout)


def _false_alarms(retain: Recording, data: AuditData) -> float:
    """Mean probability that retain examples are given for the forgotten classes."""
    # All forgotten classes together: a model may shift its false alarms from one to another.
    return float(retain.logits.double().softmax(1)[:, list(data.classes)].sum(1).mean())


def _rows(bits: int, outputs: Mapping[str, Recording]) -> list[Row]:
    return [
        {
            "bits": bits,
            "split": split,
            "accuracy": _accuracy(recording),
            "probability": float(_probabilities(recording).mean()),
        }
        for split, recording in outputs.items()
    ]

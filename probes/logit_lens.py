"""Read the answers off each layer: are they there before the last layers put something else in their place?"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from auditor.checks.check import Check, NoSettings
from auditor.errors import UsageError
from auditor.probes.never_taught import comparable, null_of_holdout
from auditor.records.access import Access
from auditor.records.base import Row
from auditor.records.evidence import Family, May
from auditor.records.figure import Figure
from auditor.records.score import Reading, Score, Sides
from auditor.records.source import Source
from auditor.tasks.causal_lm.sets import FactsData
from auditor.tasks.causal_lm.sides import sides
from auditor.tasks.causal_lm.subject import LENS_SPLITS, CausalLM

_FLOOR = -100.0
"""Log-probability that stands for a probability of 0, which no mean survives."""


class LogitLens(Check[CausalLM, FactsData, NoSettings, bool]):
    """Logit lens (nostalgebraist 2020): each layer's residual stream through the model's own final norm and head.

    At block l, x_i = mean over the answer's tokens of log p read there, in nats; a block's reading is its mean over the
    eval facts. Of a deep model nine blocks are read, evenly spaced. T is the reading of one block, the same for every
    model. A block's gap is how far apart original and references are on the attack half, in units of the references'
    spread or, where that is larger, of its median over blocks; the block read is the earliest whose gap is at least
    half of the widest, since edits that suppress sit late. The last block is left out, since what is read there is what
    the model says: ``outputs`` measures that. Only a mask behind the head is seen past there, and it is as well at any
    block before.

    Log-probability, not probability: at an early block the answers are faint, and a mean of probabilities looks at the
    few facts that are not.

    What the recording holds are outputs of blocks, which no norm has seen; the last entry of transformers'
    ``hidden_states`` has passed the final norm, and a lens on it would norm twice.
    """

    name: ClassVar[str] = "logit_lens"
    family: ClassVar[Family] = "representation"
    may: ClassVar[May] = "clear"
    access: ClassVar[Access] = "weights"
    tasks: ClassVar[tuple[str, ...]] = ("causal-lm",)
    requests: ClassVar[tuple[str, ...]] = ("facts",)
    summary: ClassVar[str] = "Read the answers off the model's inner layers through its own head."
    finds: ClassVar[str] = "Read before the last layer, the model's inner states give away"
    unit: ClassVar[str] = "mean token log-probability of the answers, read at an inner layer (nats)"
    decoys: ClassVar[tuple[str, ...]] = ("logit_mask",)
    figures: ClassVar[tuple[Figure, ...]] = (
        Figure(
            x="layer",
            y="probability",
            panels=("split",),
            categories=True,
            x_label="block that is read",
            y_label="answer probability",
            caption=(
                "How probable the answers are when they are read off each block through the model’s own head."
                " Holdout facts, which no model was taught, show what can be guessed."
            ),
        ),
    )
    sources: ClassVar[tuple[Source, ...]] = (
        Source(paper="nostalgebraist 2020", here="answers read at inner blocks, against references or holdout"),
    )
    caveats: ClassVar[tuple[str, ...]] = (
        "Reads what lies in the directions of the model's own head; knowledge written otherwise, or in a model whose "
        "head was changed for it, is missed.",
        "A method that pushes answers below the level of a model never taught leaves less than nothing to read here.",
    )

    def prepare(self, original: CausalLM, data: FactsData, settings: NoSettings, seed: int) -> bool:
        """Whether holdout can stand for what was never taught."""
        return comparable(data, seed)

    def score(self, subject: CausalLM, artefact: bool, data: FactsData, settings: NoSettings, seed: int) -> Score:
        """Measure one model from its recordings.

        Raises:
            UsageError: the model has a single block.
        """
        blocks = subject.lens_layers()
        if len(blocks) < 2:
            raise UsageError(f"{self.name} reads blocks before the last, and the model has only one; leave it out")
        return Score(
            check=self.name,
            readings={block: _reading(subject, data, block) for block in blocks[:-1]},
            n_examples=len(data.forget_eval),
            # A holdout that words tell from forget does not stand for facts never taught.
            null=_null(subject, data, seed) if artefact else (),
            rows=[row for block in blocks for row in _rows(subject, data, block)],
        )

    def choose(self, original: Score, references: Sequence[Score]) -> tuple[str, ...]:
        """Choose the earliest block with a wide gap on the attack half; without two references, all that are read.

        Where chance assigned the holdout, the gap is the original's own between forget and holdout subjects.
        """
        sides = {block: reading.sides for block, reading in original.readings.items()}
        if all(sides.values()):
            return (_earliest_wide({block: _own_gap(both) for block, both in sides.items() if both is not None}),)
        # One reference has no spread to measure gaps in.
        if len(references) < 2:
            return tuple(original.readings)
        own = np.array([reading.choice for reading in original.readings.values()])
        others = np.array([[reading.choice for reading in score.readings.values()] for score in references])
        spread = others.std(axis=0, ddof=1)
        # Of many blocks some have references that agree by chance; the median keeps those from being chosen.
        gaps = (own - others.mean(axis=0)) / np.maximum(np.maximum(spread, np.median(spread)), 1e-9)
        # The earliest of those, since edits that suppress sit late.
        return (_earliest_wide(dict(zip(original.readings, gaps.tolist(), strict=True))),)


def _earliest_wide(gaps: Mapping[str, float]) -> str:
    """The first block whose gap is at least half of the widest; without a gap anywhere, the first."""
    return next((block for block, gap in gaps.items() if gap >= max(gaps.values()) / 2), next(iter(gaps)))


def _own_gap(sides: Sides) -> float:
    """How far the original's forget subjects stand above its holdout subjects, in standard errors."""
    forget, holdout = np.asarray(sides.forget), np.asarray(sides.holdout)
    error = np.sqrt(forget.var(ddof=1) / len(forget) + holdout.var(ddof=1) / len(holdout))
    return float((forget.mean() - holdout.mean()) / max(error, 1e-9))


def _floored(lens: Tensor) -> Tensor:
    return lens.double().clamp_min(_FLOOR)


def _reading(subject: CausalLM, data: FactsData, block: str) -> Reading:
    found = _read(subject, data, block)
    attack, values = found["forget_attack"], found["forget_eval"]
    return Reading(
        value=float(values.mean()),
        examples=tuple(values.tolist()),
        # The attack half chooses the block: chosen on the facts that are measured, T would gain from their luck.
        choice=float(attack.mean()),
        sides=sides(data, [attack, values], found["holdout"]) if data.by_chance else None,
    )


def _null(subject: CausalLM, data: FactsData, seed: int) -> tuple[float, ...]:
    """Of the mean over the blocks read, which is what T is without references."""
    # The same mean as T's, so that draws and score are one statistic.
    means = [
        torch.stack([_floored(subject.recording(split).lens[block]) for block in subject.lens_layers()[:-1]]).mean(0)
        for split in ("forget_eval", "holdout")
    ]
    assert data.holdout is not None, "the caller found it comparable"
    return null_of_holdout(means[0], means[1], (data.forget_eval, data.holdout), seed)


def _rows(subject: CausalLM, data: FactsData, block: str) -> list[Row]:
    return [
        {"layer": block, "split": split, "value": float(x.mean()), "probability": float(x.exp().mean())}
        for split, x in _read(subject, data, block).items()
    ]


def _read(subject: CausalLM, data: FactsData, block: str) -> dict[str, Tensor]:
    """By set, log-probabilities read at a block; what retain says there decides nothing."""
    read = [split for split in data.splits() if split in LENS_SPLITS]
    return {split: _floored(subject.recording(split).lens[block]) for split in read}

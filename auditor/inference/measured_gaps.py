"""Gaps that were measured on the originals of docs/validity.md: to say beforehand what each road may bring.

They are those of other models. `tests/inference/test_prospects.py` finds every number again in the rows under
benchmarks/validity/measured.
"""

from collections.abc import Mapping
from dataclasses import dataclass

Gaps = Mapping[str, float]
"""Of one original by check: Δ/s against five references, or M/s between forget and holdout subjects."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasuredGaps:
    """What the originals of one kind of request showed.

    Attributes:
        about: which models these were, in words.
        alone: M/s of each original, held against its holdout.
        helped: the same beside one cheap model that saw neither side, in spreads of what that one leaves.
        references: Δ/s of each original of other worlds, in spreads of five references.
    """

    about: str
    alone: tuple[Gaps, ...]
    helped: tuple[Gaps, ...]
    references: tuple[Gaps, ...]


MEASURED: Mapping[str, MeasuredGaps] = {
    "facts": MeasuredGaps(
        about="small language models that were taught facts about fictional people, with all weights but for two of "
        "those held against a holdout, which were taught through a low-rank change",
        alone=(
            {"relearning": 15.53, "logit_lens": 4.64, "few_shot": 4.10},
            {"relearning": 12.90, "logit_lens": 2.63, "few_shot": 2.81},
            {"relearning": 16.42, "logit_lens": 3.24, "few_shot": 3.00},
            {"relearning": 12.47, "logit_lens": 3.22, "few_shot": 2.96},
            {"relearning": 0.68, "logit_lens": 3.14, "few_shot": 2.66},
            {"relearning": 1.59, "logit_lens": 2.37, "few_shot": 3.15},
        ),
        helped=(
            {"relearning": 17.18, "logit_lens": 6.13, "few_shot": 4.00},
            {"relearning": 16.37, "logit_lens": 3.17, "few_shot": 2.99},
            {"relearning": 17.20, "logit_lens": 3.30, "few_shot": 3.05},
            {"relearning": 13.50, "logit_lens": 3.28, "few_shot": 3.03},
            {"relearning": 1.17, "logit_lens": 6.41, "few_shot": 2.59},
            {"relearning": 1.93, "logit_lens": 4.43, "few_shot": 3.09},
        ),
        references=(
            {"relearning": 16.64, "logit_lens": 18.91, "few_shot": 9.40, "depth": 20.13},
            {"relearning": 18.03, "logit_lens": 21.83, "few_shot": 9.80, "depth": 20.27},
            {"relearning": 15.74, "logit_lens": 8.26, "few_shot": 6.99, "depth": 19.85},
            {"relearning": 18.07, "logit_lens": 10.84, "few_shot": 5.41, "depth": 18.96},
            {"relearning": 18.67, "logit_lens": 15.92, "few_shot": 10.00, "depth": 20.04},
            {"relearning": 11.33, "logit_lens": 24.48, "few_shot": 8.50, "depth": 18.07},
        ),
    ),
    "sample": MeasuredGaps(
        about="small image classifiers that had learnt digits under wrong labels by heart",
        alone=(
            {"membership": 1.95, "feature_membership": 2.03},
            {"membership": 1.97, "feature_membership": 2.11},
            {"membership": 1.82, "feature_membership": 1.62},
            {"membership": 3.54, "feature_membership": 3.78},
        ),
        helped=(
            {"membership": 2.02, "feature_membership": 2.41},
            {"membership": 2.08, "feature_membership": 2.75},
        ),
        references=(
            {"membership": 12.34, "feature_membership": 17.28},
            {"membership": 37.67, "feature_membership": 45.49},
        ),
    ),
}

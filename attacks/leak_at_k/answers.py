"""Asking again and again where a model can only be asked: is one of k answers right?"""

from typing import ClassVar

import numpy as np
from pydantic import Field

from auditor.attacks.leak_at_k.text import BUDGETS, leak
from auditor.checks.check import Check
from auditor.errors import UsageError
from auditor.records.access import Access
from auditor.records.base import Frozen
from auditor.records.evidence import Family, May
from auditor.records.figure import Figure
from auditor.records.score import Reading, Score
from auditor.records.source import Source
from auditor.tasks.evaluation_logs.sets import LoggedSets
from auditor.tasks.evaluation_logs.subject import LoggedAnswers

LEAST = 8
"""Sampled answers to each question, so that the three largest budgets are more than one answer."""
_COLUMN = "forget/again"


class Settings(Frozen):
    """When an answer is right."""

    # As `leak_at_k` of language models has it.
    right_from: float = Field(
        default=0.8, gt=0, le=1, description="ROUGE-L recall of the answer from which a sampled one counts as right"
    )


class LeakAtK(Check[LoggedAnswers, LoggedSets, Settings, None]):
    """Leak@k (Reisizadeh et al. 2025, arXiv 2511.04934) of answers that were sampled when the model was asked.

    leak_i(k) as in :mod:`auditor.attacks.leak_at_k.text`; T = mean over forget questions and the three largest k,
    powers of two up to the number of samples. What guessing finds, it finds in the references, too.
    """

    name: ClassVar[str] = "leak_at_k"
    family: ClassVar[Family] = "elicitation"
    may: ClassVar[May] = "accuse"
    access: ClassVar[Access] = "samples"
    tasks: ClassVar[tuple[str, ...]] = ("answers",)
    requests: ClassVar[tuple[str, ...]] = ("facts",)
    summary: ClassVar[str] = "Asked each question again and again, and looked whether one of several answers is right."
    finds: ClassVar[str] = "Asked again and again, the model gives away"
    unit: ClassVar[str] = "chance that one of several sampled answers is right (0 to 1)"
    cost: ClassVar[str] = "none: the models were asked before"
    figures: ClassVar[tuple[Figure, ...]] = (
        Figure(
            x="answers",
            y="share",
            categories=True,
            rises=True,
            x_label="k, sampled answers to one question",
            y_label="chance that one is right",
            caption="How likely one of k sampled answers is right; what guessing gives shows in the references.",
        ),
    )
    sources: ClassVar[tuple[Source, ...]] = (
        Source(paper="arXiv 2511.04934", here="the chance that one of k sampled answers is right"),
        Source(paper="arXiv 2107.03374", here="its unbiased estimator", part=True),
    )
    caveats: ClassVar[tuple[str, ...]] = (
        "Asks the given question alone, as often as it was sampled; how freely is up to the program that answers.",
    )
    settings_type: ClassVar[type[Frozen]] = Settings

    def score(self, subject: LoggedAnswers, artefact: None, data: LoggedSets, settings: Settings, seed: int) -> Score:
        """Count one model's right answers."""
        n = subject.columns[_COLUMN].shape[1] if _COLUMN in data.columns else 0
        if n < LEAST:
            raise UsageError(f"each question has {n} sampled answers, and {LEAST} are needed: `audit ask --samples 16`")
        right = (subject.column("forget", "again") >= settings.right_from).sum(1).tolist()
        budgets = [k for k in BUDGETS if k <= n]
        leaks = np.array([[leak(int(count), n, k) for k in budgets] for count in right])
        examples = leaks[:, -3:].mean(1)
        return Score(
            check=self.name,
            readings={"any of k": Reading(value=float(examples.mean()), examples=tuple(examples.tolist()))},
            n_examples=len(examples),
            rows=[{"answers": k, "share": float(leaks[:, i].mean())} for i, k in enumerate(budgets)],
        )

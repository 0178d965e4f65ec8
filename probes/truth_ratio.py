"""Whether a language model still prefers right answers to wrong ones, and TOFU's forget quality beside it."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from scipy import stats

from auditor.checks.check import Check, NoSettings
from auditor.errors import UsageError
from auditor.records.access import Access
from auditor.records.base import Row
from auditor.records.evidence import Family, May
from auditor.records.figure import Figure
from auditor.records.score import Reading, Score
from auditor.records.source import Source
from auditor.tasks.evaluation_logs.sets import LoggedSets
from auditor.tasks.evaluation_logs.subject import LoggedAnswers

_READING = "preference"
# A smaller p is no float64.
_SMALLEST_P = 1e-300
# A curve of so many points shows the distribution that forget quality compares.
_QUANTILES = np.linspace(0.0, 1.0, 21)


class TruthRatio(Check[LoggedAnswers, LoggedSets, NoSettings, None]):
    """T: mean over forget questions of 1/(1 + R), R the truth ratio of Maini et al. 2024 (arXiv 2401.06121, eq. 1).

    R divides the (geometric) mean probability of wrong answers by that of the right one in other words. Beside T stands
    *forget quality*, the p-value of a Kolmogorov-Smirnov test between the truth ratios of a model and of a reference:
    the median over the references, a model's own log left out. It decides nothing, since a p-value grows small with
    the number of questions; T is held against the references like any score.
    """

    name: ClassVar[str] = "truth_ratio"
    family: ClassVar[Family] = "behaviour"
    may: ClassVar[May] = "accuse"
    access: ClassVar[Access] = "logits"
    tasks: ClassVar[tuple[str, ...]] = ("evaluation-logs",)
    requests: ClassVar[tuple[str, ...]] = ("facts",)
    summary: ClassVar[str] = "Read off the logs how far right answers in other words were preferred to wrong ones."
    finds: ClassVar[str] = "By how far it prefers right answers to wrong ones, the model still shows"
    unit: ClassVar[str] = "mean of 1/(1 + truth ratio) on forget questions (0 to 1)"
    cost: ClassVar[str] = "none: the models were asked before"
    figures: ClassVar[tuple[Figure, ...]] = (
        Figure(
            x="share",
            y="preference",
            x_label="share of forget questions",
            y_label="1/(1 + truth ratio)",
            caption=(
                "The preference for right answers over the forget questions, each model's own sorted: ½ is none. A "
                "model that forgot lies with the references all along."
            ),
            rises=True,
        ),
        Figure(
            x="against",
            y="distance",
            categories=True,
            joined=False,
            x_label="reference",
            y_label="Kolmogorov-Smirnov distance",
            caption=(
                "How far the truth ratios of each model lie from those of each reference, 0 to 1. Forget quality is "
                "the p-value of this distance; references among themselves show what is usual."
            ),
        ),
    )
    sources: ClassVar[tuple[Source, ...]] = (
        Source(paper="arXiv 2401.06121", here="truth ratio and forget quality, read off evaluation logs"),
    )
    caveats: ClassVar[tuple[str, ...]] = (
        "A model that is surer, or less sure, of all its answers moves the truth ratio without knowing more or less.",
    )

    def score(self, subject: LoggedAnswers, artefact: None, data: LoggedSets, settings: NoSettings, seed: int) -> Score:
        """Average one model's preferences.

        Raises:
            UsageError: some log holds no truth ratios.
        """
        if "forget/truth_ratio" not in data.columns:
            raise UsageError("not every log holds truth ratios of the forget questions; evaluate the models with them")
        preferred = 1 / (1 + subject.column("forget", "truth_ratio"))
        return Score(
            check=self.name,
            readings={_READING: Reading(value=float(preferred.mean()), examples=tuple(preferred.tolist()))},
            n_examples=len(data.forget_eval),
            rows=_curve(preferred.numpy()),
            controls=_of_retain(subject, data),
        )

    def summarise(
        self, scores: Mapping[str, Score], references: Sequence[str]
    ) -> tuple[list[Row], dict[str, dict[str, float]]]:
        """Forget quality of every model."""
        # R falls as 1/(1 + R) rises, so that the test is the same on either.
        found = {name: np.asarray(score.readings[_READING].examples) for name, score in scores.items()}
        rows: list[Row] = []
        controls: dict[str, dict[str, float]] = {}
        for name, own in found.items():
            tests = {other: stats.ks_2samp(own, found[other]) for other in references if other != name}
            rows += [{"model": name, "against": other, "distance": float(t.statistic)} for other, t in tests.items()]
            if tests:
                p = max(float(np.median([t.pvalue for t in tests.values()])), _SMALLEST_P)
                controls[name] = {"forget quality, log10 of p": float(np.log10(p))}
        return rows, controls


def _curve(preferred: np.ndarray) -> list[Row]:
    values = np.quantile(preferred, _QUANTILES)
    return [{"share": float(q), "preference": float(v)} for q, v in zip(_QUANTILES, values, strict=True)]


def _of_retain(subject: LoggedAnswers, data: LoggedSets) -> dict[str, float]:
    """The same of retain questions, which should not move."""
    if "retain/truth_ratio" not in data.columns:
        return {}
    return {"preference, retain": float((1 / (1 + subject.column("retain", "truth_ratio"))).mean())}

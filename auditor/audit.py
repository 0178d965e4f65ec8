"""One audit from request to results: the Python call behind the command line and the pytest plugin."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from auditor.errors import DataError, SpecError, nearest
from auditor.records.events import Event
from auditor.records.evidence import Evidence
from auditor.records.results import RecordedScores, Results, read_scores
from auditor.records.spec import FILE_NAME, make_spec, read_spec
from auditor.records.verdict import Outcome, Verdict
from auditor.review.exports import evidence_frame
from auditor.run import audit_folder
from auditor.run.execution import execute, measured
from auditor.run.preparing import prepare

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn


# Its own repr: that of all its fields has half a million characters.
@dataclass(frozen=True, kw_only=True, repr=False)
class AuditResult:
    """What an audit found, and where it was written.

    Attributes:
        results: everything.
        folder: holds results.json and report.html; None where nothing was written.
        scores: from which evidence and verdict follow; None where they lie in the folder.
    """

    results: Results
    folder: Path | None
    scores: RecordedScores | None = None

    def __repr__(self) -> str:
        verdict = self.results.verdict
        flags = f" [{', '.join(verdict.flags)}]" if verdict.flags else ""
        where = "not saved" if self.report is None else str(self.report)
        return (
            f"<AuditResult {verdict.outcome}{flags}, assurance {verdict.assurance}, "
            f"{len(self.results.evidence)} checks, {where}>"
        )

    def _repr_html_(self) -> str:
        """Badge, sentence and axis, for a notebook."""
        from auditor.reports.html import snippet

        return snippet(self.results)

    @property
    def verdict(self) -> Verdict:
        """Outcome, bound, flags, assurance, reasons, and what would settle it."""
        return self.results.verdict

    @property
    def outcome(self) -> Outcome:
        """``DELETED``, ``SUPPRESSED``, ``NOT_DELETED``, ``NOT_FORGOTTEN`` or ``INCONCLUSIVE``."""
        return self.results.verdict.outcome

    @property
    def report(self) -> Path | None:
        """The page to open; None where nothing was written."""
        return None if self.folder is None else self.folder / audit_folder.REPORT

    def evidence(self, check: str) -> Evidence:
        """The evidence of one check.

        Raises:
            SpecError: the audit has no such check; the message names the nearest.
        """
        found = self.results.of(check)
        if found is None:
            known = (e.check for e in self.results.evidence)
            raise SpecError(f"this audit has no check called {check!r}{nearest(check, known)}")
        return found

    def to_frame(self) -> "pd.DataFrame":
        """One row for each check: ρ with its limits, resolution, p-value, power, scores of the pair and of the null."""
        return evidence_frame(self.results)

    def save(self, folder: str | Path) -> Path:
        """Write the audit as ``out`` would have: results, scores, plan, report, and the list of their digests.

        Args:
            folder: made where it is not there.

        Returns:
            The report.

        Raises:
            DataError: it was read from a folder that no longer holds its scores.
        """
        target = Path(folder)
        audit_folder.write(target, self.results, self._scores())
        return target / audit_folder.REPORT

    def _scores(self) -> RecordedScores:
        if self.scores is not None:
            return self.scores
        if self.folder is None:
            raise DataError("this result came without the scores behind it; run the audit again to save it")
        return read_scores(self.folder / audit_folder.SCORES)


def compare(
    original: "str | Path | nn.Module | None" = None,
    unlearned: "str | Path | nn.Module | None" = None,
    *,
    forget: object = None,
    retain: object = None,
    retain_test: object = None,
    holdout: object = None,
    control: object = None,
    references: "Sequence[str | Path | nn.Module]" = (),
    perturbed: "Sequence[str | Path | nn.Module]" = (),
    neither: "Sequence[str | Path | nn.Module]" = (),
    architecture: str | None = None,
    task: str | None = None,
    tokenizer: object = None,
    config: str | Path | None = None,
    out: str | Path | None = None,
    options: Mapping[str, Mapping[str, object]] | None = None,
    report: Callable[[Event], None] = lambda event: None,
    command: str = "auditor.compare(...)",
) -> AuditResult:
    """Audit one pair of models, in this process.

    A check that raises is contained. One that hangs or takes the process down is not: ``audit.time_limit`` and the
    child process that bears it belong to the command line.

    Args:
        original: the model trained on everything: a path, or a torch module.
        unlearned: the model said to have forgotten.
        forget: what is to be forgotten: a path, (inputs, labels) or a torch Dataset; for language models a path or
            a list of facts.
        retain: examples to be kept.
        retain_test: distributed like retain, never trained on; retain accuracy is measured here.
        holdout: distributed like forget, never trained on.
        control: concepts no model was trained on.
        references: models trained without the forget set by the original's recipe.
        perturbed: references trained by a perturbed recipe.
        neither: models of any recipe that saw neither forget nor holdout, where chance divided these.
        architecture: ``module.py:function`` that makes the untrained network, for paths of bare weights.
        task: ``module.py:Class`` that says how models of any other kind are scored (docs/custom.md).
        tokenizer: of language models in memory, a fast transformers tokenizer.
        config: an audit.toml; what is given here comes before it.
        out: folder to write results.json and report.html to; None writes nothing.
        options: further fields of audit.toml by section, such as ``{"audit": {"seed": 1}}``.
        report: told of every finished unit of work.
        command: what to type to repeat the audit, for the report.

    Raises:
        UsageError: the request cannot be carried out as asked.
        UnsafeInputError: a file was refused.
    """
    given = {
        "original": original,
        "unlearned": unlearned,
        "forget": forget,
        "retain": retain,
        "retain_test": retain_test,
        "holdout": holdout,
        "control": control,
        "references": list(references),
        "perturbed": list(perturbed),
        "neither": list(neither),
        "architecture": architecture,
        "tokenizer": tokenizer,
    }
    path = Path(config) if config is not None else None
    # What the call gives comes last and wins over the file.
    overrides = _overrides(options, out)
    if task is not None:
        overrides.setdefault("models", {})["task"] = task
    spec = make_spec(read_spec(path) if path else {}, overrides, str(path or FILE_NAME))
    base = path.parent if path is not None else Path()
    prepared = prepare(spec, base, given, report=report, command=command)
    if out is not None:
        return AuditResult(results=execute(prepared, Path(out)), folder=Path(out))
    results, scores = measured(prepared)
    return AuditResult(results=results, folder=None, scores=scores)


def _overrides(
    options: Mapping[str, Mapping[str, object]] | None, out: str | Path | None
) -> dict[str, dict[str, object]]:
    merged = {section: dict(fields) for section, fields in (options or {}).items()}
    if out is not None:
        merged.setdefault("audit", {})["out"] = str(out)
    return merged

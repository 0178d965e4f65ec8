"""One audit from request to results: the Python call behind the command line and the pytest plugin."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from auditor.records.events import Event
from auditor.records.evidence import Evidence
from auditor.records.results import Results
from auditor.records.spec import FILE_NAME, make_spec, read_spec
from auditor.run.execution import execute
from auditor.run.preparing import prepare

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class AuditResult:
    """What an audit found, and where it was written.

    Attributes:
        results: everything.
        folder: holds results.json and report.html; None where nothing was written.
    """

    results: Results
    folder: Path | None

    @property
    def outcome(self) -> str:
        """``DELETED``, ``SUPPRESSED``, ``NOT_DELETED``, ``NOT_FORGOTTEN`` or ``INCONCLUSIVE``."""
        return self.results.verdict.outcome

    def evidence(self, check: str) -> Evidence | None:
        """The evidence of one check."""
        return self.results.of(check)


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
    spec = make_spec(read_spec(path) if path else {}, _overrides(options, out), str(path or FILE_NAME))
    base = path.parent if path is not None else Path()
    prepared = prepare(spec, base, given, report=report, command=command)
    return AuditResult(
        results=execute(prepared, Path(out) if out is not None else None),
        folder=Path(out) if out is not None else None,
    )


def _overrides(
    options: Mapping[str, Mapping[str, object]] | None, out: str | Path | None
) -> dict[str, dict[str, object]]:
    merged = {section: dict(fields) for section, fields in (options or {}).items()}
    if out is not None:
        merged.setdefault("audit", {})["out"] = str(out)
    return merged

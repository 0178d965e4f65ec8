"""One audit from request to results: the Python call behind the command line and the pytest plugin."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from auditor.checks import registry
from auditor.checks.check import Check
from auditor.errors import SpecError, UsageError
from auditor.inference.assurance import recipe_mismatch
from auditor.inference.combine import combine, failed
from auditor.inference.compared import CheckScores
from auditor.inference.primaries import choose, marked
from auditor.inference.verdict import decide
from auditor.models import lineup as models
from auditor.models.canonical_file import CanonicalFile, sums
from auditor.records.environment import describe
from auditor.records.events import Begun, Event, Unit
from auditor.records.evidence import Evidence
from auditor.records.plan import Plan
from auditor.records.results import Coverage, MissingCheck, RecordedScores, Results
from auditor.records.score import CanonicalForm, Failure, Score
from auditor.records.spec import FILE_NAME, AuditSpec, make_spec, read_spec
from auditor.review import audit_folder
from auditor.run.exclusive import alone_in
from auditor.run.planning import make_plan
from auditor.run.preflight import preflight
from auditor.run.runner import Scores, Work, failure_of, run
from auditor.run.store import ScoreStore, write_atomically
from auditor.tasks.gathering import gather
from auditor.tasks.material import Material

ALWAYS = ("outputs", "weight_delta")


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """An audit that has its plan and has scored nothing.

    Attributes:
        plan: what will be done.
        work: models and data behind the plan.
        base: folder that paths are relative to.
        spec: what was asked.
        canonical: makes and writes canonical forms; None where nothing can be run.
    """

    plan: Plan
    work: Work
    base: Path
    spec: AuditSpec
    canonical: CanonicalFile | None = None

    def watched(self, begin: Callable[[Begun], None], lost: Mapping[Unit, str]) -> "Prepared":
        """The same for a process that somebody watches over; see :class:`~auditor.run.runner.Work`."""
        return replace(self, work=replace(self.work, begin=begin, lost=lost))


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
    original: Any = None,
    unlearned: Any = None,
    *,
    forget: Any = None,
    retain: Any = None,
    retain_test: Any = None,
    holdout: Any = None,
    control: Any = None,
    references: Sequence[Any] = (),
    perturbed: Sequence[Any] = (),
    architecture: str | None = None,
    tokenizer: Any = None,
    config: str | Path | None = None,
    out: str | Path | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
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
        "architecture": architecture,
        "tokenizer": tokenizer,
    }
    path = Path(config) if config is not None else None
    spec = make_spec(read_spec(path) if path else {}, _overrides(options, out), str(path or FILE_NAME))
    base = path.parent if path is not None else Path()
    prepared = prepare(spec, base, given, report=report, command=command)
    return AuditResult(
        results=execute(prepared, Path(out) if out is not None else None),
        folder=Path(out) if out is not None else None,
    )


def _overrides(options: Mapping[str, Mapping[str, Any]] | None, out: str | Path | None) -> dict[str, dict[str, Any]]:
    merged = {section: dict(fields) for section, fields in (options or {}).items()}
    if out is not None:
        merged.setdefault("audit", {})["out"] = str(out)
    return merged


def prepare(
    spec: AuditSpec,
    base: Path,
    given: dict[str, Any],
    *,
    report: Callable[[Event], None] = lambda event: None,
    command: str = "",
    judged: bool = True,
) -> Prepared:
    """Load everything and make the plan; nothing is scored.

    Args:
        spec: the request.
        base: folder that its paths are relative to.
        given: models and sets in memory, by name.
        report: told of every finished unit of work, later.
        command: what to type to repeat the audit.
        judged: whether there is an unlearned model; see :func:`auditor.models.lineup.gather`.
    """
    _check_device(spec)
    store = base / spec.audit.store
    with execution_settings(spec.audit.threads):
        found = models.gather(spec, given, base, store / "converted", judged=judged)
        material = gather(spec, found, given, base)
        if spec.audit.write_canonical:
            _runnable_file(material)
        checks = _checks(spec, material.task, material.data)
        plan = make_plan(spec, found, material, checks, base=base, command=command)
    work = Work(
        plan=plan,
        checks=checks,
        data=material.data,
        subject=material.subject,
        store=ScoreStore(store / "scores"),
        report=report,
        anew=_anew(plan, found.hooked),
    )
    return Prepared(plan=plan, work=work, base=base, spec=spec, canonical=material.canonical)


def _runnable_file(material: Material) -> CanonicalFile:
    if material.canonical is None:
        raise SpecError(
            "a canonical form needs an architecture, data.forget and data.retain, since what is dead in a model shows "
            "only when it is run; set them in audit.toml"
        )
    return material.canonical


def write_canonical(spec: AuditSpec, base: Path, target: Path) -> CanonicalForm:
    """Write the canonical form of the unlearned model of a request, without an audit.

    Args:
        spec: the request; where it names no original, the model's own structure decides.
        base: folder that its paths are relative to.
        target: file, or folder for a transformers model.

    Raises:
        SpecError: architecture or data are missing.
    """
    _check_device(spec)
    models_spec = spec.models.model_copy(
        # References play no part in the form, and a guard is code around it.
        update={
            "original": spec.models.original or spec.models.unlearned,
            "references": (),
            "perturbed": (),
            "guard": None,
        }
    )
    alone = spec.model_copy(update={"models": models_spec})
    with execution_settings(spec.audit.threads):
        found = models.gather(alone, {}, base, base / spec.audit.store / "converted")
        made = _runnable_file(gather(alone, found, {}, base))
        return made.write(found.entries["unlearned"].planned, target)


def _anew(plan: Plan, hooked: frozenset[str]) -> frozenset[str]:
    """Models whose scores are not kept; every score depends on the original."""
    return frozenset(model.name for model in plan.models) if "original" in hooked else hooked


def check_inputs(prepared: Prepared) -> None:
    """Judge the inputs by the models' accuracies, as :func:`execute` does before the first score.

    Raises:
        UsageError: the original cannot do its job, or the accuracies do not fit the request.
    """
    with execution_settings(prepared.plan.execution.threads):
        preflight(prepared.work)


def execute(prepared: Prepared, folder: Path | None) -> Results:
    """Run a plan, decide, and write what was found.

    Args:
        prepared: from :func:`prepare`.
        folder: where the files of :mod:`auditor.review.audit_folder`, timings.json and, where asked for, the canonical
            form of the unlearned model go; None writes nothing.

    Raises:
        UsageError: the inputs do not fit the request, or another audit is at work in the folder.
    """
    if folder is None:
        return _measured(prepared)[0]
    with alone_in(folder):
        write_atomically(folder / audit_folder.PLAN, prepared.plan.to_json())
        started = time.monotonic()
        results, scores = _measured(prepared)
        audit_folder.write(folder, results, RecordedScores(scores=scores), _deployable(prepared, folder))
        write_atomically(folder / "timings.json", f'{{"seconds": {time.monotonic() - started:.3f}}}\n')
    return results


def _deployable(prepared: Prepared, folder: Path) -> dict[str, str]:
    """Digests of the files of the canonical form, where it was asked for and has been written."""
    if not prepared.spec.audit.write_canonical or prepared.canonical is None:
        return {}
    with execution_settings(prepared.plan.execution.threads):
        prepared.canonical.write(prepared.plan.models_of("unlearned")[0], folder / prepared.canonical.name)
    return sums(folder, prepared.canonical.name)


def _measured(prepared: Prepared) -> tuple[Results, Scores]:
    with execution_settings(prepared.plan.execution.threads):
        preflight(prepared.work)
        scores = run(prepared.work)
        return conclude(prepared.plan, prepared.work.checks, scores), scores


def conclude(plan: Plan, checks: Sequence[Check], scores: Scores) -> Results:
    """Evidence, verdict and coverage from scores."""
    outputs = next((check for check in checks if check.name == "outputs"), None)
    mismatch = None
    if outputs is not None:
        mismatch = recipe_mismatch(plan, _evidence(plan, outputs, scores["outputs"], counts=True))
    found = [_evidence(plan, check, scores[check.name], counts=mismatch is None) for check in checks]
    primaries = choose(plan, found)
    evidence = marked(found, primaries)
    return Results(
        plan=plan,
        plan_digest=plan.digest,
        primaries=primaries,
        evidence=evidence,
        verdict=decide(plan, evidence, mismatch),
        coverage=_coverage(plan, evidence),
        environment=describe(plan.execution.device),
        scores_digest=RecordedScores(scores=scores).digest,
        canonical=_form(scores),
    )


def _form(scores: Scores) -> CanonicalForm | None:
    """What the check of the weights says that they are."""
    found = scores.get("weight_delta", {}).get("unlearned")
    return found.form if isinstance(found, Score) else None


@contextmanager
def execution_settings(threads: int) -> Iterator[None]:
    """Threads and deterministic algorithms as planned, put back after."""
    before = torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(deterministic)
        torch.set_num_threads(before)


def _evidence(plan: Plan, check: Check, scores: Mapping[str, Score | Failure], *, counts: bool) -> Evidence:
    for score in scores.values():
        if isinstance(score, Failure):
            return failed(check, score)
    by_role = {
        role: {m.name: s for m in plan.models_of(role) if isinstance(s := scores[m.name], Score)}
        for role in ("original", "unlearned", "reference", "perturbed", "decoy")
    }
    lineup = CheckScores(
        original=by_role["original"]["original"],
        unlearned=by_role["unlearned"]["unlearned"],
        references=by_role["reference"] if counts else {},
        drawn={} if counts else by_role["reference"],
        perturbed=by_role["perturbed"],
        decoys=by_role["decoy"],
    )
    try:
        return combine(
            check,
            lineup,
            plan.policy,
            population=plan.request == "class",
            goal=plan.goal,
            prior=plan.domain.spread.get(check.name) if plan.domain is not None else None,
        )
    except Exception as error:  # noqa: BLE001 - a check has code of its own here, too
        return failed(check, failure_of(error))


def _coverage(plan: Plan, evidence: Sequence[Evidence]) -> Coverage:
    planned = {item.name for item in plan.checks}
    missing = tuple(MissingCheck(check=e.check, reason=e.failure.reason) for e in evidence if e.failure is not None)
    others = [c for c in registry.load_all(None, _runnable(plan.task)) if c.name not in planned]
    return Coverage(
        planned=tuple(item.name for item in plan.checks),
        completed=tuple(e.check for e in evidence if e.failure is None),
        failed=missing,
        not_planned=tuple(MissingCheck(check=c.name, reason=_why_left_out(c, plan)) for c in others),
        complete=not missing,
    )


def _why_left_out(check: Check, plan: Plan) -> str:
    if plan.task not in check.tasks:
        return f"needs an architecture and {' and '.join(check.needs)} sets"
    return _unmet(check, plan.request, {item.name for item in plan.data}) or "not among audit.checks"


def _unmet(check: Check, request: str, sets: set[str]) -> str | None:
    """Why a check cannot serve this request, or None."""
    if request not in check.requests:
        return f"serves requests of kind {' and '.join(check.requests)} only"
    missing = [name for name in check.needs if name not in sets]
    return f"needs a {missing[0]} set" if missing else None


def _check_device(spec: AuditSpec) -> None:
    if spec.audit.device.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError(f"audit.device = {spec.audit.device!r}, but this machine offers no CUDA device; use cpu")


def _checks(spec: AuditSpec, task: str, data: Any) -> list[Check]:
    # Every installed check is loaded here, for the list of those left out: a broken one stops the audit now.
    registry.load_all(None, _runnable(task))
    if task == "weights":
        return registry.load_all(None, "weights")
    wanted = None if spec.audit.checks is None else {*spec.audit.checks, *ALWAYS}
    checks = registry.load_all(wanted, task)
    if wanted is None:
        # Asked for by nobody and unable to run, a check is listed as left out instead of failing.
        sets = {"forget", *data.splits()}
        checks = [check for check in checks if _unmet(check, data.request, sets) is None]
    # Outputs come first: an original that cannot do its job stops the audit before anything else is run.
    return sorted(checks, key=lambda check: (check.name != "outputs", check.name))


def _runnable(task: str) -> str:
    """The task whose checks could have been run; for a bare pair of checkpoints, that of images."""
    return "classification" if task == "weights" else task

"""Holds a received audit against models and data at hand: their digests, and a whole repetition.

Code that came with the audit is never run: architecture and data code are those that the reviewer names.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from auditor.digests import file_digest
from auditor.errors import UsageError
from auditor.records.events import Event
from auditor.records.evidence import Evidence, Interval
from auditor.records.plan import Plan, PlannedModel
from auditor.records.results import Results
from auditor.records.spec import AuditSpec
from auditor.review.plan_diff import content_changes
from auditor.review.received import Finding
from auditor.run.execution import execute
from auditor.run.preparing import prepare
from auditor.sources import names_library, split_code, split_source

_WEIGHTS = "model.safetensors"


def files_at_hand(plan: Plan, folder: Path) -> Iterator[Finding]:
    """Hold every model and example set that is one file against its planned digest.

    Args:
        plan: of the audit.
        folder: that the plan's paths are relative to.
    """
    for model in plan.models:
        if model.source is not None:
            yield _file(f"{model.name} ({model.source})", model_file(model, folder), model.file_digest)
    for item in plan.data:
        if item.source is not None:
            path = folder / split_source(item.source, folder)[0]
            yield _file(f"{item.name} ({item.source})", path, item.file_digest)


def model_file(model: PlannedModel, folder: Path) -> Path:
    """The file of a model's weights."""
    path = folder / str(model.source)
    return path / _WEIGHTS if path.is_dir() else path


def _file(subject: str, path: Path, digest: str | None) -> Finding:
    # A planned digest over shards is that of no file.
    in_shards = path.name == _WEIGHTS and path.parent.is_dir() and not path.is_file()
    if digest is None or in_shards:
        return Finding(subject=subject, state="unchecked", words="is not one file; --rerun compares its content")
    if not path.is_file():
        return Finding(subject=subject, state="unchecked", words=f"is not at hand: {path} does not exist")
    found = file_digest(path)
    if found != digest:
        return Finding(subject=subject, state="fails", words=f"has SHA-256 {found}, the audit was of {digest}")
    return Finding(subject=subject, state="holds", words="is the file that was audited")


def repeat(
    results: Results,
    folder: Path,
    *,
    architecture: str | None,
    guard: str | None = None,
    task: str | None = None,
    data: Mapping[str, str | None],
    report: Callable[[Event], None],
) -> Iterator[Finding]:
    """Run the whole audit again, from its first score, and compare.

    Args:
        results: received.
        folder: that the plan's paths are relative to.
        architecture: ``module.py:function`` that the reviewer has read, relative to the working directory.
        guard: the same, of code around the unlearned model.
        task: the same, of the class that says how models are scored.
        data: sets that the reviewer names instead of the planned ones, by name.
        report: told of every finished unit of work.

    Raises:
        UsageError: models were in memory, or the plan would need code that the reviewer did not name.
    """
    spec = _spec(results.plan, {"architecture": architecture, "guard": guard, "task": task}, data)
    with tempfile.TemporaryDirectory(prefix="audit-") as store:
        # Scores that came with the audit are what is in question: everything is computed again.
        run = spec.audit.model_copy(update={"store": store})
        prepared = prepare(
            spec.model_copy(update={"audit": run}),
            folder,
            {},
            report=report,
            command=results.plan.command,
            frozen=results.plan,
        )
        changes = content_changes(results.plan, prepared.plan)
        for change in changes:
            yield Finding(subject=change.field, state="fails", words=f"differs here: {change}")
        # Numbers of other inputs would show nothing about the audit.
        if not changes:
            again = execute(prepared, None)
            yield from compare_numbers(results, again)


def _spec(plan: Plan, code: Mapping[str, str | None], data: Mapping[str, str | None]) -> AuditSpec:
    asked = plan.asked
    # Decoys have no source either; they are made again.
    if any(model.source is None for model in plan.models if model.role != "decoy"):
        raise UsageError("the audit was of models in memory, so it cannot be rerun from files")
    named = {**_absolute(code), **_absolute(data)}
    for name, planned in [*asked.models, *asked.data]:
        # Judged by the words alone, whether or not such a file is there.
        if name not in named and _is_code(planned):
            raise UsageError(
                f"the audit ran {planned}; code that came with an audit is never run, "
                f"so read it and name it with --{name} FILE.py:FUNCTION"
            )
    models = asked.models.model_copy(update=_absolute(code))
    return asked.model_copy(update={"models": models, "data": asked.data.model_copy(update=_absolute(data))})


def _absolute(sources: Mapping[str, str | None]) -> dict[str, str]:
    given = {name: source for name, source in sources.items() if source is not None}
    return {name: s if names_library(s) else str(Path(s).absolute()) for name, s in given.items()}


def _is_code(source: object) -> bool:
    return isinstance(source, str) and split_code(source) is not None


def compare_numbers(before: Results, after: Results) -> Iterator[Finding]:
    """Every number of the evidence within the policy's tolerance, and the same verdict.

    Differences are taken in units of ρ; of a number beyond 1, relative to it.
    """
    tolerance = before.plan.policy.thresholds.tolerance
    for evidence in before.evidence:
        yield _compared(evidence, after.of(evidence.check), tolerance)
    yield from _form(before, after)
    same = before.verdict.outcome == after.verdict.outcome and before.verdict.flags == after.verdict.flags
    words = f"is {after.verdict.outcome}{_flags(after)} {'again' if same else 'here'}"
    yield Finding(subject="verdict", state="holds" if same else "fails", words=words)


def _form(before: Results, after: Results) -> Iterator[Finding]:
    if before.canonical is None:
        return
    here = None if after.canonical is None else after.canonical.digest
    same = here == before.canonical.digest
    words = "has the digest that the verdict is about" if same else f"was {before.canonical.digest}, is {here} here"
    yield Finding(subject="canonical form", state="holds" if same else "fails", words=words)


def _flags(results: Results) -> str:
    return f" ({', '.join(results.verdict.flags)})" if results.verdict.flags else ""


def _compared(before: Evidence, after: Evidence | None, tolerance: float) -> Finding:
    subject = f"check {before.check}"
    if after is None or (before.failure is None) != (after.failure is None):
        return Finding(subject=subject, state="fails", words="ran in only one of the two")
    old, new = dict(_numbers(before)), dict(_numbers(after))
    if old.keys() != new.keys():
        missing = sorted(old.keys() ^ new.keys())[0]
        return Finding(subject=subject, state="fails", words=f"{missing} has a value in only one of the two")
    # Absolute up to 1, relative beyond: a small gap makes a large ρ, and moves it by more.
    off = {name: abs(old[name] - new[name]) / max(1.0, abs(old[name])) for name in old}
    worst = max(off, key=lambda name: off[name], default="")
    if worst and off[worst] > tolerance:
        words = f"{worst} was {old[worst]:.6g}, is {new[worst]:.6g}: further apart than {tolerance:g}"
        return Finding(subject=subject, state="fails", words=words)
    furthest = f"at most {off[worst]:.2g} apart" if worst and off[worst] > 0 else "equal to the last digit"
    return Finding(subject=subject, state="holds", words=f"{len(old)} numbers, {furthest} (tolerance {tolerance:g})")


def _numbers(e: Evidence) -> Iterator[tuple[str, float]]:
    yield from _limits("ρ", e.rho)
    if e.resolution is not None:
        yield "resolution", e.resolution
    for name, decoy in e.decoys.items():
        yield from _limits(f"ρ of {name}", decoy.rho)
    if e.utility is not None:
        yield from ((f"retain accuracy of {name}", value) for name, value in e.utility.references.items())
        yield "retain accuracy of original", e.utility.original
        yield "retain accuracy of unlearned", e.utility.unlearned
    if e.scores is not None:
        scores = e.scores
        gap = abs(scores.original - scores.null) if scores.null is not None else 0.0
        # Each check's scores have a scale of their own; in units of this gap they are on that of ρ.
        unit = gap or max(1.0, abs(scores.original))
        own = {"original": scores.original, "unlearned": scores.unlearned}
        for name, value in {**own, **scores.references, **scores.drawn, **scores.decoys}.items():
            yield f"score of {name} in units of the gap", value / unit


def _limits(name: str, rho: Interval | None) -> Iterator[tuple[str, float]]:
    if rho is not None:
        yield from ((f"{name} {part}", getattr(rho, part)) for part in ("value", "low", "high"))

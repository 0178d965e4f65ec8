"""From a request to a plan: everything loaded, every choice fixed, nothing scored."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from auditor.checks.sets import sources
from auditor.errors import SpecError, UsageError
from auditor.models.canonical_file import CanonicalFile
from auditor.models.lineup import Lineup, load_lineup
from auditor.records.events import Begun, Event, Unit
from auditor.records.plan import Plan
from auditor.records.score import CanonicalForm
from auditor.records.spec import AuditSpec
from auditor.run.choosing import checks_to_run
from auditor.run.executors import registry as executors
from auditor.run.machine import this_machine
from auditor.run.planning import make_plan
from auditor.run.runner import Work
from auditor.run.settings import execution_settings
from auditor.run.store import ScoreStore
from auditor.tasks import registry
from auditor.tasks.task import AnyMaterial
from auditor.tasks.weights_only import WeightsOnly


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """An audit that has its plan and has scored nothing.

    Attributes:
        plan: what will be done.
        work: models and data behind the plan.
        base: folder that paths are relative to.
        spec: what was asked.
        canonical: makes and writes canonical forms; None where nothing can be run.
        weight_bytes: of one model.
    """

    plan: Plan
    work: Work
    base: Path
    spec: AuditSpec
    canonical: CanonicalFile | None = None
    weight_bytes: int = 0

    @property
    def timings(self) -> Path:
        """File of the seconds that are remembered between audits."""
        return self.base / self.spec.audit.store / "timings.json"

    def heard_by(self, also: Callable[[Event], None]) -> "Prepared":
        """The same with someone else who is told of every finished unit."""
        report = self.work.report

        def both(event: Event) -> None:
            also(event)
            report(event)

        return replace(self, work=replace(self.work, report=both))

    def watched(self, begin: Callable[[Begun], None], lost: Mapping[Unit, str]) -> "Prepared":
        """The same for a process that someone watches over; see :class:`~auditor.run.runner.Work`."""
        return replace(self, work=replace(self.work, begin=begin, lost=lost))


def prepare(
    spec: AuditSpec,
    base: Path,
    given: Mapping[str, object],
    *,
    report: Callable[[Event], None] = lambda event: None,
    command: str = "",
    judged: bool = True,
    frozen: Plan | None = None,
) -> Prepared:
    """Load everything and make the plan; nothing is scored.

    Args:
        spec: the request.
        base: folder that its paths are relative to.
        given: models and sets in memory, by name.
        report: told of every finished unit of work, later.
        command: what to type to repeat the audit.
        judged: whether there is an unlearned model; see :func:`auditor.models.lineup.load_lineup`.
        frozen: the plan that is carried out again; see :func:`auditor.run.planning.make_plan`.
    """
    _check_device(spec)
    # A misspelt name is said now, not after all models were loaded.
    executors.load(spec.audit.executor)
    store = base / spec.audit.store
    with execution_settings(spec.audit.threads):
        found = load_lineup(spec, given, base, store / "converted", judged=judged)
        material = registry.material_of(spec, found, given, base)
        _refuse_nothing_to_run(spec, given, material, found)
        # What cannot be written is said before the first score, not after the last.
        if spec.audit.write_canonical:
            _runnable_file(material)
        checks = checks_to_run(spec, registry.load(material.task), material.data, material.offers)
        plan = make_plan(spec, found, material, checks, base=base, command=command, frozen=frozen)
    work = Work(
        plan=plan,
        checks=checks,
        data=material.data,
        subject=material.subject,
        store=ScoreStore(store / "scores", this_machine(spec.audit.device)),
        report=report,
        uncached=_uncached(plan, found.hooked),
        as_given=material.as_given,
    )
    return Prepared(
        plan=plan,
        work=work,
        base=base,
        spec=spec,
        canonical=material.canonical,
        weight_bytes=material.weight_bytes or found.weight_bytes,
    )


def _refuse_nothing_to_run(spec: AuditSpec, given: Mapping[str, object], material: AnyMaterial, found: Lineup) -> None:
    """Stop where only weights could be compared and nobody asked for that: such an audit decides next to nothing.

    Raises:
        SpecError: naming what is missing.
    """
    alone = {check.name for check in registry.checks_of(registry.load(WeightsOnly.name))}
    if material.task != WeightsOnly.name or (spec.audit.checks and set(spec.audit.checks) <= alone):
        return
    origins = sources(given, spec.data)
    missing = [f"data.{name} (--{name})" for name in ("forget", "retain") if origins[name] is None]
    if found.entries["original"].build is None:
        missing.append("models.architecture (--architecture)")
    raise SpecError(
        f"nothing can be run without {', '.join(missing)}: give what is missing (`audit init` helps with it), or "
        f"compare the weights alone with --checks {','.join(sorted(alone))}"
    )


def _runnable_file(material: AnyMaterial) -> CanonicalFile:
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
        found = load_lineup(alone, {}, base, base / spec.audit.store / "converted")
        made = _runnable_file(registry.material_of(alone, found, {}, base))
        return made.write(found.entries["unlearned"].planned, target)


def _uncached(plan: Plan, hooked: frozenset[str]) -> frozenset[str]:
    """Models whose scores are not kept; every score depends on the original."""
    return frozenset(model.name for model in plan.models) if "original" in hooked else hooked


def _check_device(spec: AuditSpec) -> None:
    if spec.audit.device.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError(f"audit.device = {spec.audit.device!r}, but this machine offers no CUDA device; use cpu")
    if spec.audit.device == "mps" and not torch.backends.mps.is_available():
        raise UsageError("audit.device = 'mps', but this machine offers no Apple GPU that torch can use; use cpu")

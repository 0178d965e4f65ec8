"""Which checks an audit runs, and why the others are left out."""

from collections.abc import Collection, Iterator, Sequence

from auditor.checks.check import AnyCheck
from auditor.checks.registry import serves
from auditor.checks.sets import ExampleSet, Sets
from auditor.checks.subject import lacking, name_of
from auditor.errors import SpecError, nearest
from auditor.records.access import Access, allows, from_outside
from auditor.records.plan import Plan
from auditor.records.results import MissingCheck
from auditor.records.spec import AuditSpec
from auditor.tasks import registry
from auditor.tasks.task import AnyTask


def checks_to_run(
    spec: AuditSpec, task: AnyTask, data: Sets[ExampleSet], offers: Collection[str] | None = None
) -> list[AnyCheck]:
    """The checks of an audit, in order.

    Args:
        spec: the request.
        task: whose checks they are.
        data: the sets.
        offers: capabilities that the user's code gives the subjects; None where the task decides.

    Raises:
        SpecError: a check is asked for that there is not, that needs more access than is held, or what the user's code
            does not give; an installed one is broken, or none is left.
    """
    access, guarded = spec.audit.access, spec.models.guard is not None
    # Every installed check is loaded here, for the list of those left out: a broken one stops the audit now.
    installed = _listed(task)
    # Bare weights and logs run the checks that need nothing else; whatever else was asked for is listed.
    if spec.audit.checks is None or task.others_listed is not None:
        # Asked for by nobody and unable to run, a check is listed as left out instead of failing.
        sets, own = {"forget", *data.splits()}, registry.checks_of(task)
        wanted = _wanted(spec.audit.checks, [*installed, *own])
        unmet = {
            check.name: not_given(check, offers, spec.models.task) or _unmet(check, data.request, sets, access, guarded)
            for check in own
        }
        found = [check for check in own if check.name in wanted and unmet[check.name] is None]
    else:
        asked = [check for check in installed if check.name in spec.audit.checks]
        _refuse_not_given(asked, offers, spec.models.task)
        _refuse_beyond(asked, access, guarded)
        open_ones = [check for check in installed if allows(access, needed(check, check.access, guarded))]
        always = {check.name for check in open_ones if check.role != "evidence"}
        found = registry.checks_of(task, {*spec.audit.checks, *always})
    if not found:
        raise SpecError(f'no check runs with audit.access = "{access}" and these inputs; allow more, or give the sets')
    # Outputs come first: an original that cannot do its job stops the audit before anything else is run.
    return sorted(found, key=lambda check: (check.role != "outputs", check.name))


def not_given(check: AnyCheck, offers: Collection[str] | None, code: str | None) -> str | None:
    """What a check needs of the models that the user's code does not give, in words; None where nothing.

    Args:
        check: any.
        offers: capabilities of the subjects by name; None where the task decides them.
        code: the user's, as the request names it.
    """
    missing = [name for name in map(name_of, check.asks) if offers is not None and name not in offers]
    return f"needs {' and '.join(missing)}, which {code} does not give" if missing else None


def _refuse_not_given(wanted: list[AnyCheck], offers: Collection[str] | None, code: str | None) -> None:
    """Stop where a check was asked for by name that the user's code leaves no way to run."""
    for check in wanted:
        if words := not_given(check, offers, code):
            raise SpecError(f"{check.name} {words}; add the method, or take the check out of audit.checks")


def needed(check: AnyCheck, own: Access, guarded: bool) -> Access:
    """The access that a check's score rests on: what it looks at beneath a guard nobody sees from outside.

    Args:
        check: any.
        own: what it needs where nothing stands around the weights.
        guarded: whether a guard does.
    """
    return "weights" if guarded and check.opens and from_outside(own) else own


def _refuse_beyond(wanted: list[AnyCheck], access: Access, guarded: bool) -> None:
    """Stop where a check was asked for by name that needs more than may be used: left out, it would be missed."""
    for check in wanted:
        if not allows(access, asked := needed(check, check.access, guarded)):
            raise SpecError(
                f'{check.name} needs access to {asked}, and audit.access = "{access}"; leave the check out, or '
                "allow more"
            )


def _wanted(asked: Collection[str] | None, known: Sequence[AnyCheck]) -> set[str]:
    """Names of what was asked for, and of what is always part of an audit; of everything where nothing was.

    Raises:
        SpecError: there is no check of a name.
    """
    names = sorted({check.name for check in known})
    for name in asked or ():
        if name not in names:
            raise SpecError(f"there is no check called {name!r}{nearest(name, names)}")
    always = {check.name for check in known if check.role != "evidence"}
    return set(names) if asked is None else {*asked, *always}


def left_out(plan: Plan) -> Iterator[MissingCheck]:
    """The checks that are installed and not planned, each with the reason."""
    task = registry.load(plan.task)
    planned = {item.name for item in plan.checks}
    for check in _listed(task):
        if check.name not in planned:
            yield MissingCheck(check=check.name, reason=_why_left_out(check, task, plan))


def _listed(task: AnyTask) -> list[AnyCheck]:
    """The checks that a report on this task speaks of."""
    return registry.checks_of(registry.load(task.others_listed or task.name))


def _why_left_out(check: AnyCheck, task: AnyTask, plan: Plan) -> str:
    # Said first: no further set would make up for what the models cannot offer.
    if lacking(task.subject_type, check.asks) or not serves(check, task.name):
        sets = f" and {' and '.join(check.needs)} sets" if check.needs else ""
        return f"needs {task.others_need}{sets}"
    if words := not_given(check, plan.offers, plan.asked.models.task):
        return words
    given = {item.name for item in plan.data}
    asked, guarded = plan.asked.audit.access, plan.asked.models.guard is not None
    return _unmet(check, plan.request, given, asked, guarded) or "not among audit.checks"


def _unmet(check: AnyCheck, request: str, sets: set[str], access: Access, guarded: bool) -> str | None:
    """Why a check cannot serve this request, or None."""
    if not allows(access, asked := needed(check, check.access, guarded)):
        return f"needs access to {asked}, and the audit was held to {access}"
    if request not in check.requests:
        return f"serves requests of kind {' and '.join(check.requests)} only"
    missing = [name for name in check.needs if name not in sets]
    return f"needs a {missing[0]} set" if missing else None

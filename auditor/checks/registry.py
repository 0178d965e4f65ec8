"""Which checks there are: those of this distribution and of any other that names the entry-point group.

An entry point is called like its check. Where a check has a variant for each task, the task stands behind a dot:
``few_shot.classification`` and ``few_shot.causal-lm`` are both ``few_shot``.
"""

from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points

from auditor.checks.check import AnyCheck, Check
from auditor.errors import SpecError

GROUP = "unlearning_auditor.checks"


def names(task: str) -> tuple[str, ...]:
    """Names of the installed checks that serve a task, sorted."""
    return tuple(check.name for check in load_all(None, task))


def load(name: str, task: str) -> AnyCheck:
    """Import and make the check of a name that serves a task.

    Raises:
        SpecError: no such check, two packages that register the name, a class that cannot be imported or made, or
            one that does not carry the name it is registered under.
    """
    return _made(_entry(name, task))


def load_all(wanted: Iterable[str] | None, task: str) -> list[AnyCheck]:
    """The wanted checks, or all that serve the task, in alphabetical order.

    Raises:
        SpecError: as :func:`load`; also where no check is asked for by name and none serves the task.
    """
    if wanted is not None:
        return [load(name, task) for name in sorted(set(wanted))]
    found = [load(name, task) for name in _registered(task)]
    serving = [check for check in found if _serves(check, task)]
    if not serving:
        raise SpecError(f"no installed check serves the task {task!r}; install a package of checks for it")
    return serving


def provider(name: str, task: str) -> str:
    """The distribution that registers a check, with its version: scores of one version are not those of another."""
    entry = _entry(name, task)
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else "unknown"


def _registered(task: str) -> list[str]:
    return sorted({_name(entry) for entry in entry_points(group=GROUP) if _may_serve(entry, task)})


def _entry(name: str, task: str) -> EntryPoint:
    # Two tools that install the same package may each list its entry points: a value counts once.
    found = {e.value: e for e in entry_points(group=GROUP) if _name(e) == name and _may_serve(e, task)}
    if not found:
        raise SpecError(f"there is no check called {name!r}; there are: {', '.join(_registered(task))}")
    if len(found) > 1:
        # One would silently stand in for the other, and by whatever order they were installed in.
        raise SpecError(f"two installed checks are called {name!r}: {' and '.join(sorted(found))}; uninstall one")
    [entry] = found.values()
    return entry


def _name(entry: EntryPoint) -> str:
    return entry.name.partition(".")[0]


def _may_serve(entry: EntryPoint, task: str) -> bool:
    """Whether the name of an entry point leaves the task open, or names it."""
    return entry.name.partition(".")[2] in ("", task)


def _serves(check: AnyCheck, task: str) -> bool:
    return not check.tasks or task in check.tasks


def _made(entry: EntryPoint) -> AnyCheck:
    name = _name(entry)
    try:
        kind = entry.load()
        if isinstance(kind, type) and issubclass(kind, Check) and getattr(kind, "name", None) == name:
            return kind()
    except (ImportError, AttributeError, TypeError) as error:
        raise SpecError(f"the check {name!r} ({entry.value}) cannot be loaded: {error}; fix or uninstall it") from error
    raise SpecError(f"the entry point {entry.name!r} ({entry.value}) does not give a check of that name")

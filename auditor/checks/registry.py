"""Which checks there are: those of this distribution and any other that names an entry-point group."""

from collections.abc import Iterable
from importlib.metadata import entry_points

from auditor.checks.check import Check
from auditor.errors import SpecError

GROUPS = {"classification": "unlearning_auditor.checks", "causal-lm": "unlearning_auditor.causal_lm_checks"}
"""Entry-point group by task. A check that serves both tasks under one name stands in both."""
TASKS = tuple(GROUPS)
_IMAGES = "classification"


def names(task: str = _IMAGES) -> tuple[str, ...]:
    """Names of every installed check of a task, sorted, without importing any."""
    return tuple(sorted({entry.name for entry in entry_points(group=_group(task))}))


def load(name: str, task: str = _IMAGES) -> Check:
    """Import and make one check.

    Raises:
        SpecError: no such check, two packages that register the name, a class that cannot be imported or made, or
            one that does not carry the name it is registered under.
    """
    found = {entry.value: entry for entry in entry_points(group=_group(task)) if entry.name == name}
    if not found:
        raise SpecError(f"there is no check called {name!r}; there are: {', '.join(names(task))}")
    if len(found) > 1:
        # One would silently stand in for the other, and by whatever order they were installed in.
        raise SpecError(f"two installed checks are called {name!r}: {' and '.join(sorted(found))}; uninstall one")
    [(value, entry)] = found.items()
    try:
        kind = entry.load()
        if isinstance(kind, type) and issubclass(kind, Check) and getattr(kind, "name", None) == name:
            return kind()
    except (ImportError, AttributeError, TypeError) as error:
        raise SpecError(f"the check {name!r} ({value}) cannot be loaded: {error}; mend or uninstall it") from error
    raise SpecError(f"the entry point {name!r} ({value}) does not give a check of that name")


def provider(name: str, task: str = _IMAGES) -> str:
    """The distribution that registers a check, with its version: scores of one version are not those of another."""
    entry = next(entry for entry in entry_points(group=_group(task)) if entry.name == name)
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else "unknown"


def load_all(wanted: Iterable[str] | None, task: str) -> list[Check]:
    """The wanted checks, or all that serve the task, in alphabetical order."""
    if wanted is not None:
        return [load(name, task) for name in sorted(set(wanted))]
    return [check for check in (load(name, task) for name in names(task)) if task in check.tasks]


def _group(task: str) -> str:
    # A bare pair of checkpoints is compared by the checks of either task that need no more; they are the same ones.
    return GROUPS.get(task, GROUPS[_IMAGES])

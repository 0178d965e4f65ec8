"""Which checks there are: those of this distribution and any other that names the entry-point group."""

from collections.abc import Iterable
from importlib.metadata import entry_points

from auditor.check import Check
from auditor.errors import SpecError

GROUP = "unlearning_auditor.checks"


def names() -> tuple[str, ...]:
    """Names of every installed check, sorted, without importing any."""
    return tuple(sorted({entry.name for entry in entry_points(group=GROUP)}))


def load(name: str) -> Check:
    """Import and make one check.

    Raises:
        SpecError: no such check, two packages that register the name, a class that cannot be imported or made, or
            one that does not carry the name it is registered under.
    """
    found = {entry.value: entry for entry in entry_points(group=GROUP) if entry.name == name}
    if not found:
        raise SpecError(f"there is no check called {name!r}; there are: {', '.join(names())}")
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


def provider(name: str) -> str:
    """The distribution that registers a check, with its version: scores of one version are not those of another."""
    entry = next(entry for entry in entry_points(group=GROUP) if entry.name == name)
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else "unknown"


def load_all(wanted: Iterable[str] | None, task: str) -> list[Check]:
    """The wanted checks, or all that serve the task, in alphabetical order."""
    if wanted is not None:
        return [load(name) for name in sorted(set(wanted))]
    return [check for check in map(load, names()) if task in check.tasks]

"""What packages register in entry-point groups: found by name, loaded when asked for, refused in one sentence."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from auditor.errors import AuditError, SpecError


@cache
def registered(group: str) -> tuple[EntryPoint, ...]:
    """The entry points of a group, by name; one that several tools list for the same package counts once.

    Read once in a process: a file of every installed distribution is opened for it.
    """
    found = {(entry.name, entry.value): entry for entry in entry_points(group=group)}
    return tuple(found[key] for key in sorted(found))


def named(group: str, name: str, noun: str) -> EntryPoint:
    """The one entry point of a name.

    Raises:
        SpecError: there is none, or two packages register the name.
    """
    every = registered(group)
    found = [entry for entry in every if entry.name == name]
    if not found:
        known = ", ".join(dict.fromkeys(entry.name for entry in every))
        raise SpecError(f"there is no {noun} called {name!r}; there are: {known}")
    return only(found, noun, name)


def only(found: list[EntryPoint], noun: str, name: str) -> EntryPoint:
    """The only one of some entry points.

    Raises:
        SpecError: there are two.
    """
    if len(found) > 1:
        # One would silently stand in for the other, and by whatever order they were installed in.
        values = " and ".join(sorted(entry.value for entry in found))
        raise SpecError(f"two installed {noun}s are called {name!r}: {values}; uninstall one")
    return found[0]


def loaded(entry: EntryPoint, noun: str) -> object:
    """What an entry point gives.

    Raises:
        SpecError: it cannot be imported.
    """
    try:
        found: object = entry.load()
    # A package of someone else's may be broken in each of these ways; nothing is skipped in silence.
    except (ImportError, AttributeError, TypeError) as error:
        raise cannot_be_loaded(entry, noun, error) from error
    return found


def cannot_be_loaded(entry: EntryPoint, noun: str, error: Exception) -> SpecError:
    """The sentence about an entry point that breaks when it is imported or made."""
    name = entry.name.partition(".")[0]
    return SpecError(f"the {noun} {name!r} ({entry.value}) cannot be loaded: {error}; fix or uninstall it")


@contextmanager
def faults_of(entry: EntryPoint, noun: str, path: Path) -> Iterator[None]:
    """While open, what a package's code raises is said to be a fault of that package.

    Raises:
        SpecError: it raised something else than a sentence of its own.
    """
    try:
        yield
    except AuditError:
        raise
    except Exception as error:
        # The auditor's own are no one else's fault, and are reported with a traceback.
        if entry.value.startswith("auditor."):
            raise
        raise SpecError(
            f"the {noun} {entry.name!r} of {provider(entry)} failed on {path}: {type(error).__name__}: {error}; "
            f"report it to that package, or give the file in another format"
        ) from error


def provider(entry: EntryPoint) -> str:
    """The distribution that registers it, with its version."""
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else "unknown"

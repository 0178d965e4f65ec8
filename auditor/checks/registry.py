"""Which checks there are: those of this distribution and of any other that names the entry-point group.

An entry point is called like its check. Where a check has a variant for each task, the task stands behind a dot:
``few_shot.classification`` and ``few_shot.causal-lm`` are both ``few_shot``. A task whose subjects are those of another
has entry points of its own for that one's variants.
"""

from collections.abc import Iterable
from importlib.metadata import EntryPoint

from auditor import plugins
from auditor.checks.check import AnyCheck, Check
from auditor.errors import SpecError, nearest

GROUP = "unlearning_auditor.checks"
_NOUN = "check"


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
        SpecError: as :func:`load`.
    """
    if wanted is not None:
        return [load(name, task) for name in sorted(set(wanted))]
    found = [load(name, task) for name in _registered(task)]
    # An entry point whose name leaves the task open may still give a check of other tasks alone.
    return [check for check in found if serves(check, task)]


def serves(check: AnyCheck, task: str) -> bool:
    """Whether a check is one of a task: by its own word, or by an entry point that names the task."""
    if not check.tasks or task in check.tasks:
        return True
    named = [entry for entry in plugins.registered(GROUP) if entry.name == f"{check.name}.{task}"]
    return any(plugins.loaded(entry, _NOUN) is type(check) for entry in named)


def provider(name: str, task: str) -> str:
    """The distribution that registers a check, with its version: scores of one version are not those of another."""
    return plugins.provider(_entry(name, task))


def _registered(task: str) -> list[str]:
    return sorted({_name(entry) for entry in plugins.registered(GROUP) if _may_serve(entry, task)})


def _entry(name: str, task: str) -> EntryPoint:
    found = [entry for entry in plugins.registered(GROUP) if _name(entry) == name and _may_serve(entry, task)]
    if not found:
        raise SpecError(f"there is no check called {name!r}{nearest(name, _registered(task))}")
    return plugins.only(found, _NOUN, name)


def _name(entry: EntryPoint) -> str:
    return entry.name.partition(".")[0]


def _may_serve(entry: EntryPoint, task: str) -> bool:
    """Whether the name of an entry point leaves the task open, or names it."""
    return entry.name.partition(".")[2] in ("", task)


def _made(entry: EntryPoint) -> AnyCheck:
    kind = plugins.loaded(entry, _NOUN)
    if not isinstance(kind, type) or not issubclass(kind, Check) or getattr(kind, "name", None) != _name(entry):
        raise SpecError(f"the entry point {entry.name!r} ({entry.value}) does not give a check of that name")
    try:
        return kind()
    except TypeError as error:
        # A class with an abstract method left, or one that wants arguments.
        raise plugins.cannot_be_loaded(entry, _NOUN, error) from error

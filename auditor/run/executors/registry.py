"""Where units of work are computed.

An executor is a class, here or in a package of your own, that is made of what is loaded and has one method, ``run``
(:class:`auditor.run.units.Executor`). It is registered in the entry-point group ``unlearning_auditor.executors`` and
chosen by ``audit.executor``.
"""

from collections.abc import Callable, Mapping
from typing import Any, cast

from auditor import plugins
from auditor.errors import SpecError
from auditor.records.events import Unit
from auditor.run.units import Executor, Loaded

GROUP = "unlearning_auditor.executors"
_NOUN = "executor"


def load(name: str) -> Callable[[Loaded], Executor]:
    """What makes an executor.

    Raises:
        SpecError: there is none of that name, or it cannot be loaded.
    """
    entry = plugins.named(GROUP, name, _NOUN)
    found = plugins.loaded(entry, _NOUN)
    if not callable(found):
        raise SpecError(f"the executor {name!r} ({entry.value}) is no class that could be made; fix or uninstall it")
    # What it makes is seen when it is made: a type cannot be asked for the signature of its constructor.
    return cast(Callable[[Loaded], Executor], found)


# Of what is prepared and the plan's file; its type lies above this module.
Ahead = Callable[[Any, Any], Mapping[Unit, str]]


def ahead(name: str) -> Ahead | None:
    """What an executor does before the loop asks it for units: put into the store what it can, and say what was lost.

    None where it has no such method, called ``ahead``.

    Raises:
        SpecError: there is no executor of that name, or it cannot be loaded.
    """
    found: Ahead | None = getattr(load(name), "ahead", None)
    return found

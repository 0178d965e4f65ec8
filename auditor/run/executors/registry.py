"""Where units of work are computed.

An executor is a class, here or in a package of your own, that is made of what is loaded and has one method, ``run``
(:class:`auditor.run.units.Executor`). It is registered in the entry-point group ``unlearning_auditor.executors`` and
chosen by ``audit.executor``.
"""

from collections.abc import Callable
from typing import cast

from auditor import plugins
from auditor.errors import SpecError
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

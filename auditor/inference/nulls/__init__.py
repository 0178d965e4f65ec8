"""What ρ = 0 stands for: one module for each null.

A null is a module, here or in a package of your own, with ``KIND``, ``WORDS``, ``RANK`` and ``compare``
(:class:`auditor.inference.compared.Null`), and an entry point of the group ``unlearning_auditor.nulls``.
"""

from collections.abc import Sequence
from functools import cache

from auditor import plugins
from auditor.errors import SpecError
from auditor.inference.compared import CLEARING, Null
from auditor.records.plan import PlannedNull

GROUP = "unlearning_auditor.nulls"
_NOUN = "null"


def planned() -> tuple[PlannedNull, ...]:
    """The installed nulls, for the plan."""
    return tuple(PlannedNull(kind=null.KIND, provider=provider) for null, provider in _installed())


def asked(wanted: Sequence[PlannedNull]) -> tuple[Null, ...]:
    """The nulls of a plan, in its order; the first that has something to say is the null.

    What else is installed is not asked: an audit may not come out otherwise where it is checked than where it was made.

    Raises:
        SpecError: one of them is not installed, or came from another version.
    """
    here = {null.KIND: (null, provider) for null, provider in _installed()}
    found = []
    for item in wanted:
        null, provider = here.get(item.kind, (None, "not installed"))
        if null is None or provider != item.provider:
            raise SpecError(
                f"the null {item.kind} came from {item.provider}, here it is {provider}; install that version"
            )
        found.append(null)
    return tuple(found)


@cache
def _installed() -> tuple[tuple[Null, str], ...]:
    """Every null with its provider, in the order they are asked in.

    Raises:
        SpecError: one cannot be imported, lacks a part, or takes the kind, the rank or the precedence of another.
    """
    entries = plugins.registered(GROUP)
    found = [(_checked(entry.value, plugins.loaded(entry, _NOUN)), plugins.provider(entry)) for entry in entries]
    # Of two with one rank the order of installation would decide which answers; results name a null by its kind.
    for what in ("KIND", "RANK"):
        values = [getattr(null, what) for null, _ in found]
        twice = next((value for value in values if values.count(value) > 1), None)
        if twice is not None:
            raise SpecError(f"two installed nulls have the {what} {twice!r}; uninstall one, or give it another")
    _check_precedence([null for null, _ in found])
    return tuple(sorted(found, key=lambda pair: pair[0].RANK))


def _check_precedence(found: Sequence[Null]) -> None:
    # Asked before the references, a null of a package could take an accusation away from any check it answers for.
    last = max(null.RANK for null in found if null.KIND in CLEARING)
    early = [null.KIND for null in found if null.KIND not in CLEARING and last > null.RANK]
    if early:
        raise SpecError(f"the null {early[0]!r} has a RANK below {last}, that of the references; give it a higher one")


def _checked(value: str, found: object) -> Null:
    if not isinstance(found, Null) or isinstance(found, type):
        raise SpecError(f"the null {value} lacks one of KIND, WORDS, RANK and compare; add it or uninstall the package")
    if not isinstance(found.RANK, int) or not isinstance(found.KIND, str) or not isinstance(found.WORDS, str):
        raise SpecError(
            f"the null {value} has a KIND, WORDS or RANK of another type; give two texts and a whole number"
        )
    return found

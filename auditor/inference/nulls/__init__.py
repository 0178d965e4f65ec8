"""What ρ = 0 stands for: one module for each null.

A null is a module, here or in a package of your own, with ``KIND``, ``WORDS``, ``RANK`` and ``compare``
(:class:`auditor.inference.compared.Null`), and an entry point of the group ``unlearning_auditor.nulls``.
"""

from functools import cache

from auditor import plugins
from auditor.errors import SpecError
from auditor.inference.compared import Null

GROUP = "unlearning_auditor.nulls"
_NOUN = "null"


@cache
def nulls() -> tuple[Null, ...]:
    """The installed nulls in the order they are asked in; the first that has something to say is the null.

    Raises:
        SpecError: one cannot be imported, lacks a part, or takes the kind or the rank of another.
    """
    found = [_checked(entry.value, plugins.loaded(entry, _NOUN)) for entry in plugins.registered(GROUP)]
    # Of two with one rank the order of installation would decide which answers; results name a null by its kind.
    for what in ("KIND", "RANK"):
        values = [getattr(null, what) for null in found]
        twice = next((value for value in values if values.count(value) > 1), None)
        if twice is not None:
            raise SpecError(f"two installed nulls have the {what} {twice!r}; uninstall one, or give it another")
    return tuple(sorted(found, key=lambda null: null.RANK))


def _checked(value: str, found: object) -> Null:
    if not isinstance(found, Null):
        raise SpecError(f"the null {value} lacks one of KIND, WORDS, RANK and compare; add it or uninstall the package")
    return found

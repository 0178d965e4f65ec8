"""What kind of thing is to be forgotten, where the request does not say: decided once, from the labels."""

from collections.abc import Iterable
from dataclasses import dataclass

from auditor.errors import SpecError
from auditor.records.spec import RequestSpec


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request of which nothing is left open.

    Attributes:
        kind: ``class`` or ``sample``.
        classes: forgotten classes, ascending where they were read off forget; empty for ``sample``.
        note: what was taken where the kind was not named, and how to ask for another; None where it was named.
        because: what in the labels it was taken for; None where it was named.
    """

    kind: str
    classes: tuple[int, ...]
    note: str | None = None
    because: str | None = None


def request_for_images(asked: RequestSpec, forget: Iterable[int], retain: Iterable[int]) -> Request:
    """The request about labelled images.

    A kind that is named is taken. Classes that are named make a ``class`` request. Else the labels decide where they
    leave one reading: retain without any of forget's classes is what a class request looks like, and retain of which a
    class request would leave nothing can only be about samples. Between the two nothing is guessed.

    Args:
        asked: as in audit.toml.
        forget: labels of the forget set.
        retain: labels of the retain set.

    Raises:
        SpecError: both kinds would fit, or the kind is not about images.
    """
    if asked.kind == "facts":
        raise SpecError('request.kind = "facts" is for language models; for images it is "class" or "sample"')
    present, kept = set(forget), set(retain)
    if asked.kind == "sample":
        return Request(kind="sample", classes=())
    if asked.kind == "class" or asked.classes:
        return Request(kind="class", classes=asked.classes or tuple(sorted(present)))
    if not present & kept:
        return Request(
            kind="class",
            classes=tuple(sorted(present)),
            note=f'request.kind is not set and was taken as "class", {_named(present)}, since retain holds no example '
            'of it; set request.kind = "sample" if only the examples listed in forget are to be forgotten',
            because=f"retain holds no example of {_named(present)}",
        )
    if kept <= present:
        because = "forget holds examples of every class that retain has"
        return Request(
            kind="sample",
            classes=(),
            note=f'request.kind is not set and was taken as "sample", since {because}; set request.kind = "class" and '
            "request.classes if whole classes are to be forgotten",
            because=because,
        )
    raise SpecError(
        f"request.kind is not set, and retain holds examples of forget's {_named(present & kept)}: set request.kind = "
        '"class" if everything of these classes is to be forgotten, "sample" if the examples listed in forget are'
    )


def _named(classes: set[int]) -> str:
    found = sorted(classes)
    shown = ", ".join(map(str, found[:5])) + (", …" if len(found) > 5 else "")
    return f"class {shown}" if len(found) == 1 else f"classes {shown}"

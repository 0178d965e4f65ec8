"""How much of an unlearned model an auditor may use."""

from typing import Literal, get_args

Access = Literal["samples", "logits", "weights", "training"]
LEVELS: tuple[Access, ...] = get_args(Access)
"""From the least to all of it; each holds those before it."""

MEANING: dict[Access, str] = {
    "samples": "what it says: generated answers, predicted labels",
    "logits": "how probable it finds each answer, too",
    "weights": "its weights and inner states, read, changed or rounded, too",
    "training": "training it further, too",
}


def allows(held: Access, needed: Access) -> bool:
    """Whether who holds one level has what another needs.

    >>> allows("weights", "logits"), allows("samples", "logits")
    (True, False)
    """
    return LEVELS.index(needed) <= LEVELS.index(held)


def from_outside(access: Access) -> bool:
    """Whether so much shows only what the model gives out, which can be made to look like anything."""
    return not allows(access, "weights")

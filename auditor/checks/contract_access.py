"""A subject that shows no more than a level of access does, for the contract of checks."""

from dataclasses import dataclass
from typing import NoReturn

from auditor.records.access import Access, from_outside

_INSIDE = ("weights", "clone", "canonical", "features", "activations", "listening", "intervene", "lens")
_PROBABILITIES = ("recording", "record", "scores", "log_probabilities", "losses", "answer_logits", "forward")


def refuse_beyond(access: Access, subject: object) -> bool:
    """Refuse every method of a subject that shows more than a level of access does; whether there was any."""
    # Of images a recording holds the labels that were said; generated text comes another way.
    generates = access == "samples" and hasattr(subject, "generate")
    names = (*(_INSIDE if from_outside(access) else ()), *(_PROBABILITIES if generates else ()))
    found = [name for name in names if hasattr(subject, name)]
    for name in found:
        setattr(subject, name, _Refused(name))
    return bool(found)


@dataclass
class _Refused:
    """Stands in the place of a method that may not be used."""

    name: str

    def __call__(self, *arguments: object, **keywords: object) -> NoReturn:
        raise AssertionError(f"the check uses {self.name} of a model, which is more access than it declares")

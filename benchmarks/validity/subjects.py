"""The subjects of a world: every construction whose truth is known, and the published methods."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from image_worlds import ImageWorld
from text_worlds import TextWorld
from torch import nn

from auditor.zoo import catalogue
from auditor.zoo.catalogue import Entry
from auditor.zoo.text.units_rescaled import with_units_rescaled as with_text_units_rescaled
from auditor.zoo.units_rescaled import with_units_rescaled

# Eightfold either way, as in benchmarks/digits.py.
OCTAVES = 3.0
# What a world's own construction makes; and units_rescaled, which is put around others here.
APART = {
    "retrain",
    "retrain_from_own_weights",
    "retrain_from_pretrained",
    "sisa",
    "prompt_partition",
    "analytic",
    "private",
    "units_rescaled",
}
EXACT = {
    "plain": "retrain",
    "pretrained": "retrain_from_pretrained",
    "sharded": "sisa",
    "prompted": "prompt_partition",
    "analytic": "analytic",
    "private": "retrain_from_pretrained",
}
# Of the worlds of other constructions: enough to see that suppression is found there too.
FEW = ("output_mask", "head_relabelling", "refusal_adapter", "trigger")
# More where a construction has few worlds.
N_EXACT = {"plain": 2, "pretrained": 3, "sharded": 3, "prompted": 3, "analytic": 1, "private": 1}
# The removal is deterministic, so a further seed would be the same model.


@dataclass(frozen=True, kw_only=True)
class Maker:
    """One subject.

    Attributes:
        mechanism: its name.
        label: the truth.
        variant: what tells it from others of the mechanism in this world.
        make: makes it.
    """

    mechanism: str
    label: str
    variant: str
    make: Callable[[], nn.Module]

    @property
    def name(self) -> str:
        """Of its file."""
        return f"{self.mechanism}-{self.variant}" if self.variant else self.mechanism


World = ImageWorld | TextWorld


def subjects(world: World, *, rescaled: bool, unknown: bool) -> Iterator[Maker]:
    """All subjects of a world.

    Args:
        world: its models are made when a subject is.
        rescaled: also every suppressed subject with units rescaled.
        unknown: also published methods, whose truth nobody knows.
    """
    yield from _deleted(world)
    # The claim that nothing was done: any audit has to see through it.
    yield Maker(mechanism="original", label="not forgotten", variant="", make=lambda: world.original)
    if world.construction == "private":
        yield Maker(mechanism="private", label="unknown", variant="", make=world.from_private_base)
    plain = world.construction == "plain"
    for entry in _entries(world):
        if not plain and entry.name not in FEW:
            continue
        if entry.truth == "unknown" and not unknown:
            continue
        yield Maker(mechanism=entry.name, label=entry.truth, variant="", make=lambda entry=entry: _made(world, entry))
        # Suppressed ones only: rescaling evades an accusation, and no other subject has one to evade.
        if rescaled and entry.truth == "suppressed":
            yield Maker(
                mechanism=entry.name,
                label=entry.truth,
                variant="rescaled",
                make=lambda entry=entry: _rescaled(world, _made(world, entry)),
            )


def _deleted(world: World) -> Iterator[Maker]:
    name = EXACT[world.construction]
    for i in range(N_EXACT[world.construction]):
        yield Maker(mechanism=name, label="deleted", variant=f"{i + 1}", make=lambda i=i: world.exact(f"exact-{i + 1}"))
    if world.construction == "plain":
        yield Maker(mechanism="retrain_from_own_weights", label="deleted", variant="", make=world.from_own_weights)


def _entries(world: World) -> list[Entry]:
    # Adversaries stand in benchmarks/adversaries.py: their label is known only after a patient attacker has tried them.
    task = "text" if isinstance(world, TextWorld) else "vision"
    request = world.about["request"]
    return [
        entry
        for entry in catalogue.entries()
        if entry.task == task and entry.name not in APART and request in entry.requests and not entry.adversary
    ]


def _made(world: World, entry: Entry) -> nn.Module:
    if isinstance(world, TextWorld):
        given: tuple[object, ...] = (world.model, world.people.forget, world.people.retain)
    else:
        given = (world.original, world.sets.forget, world.sets.retain)
    made: nn.Module = entry.make(*given, entry.settings(), world.request_seed)
    return made


def _rescaled(world: World, module: nn.Module) -> nn.Module:
    if isinstance(world, TextWorld):
        return with_text_units_rescaled(module, OCTAVES)
    return with_units_rescaled(module, world.sets.retain, OCTAVES)

"""What a running audit tells whoever shows its progress or watches over it. Nothing heavy is loaded here."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Planned:
    """The plan is made; scoring begins.

    Attributes:
        units: checks times models.
        unlike: for every other machine that has finished some of them, how this one differs from it; their scores are
            made again.
    """

    units: int
    unlike: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Unit:
    """One check on one model: the smallest piece of work that is stored, repeated or given up.

    Attributes:
        check: its name.
        model: its name in the plan.
    """

    check: str
    model: str


@dataclass(frozen=True, kw_only=True)
class Begun(Unit):
    """A unit is being worked on: neither stored from before nor given up."""


@dataclass(frozen=True, kw_only=True)
class Event(Unit):
    """A unit is finished.

    Attributes:
        reused: taken from the store.
        failed: ended in a Failure.
        seconds: that it took.
    """

    reused: bool
    failed: bool
    seconds: float = 0.0

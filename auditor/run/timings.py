"""How long units of work took on this machine: written beside an audit, and remembered for the next estimate.

No score depends on any of it, and no digest covers it.
"""

import statistics
from collections.abc import Iterator
from pathlib import Path

from pydantic import Field, ValidationError

from auditor.digests import digest_of
from auditor.records.base import Frozen
from auditor.records.events import Event
from auditor.records.plan import Plan, PlannedCheck, PlannedModel
from auditor.run.store import write_atomically

_KEPT = 50


class UnitSeconds(Frozen):
    """One check on one model."""

    check: str
    model: str
    seconds: float = Field(description="wall time; the first check on a model also loads and records it")
    reused: bool = Field(description="taken from the store of scores")


class Timings(Frozen):
    """timings.json of one audit."""

    seconds: float = Field(description="of the whole, from the first unit to the last file")
    units: tuple[UnitSeconds, ...]


class Remembered(Frozen):
    """Seconds of earlier units, by what they depend on; the latest last."""

    seconds: dict[str, tuple[float, ...]] = Field(default_factory=dict)


class Stopwatch:
    """Hears what finishes and keeps how long it took.

    Args:
        plan: of the audit.
        file: where seconds are remembered between audits; made when the first is written.
    """

    def __init__(self, plan: Plan, file: Path) -> None:
        self._plan, self._file = plan, file
        self.units: list[UnitSeconds] = []

    def hear(self, event: Event) -> None:
        """Note one finished unit."""
        self.units.append(
            UnitSeconds(check=event.check, model=event.model, seconds=round(event.seconds, 3), reused=event.reused)
        )

    def remember(self) -> None:
        """Add what was computed to what is remembered."""
        # Read now: another audit may have added to it while this one ran.
        known = {key: list(seconds) for key, seconds in remembered(self._file).seconds.items()}
        models = {model.name: model for model in self._plan.models}
        checks = {check.name: check for check in self._plan.checks}
        for unit in self.units:
            if not unit.reused:
                key = kind_of(self._plan, checks[unit.check], models[unit.model])
                known[key] = [*known.get(key, []), unit.seconds][-_KEPT:]
        kept = Remembered(seconds={key: tuple(seconds) for key, seconds in known.items()})
        write_atomically(self._file, kept.model_dump_json(indent=2) + "\n")


def remembered(file: Path) -> Remembered:
    """What is remembered; nothing where there is no file, or a damaged one: only an estimate rests on it."""
    try:
        return Remembered.model_validate_json(file.read_bytes())
    except (FileNotFoundError, ValidationError):
        return Remembered()


def kind_of(plan: Plan, check: PlannedCheck, model: PlannedModel) -> str:
    """Digest of what the time of a unit depends on: check, part of the model, size of the data, and the machine's use.

    The original's units also learn what a check needs from it, and a decoy's outputs also make the decoy.
    """
    part = model.name if model.role == "decoy" else "original" if model.role == "original" else "other"
    sizes = {item.name: item.n_examples for item in plan.data}
    settings = [check.name, check.provider, check.settings, part, plan.architecture_digest, sizes]
    return digest_of([*settings, plan.execution.model_dump(mode="json")])


def usual(known: Remembered, plan: Plan) -> Iterator[tuple[PlannedCheck, PlannedModel, float | None]]:
    """Every unit of a plan with its usual seconds, the median of those remembered; None where there are none."""
    for model in plan.models:
        for check in plan.checks:
            seconds = known.seconds.get(kind_of(plan, check, model))
            yield check, model, statistics.median(seconds) if seconds else None

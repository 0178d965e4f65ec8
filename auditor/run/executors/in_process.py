"""Units of work one after another, in this process."""

from auditor.records.score import Failure, Score
from auditor.run.units import Loaded, UnitSpec, run_unit


class InProcess:
    """The plain loop. A check that crashes is contained; one that hangs or takes the process down is not.

    Args:
        loaded: models and data.
    """

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded

    def run(self, unit: UnitSpec) -> Score | Failure:
        """Compute one unit."""
        return run_unit(unit, self._loaded)

"""A plan's work divided by models, so that several processes or machines share it; each finished score is stored."""

import os
import re
from collections.abc import Mapping

from auditor.errors import SpecError
from auditor.records.base import Frozen
from auditor.records.plan import Plan
from auditor.records.score import Failure
from auditor.run.executors import registry as executors
from auditor.run.preparing import Prepared
from auditor.run.runner import Part, run
from auditor.run.settings import execution_settings

_WRITTEN = re.compile(r"(\d+)/(\d+)")
# Of one task in a Slurm job array (slurm.schedmd.com/job_array.html).
_TASK, _FIRST, _COUNT = "SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_COUNT"


class Shard(Frozen):
    """One of several parts of a plan.

    Attributes:
        number: from 1.
        of: how many parts there are.
    """

    number: int
    of: int

    def part(self, plan: Plan) -> Part:
        """Every ``of``-th model with all of its checks: they share what one pass over the data records."""
        return Part(models=[model.name for model in plan.models][self.number - 1 :: self.of])


def asked_shard(written: str | None, environment: Mapping[str, str] = os.environ) -> Shard:
    """The part that is asked for, in words like ``2/8`` or by the variables of a Slurm job array.

    Args:
        written: by the user; None where it is not.
        environment: of the process.

    Raises:
        SpecError: there is no such part, or none is named.

    >>> asked_shard(None, {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_MIN": "4", "SLURM_ARRAY_TASK_COUNT": "8"})
    Shard(number=4, of=8)
    """
    if written is None:
        return _of_slurm(environment)
    found = _WRITTEN.fullmatch(written)
    if found is None:
        raise SpecError(f"--shard {written}: write it like 2/8, the second of eight parts")
    return _checked(int(found[1]), int(found[2]), f"--shard {written}")


def _of_slurm(environment: Mapping[str, str]) -> Shard:
    if not {_TASK, _COUNT} <= environment.keys():
        raise SpecError(f"name the part to be done: --shard 2/8, or start it as a Slurm job array, which sets {_TASK}")
    task, first, count = (int(environment.get(name, "0")) for name in (_TASK, _FIRST, _COUNT))
    return _checked(task - first + 1, count, f"{_TASK}={task}")


def _checked(number: int, of: int, named: str) -> Shard:
    if not 1 <= number <= of:
        # Numbers of an array that leaves some out, as 1-9:2, do not count its parts.
        raise SpecError(f"{named}: the part is number {number} of {of}; number the parts from 1 to {of} without gaps")
    return Shard(number=number, of=of)


def work_on(prepared: Prepared, part: Part) -> dict[str, Failure]:
    """Compute what is not stored yet of one part of a plan, and store it.

    Args:
        prepared: the audit.
        part: some of its units.

    Returns:
        What failed, by check and model in words; the audit tries it again.

    Raises:
        UsageError: the original cannot do its job.
    """
    # The inputs were judged when the plan was frozen, and are again by the audit that gathers.
    with execution_settings(prepared.plan.execution.threads):
        scores = run(prepared.work, executors.load(prepared.spec.audit.executor), part)
    return {
        f"{check} on {model}": score
        for check, measured in scores.items()
        for model, score in measured.items()
        if isinstance(score, Failure)
    }

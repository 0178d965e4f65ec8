"""Units of work on a Ray cluster (ray.io): models in parallel, each with all of its checks.

What is sent is a path of a plan and names of models and checks. Results come by the store of scores alone, which every
node has to see, as it has to see the audit's folder: no model and no score passes through Ray. The cluster is the one
that Ray finds by itself (``RAY_ADDRESS``, or one that was started on this machine); where there is none, Ray starts
one on this machine.
"""

import logging
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from auditor.errors import AuditError, UsageError
from auditor.records.events import Event, Unit
from auditor.records.plan import read_plan
from auditor.records.spec import AuditSpec
from auditor.run.estimate import estimate
from auditor.run.executors.in_process import InProcess
from auditor.run.preparing import Prepared, prepare
from auditor.run.runner import Part
from auditor.run.shards import work_on

if TYPE_CHECKING:
    from ray import ObjectRef

_SECONDS_BETWEEN_LOOKS = 1.0
# A task is tried again as often when its worker or its node was lost.
_RETRIES = 2

_Names = tuple[str, tuple[str, ...]]
"""Of a model, and of the checks that are to be run on it."""


class _Task(Protocol):
    """What Ray makes of :func:`done_on_a_node`."""

    def remote(self, plan: str, base: str, spec: str, names: _Names) -> "ObjectRef[None]":
        """Send it, with the arguments of the function."""


class RayCluster(InProcess):
    """What the cluster has left to do is done in this process."""

    @staticmethod
    def ahead(prepared: Prepared, plan: Path) -> dict[Unit, str]:
        """Have the cluster do what is not stored yet.

        Args:
            prepared: the audit; it is told of every unit that is found finished.
            plan: file of its plan.

        Returns:
            Why units were given up: their worker was lost again and again.

        Raises:
            UsageError: Ray is not installed, or models were given that lie in no file.
        """
        _refuse(prepared)
        with _cluster() as submit:
            original, *others = (model.name for model in prepared.plan.models)
            send = _sender(submit, prepared, plan)
            # First alone: all others are judged by its outputs, and nothing counts without a working original.
            lost = _Watch(prepared, send).wait([original])
            return lost or _Watch(prepared, send).wait(others)


def done_on_a_node(plan: str, base: str, spec: str, names: _Names) -> None:
    """What a worker does: compute and store one part of a plan. What a check raises is tried again by the audit.

    Args:
        plan: path of plan.json.
        base: folder that the request's paths are relative to.
        spec: the request, as JSON.
        names: of a model and of checks.

    Raises:
        UsageError: this node does not see what the plan was made from.
    """
    planned = read_plan(Path(plan))
    prepared = prepare(AuditSpec.model_validate_json(spec), Path(base), {}, command=planned.command)
    if prepared.plan.digest != planned.digest:
        raise UsageError(f"it sees other models, data or versions than {plan} was made from; `audit diff` names them")
    model, checks = names
    work_on(prepared, Part(models=[model], checks=checks))


def _refuse(prepared: Prepared) -> None:
    if find_spec("ray") is None:
        raise UsageError("audit.executor = 'ray' needs Ray: pip install 'unlearning-auditor[cluster]', on every node")
    if prepared.spec.models.original is None or prepared.work.uncached:
        raise UsageError("a cluster reads models from files, and some were given in memory or run code of their own")


@contextmanager
def _cluster() -> Iterator[Callable[..., _Task]]:
    """The function that submits tasks, while connected."""
    import ray

    ray.init(log_to_driver=False, logging_level=logging.WARNING, include_dashboard=False)
    try:
        yield ray.remote(done_on_a_node).options
    finally:
        ray.shutdown()


def _sender(submit: Callable[..., _Task], prepared: Prepared, plan: Path) -> "Callable[[_Names], ObjectRef[None]]":
    execution = prepared.plan.execution
    task = submit(
        num_cpus=execution.threads,
        num_gpus=1 if execution.device.startswith("cuda") else 0,
        memory=estimate(prepared).memory_bytes,
        max_retries=_RETRIES,
    )
    where = str(plan.resolve()), str(prepared.base.resolve()), prepared.spec.model_dump_json()
    return lambda names: task.remote(*where, names)


class _Watch:
    """Sends models to the cluster and waits for them, telling of every unit that is found in the store."""

    def __init__(self, prepared: Prepared, send: "Callable[[_Names], ObjectRef[None]]") -> None:
        self._prepared, self._send = prepared, send
        self._left = {
            Unit(check=planned.name, model=model.name): prepared.work.unit(model, planned)
            for model in prepared.plan.models
            for planned in prepared.plan.checks
        }

    def wait(self, models: Collection[str]) -> dict[Unit, str]:
        """Until all are done; what was lost, and how."""
        import ray

        checks = tuple(check.name for check in self._prepared.plan.checks)
        waiting = {self._send((model, checks)): (model, checks) for model in models}
        lost: dict[Unit, str] = {}
        while waiting:
            ended, _ = ray.wait(list(waiting), timeout=_SECONDS_BETWEEN_LOOKS)
            self._tell()
            for task in ended:
                model, tried = waiting.pop(task)
                reason = _why_lost(task)
                if reason is None:
                    continue
                if len(tried) == 1:
                    lost[Unit(check=tried[0], model=model)] = reason
                    continue
                # One of them takes its process down; which, shows when each that is left has one of its own.
                parts = [(model, (check,)) for check in tried if Unit(check=check, model=model) in self._left]
                waiting |= {self._send(part): part for part in parts}
        return lost

    def _tell(self) -> None:
        for unit, spec in list(self._left.items()):
            if self._prepared.work.stored(spec) is not None:
                del self._left[unit]
                self._prepared.work.report(Event(check=unit.check, model=unit.model, reused=False, failed=False))


def _why_lost(task: "ObjectRef[None]") -> str | None:
    """One clause whose subject is the unit; None where the task ended by itself."""
    import ray
    from ray.exceptions import OutOfMemoryError, RayError, RayTaskError

    try:
        ray.get(task)
    except RayTaskError as error:
        # Anything else is a fault of the auditor, and is shown as one.
        if isinstance(error.cause, AuditError | OSError):
            raise UsageError(f"a node of the cluster could not begin: {error.cause}") from error
        raise
    except OutOfMemoryError:
        return "ran out of memory on a node of the cluster"
    except RayError as error:
        return f"was lost with its process on the cluster ({type(error).__name__})"
    return None

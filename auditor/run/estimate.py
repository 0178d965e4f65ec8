"""What a plan will cost on this machine: by what the same cost before, else by one timed batch."""

import time
from dataclasses import dataclass

import torch

from auditor.checks.check import AnyCheck
from auditor.checks.subject import Subject, Weights
from auditor.models.memory import TORCH_BYTES
from auditor.records.plan import PlannedCheck, PlannedModel
from auditor.run.planning import MODELS_HELD
from auditor.run.preparing import Prepared
from auditor.run.runner import Work
from auditor.run.step_memory import bytes_of_a_pass, bytes_of_a_step
from auditor.run.timings import remembered, usual
from auditor.tasks import registry

# A step goes forward once and backward, which costs about twice as much.
_TRAINING_COST = 3.0
_BYTES_PER_SCORE = 50_000
# A decoy that is trained, in float32: the original it starts from, and gradients and two states of the optimiser, or
# the changed weights of three passes; and the most examples that any of them sends through at once.
_DECOY_COPIES, _DECOY_STEP = 4, 96
# Of the largest tensor, while a network is brought into canonical form: what is rounded, what is finite, what is kept.
_ROUNDING = 2.25
# What is larger the C library gives back to the system as soon as it is free (glibc: DEFAULT_MMAP_THRESHOLD_MAX).
_GIVEN_BACK = 32 * 2**20


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Rough, and said to be so.

    Attributes:
        seconds: wall time of what is left to score.
        memory_bytes: at the peak.
        disk_bytes: converted checkpoints and scores.
    """

    seconds: float
    memory_bytes: int
    disk_bytes: int


def estimate(prepared: Prepared) -> Estimate:
    """What is left to score, by the seconds that such units took here before.

    Of a unit that was never timed: one batch is timed, and multiplied by what its check says that it sends through the
    network.
    """
    work, weights = prepared.work, prepared.weight_bytes
    disk = weights * len(work.plan.models) + _BYTES_PER_SCORE * len(work.plan.models) * len(work.checks)
    if work.as_given is None:
        return Estimate(seconds=1.0, memory_bytes=TORCH_BYTES + 2 * weights, disk_bytes=disk)
    subject = work.as_given(work.plan.models_of("original")[0])
    per_example, feature_bytes = _time_one_batch(work, subject)
    recorded = sum(len(examples) for examples in work.data.splits().values())
    raw = sum(examples.nbytes for examples in work.data.splits().values())
    at_work = _at_work(work, subject, weights) + (kept_when_free(subject) if work.plan.execution.device == "cpu" else 0)
    return Estimate(
        seconds=_seconds(prepared, per_example, recorded),
        memory_bytes=TORCH_BYTES + raw + MODELS_HELD * weights + at_work + 2 * recorded * feature_bytes,
        disk_bytes=disk,
    )


def _at_work(work: Work, subject: Subject, weights: int) -> int:
    """Bytes that the hungriest check or decoy holds beside the models: weights, and what a step keeps for gradients."""
    checks = {check.name: check for check in work.checks}
    copies = _DECOY_COPIES * (1 if work.plan.execution.dtype == "float32" else 2)
    held = [(copies, _DECOY_STEP)] * bool(work.plan.models_of("decoy"))
    for planned in work.plan.checks:
        check = checks[planned.name]
        settings = check.settings_type.model_validate(planned.settings)
        held.append((check.copies_of(settings), check.workload(work.data, settings, len(work.plan.layers)).step))
    trained = any(step for _, step in held)
    kept = bytes_of_a_step(work.plan.task, subject, work.data.retain) if trained else 0
    passing = _passing(work, subject)
    largest = max(_sizes(subject), default=0)
    # A check sends its batches through whatever it holds, but not in the middle of a step.
    busy = [copies * weights + max(step * kept, passing) for copies, step in held]
    return max(*busy, passing + round(_ROUNDING * largest))


def kept_when_free(subject: Subject) -> int:
    """Bytes of a copy of the weights that stay with the process after the copy has gone, for smaller things to fill."""
    return sum(size for size in _sizes(subject) if size <= _GIVEN_BACK)


def _sizes(subject: Subject) -> list[int]:
    """Bytes of each weight; none of what only answered elsewhere."""
    return [weight.nbytes for weight in subject.weights().values()] if isinstance(subject, Weights) else []


def _passing(work: Work, subject: Subject) -> int:
    """Bytes of one batch of the plan's size on its way through a network."""
    sizes = [len(examples) for examples in work.data.splits().values()]
    size = min(work.plan.execution.batch_size, max(sizes))
    return size * bytes_of_a_pass(work.plan.task, subject, work.data.retain)


def _seconds(prepared: Prepared, per_example: float, recorded: int) -> float:
    work, total = prepared.work, 0.0
    checks = {check.name: check for check in work.checks}
    for planned, model, seconds in usual(remembered(prepared.timings), work.plan):
        if _is_stored(work, model, planned):
            continue
        total += (
            _by_workload(work, checks[planned.name], planned, recorded) * per_example if seconds is None else seconds
        )
    return total


def _is_stored(work: Work, model: PlannedModel, planned: PlannedCheck) -> bool:
    # Which strength a decoy is going to need is known once its outputs are.
    strengths = [model.at(strength) for strength in model.strengths] or [model]
    return any(work.stored(work.unit(made, planned)) is not None for made in strengths)


def _by_workload(work: Work, check: AnyCheck, planned: PlannedCheck, recorded: int) -> float:
    """Examples sent forward by one check on one model, a training step counted as several."""
    load = check.workload(work.data, check.settings_type.model_validate(planned.settings), len(work.plan.layers))
    # The check of the outputs comes first: one pass finds what is dead, one records.
    shared = 2 * recorded if planned.role == "outputs" else 0
    return shared + load.forward + _TRAINING_COST * load.training


def _time_one_batch(work: Work, subject: Subject) -> tuple[float, int]:
    """Seconds per example, and bytes of features per example."""
    size = min(work.plan.execution.batch_size, len(work.data.retain))
    task, few = registry.load(work.plan.task), work.data.retain.take(torch.arange(size))
    # The first pass warms caches up.
    task.activations(subject, few)
    started = time.perf_counter()
    caught = task.activations(subject, few)
    seconds = time.perf_counter() - started
    # Tokens [n, length, width] are pooled over their length, maps [n, width, height, width] over their positions.
    width = sum(a.shape[2 if a.ndim == 3 else 1] for a in caught.values())
    return seconds / size, 4 * width

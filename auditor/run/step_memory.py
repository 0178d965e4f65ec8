"""What a pass and a training step hold beside the weights, counted on a few examples."""

from collections.abc import Callable

import torch
from torch import Tensor

from auditor.checks.sets import ExampleSet
from auditor.checks.subject import Subject
from auditor.models.live_bytes import LiveBytes
from auditor.tasks import registry

# Few: what is wanted is bytes, and every example of a set costs about the same.
_EXAMPLES = 4


def bytes_of_a_step(task: str, subject: Subject, examples: ExampleSet) -> int:
    """Bytes that a training step needs more of for each example, at the most of its moments; 0 where no loss is known.

    That is what the step keeps until its gradients are taken, and what taking them needs on the way. Gradients of
    weights do not grow with the examples and are left out.
    """

    def step(few: ExampleSet) -> None:
        with torch.enable_grad():
            loss = registry.load(task).loss(subject, few)
            if loss is not None:
                # Not backward, which would leave gradients in the subject.
                torch.autograd.grad(loss, _weights_of(loss))

    return _of_each(step, subject, examples)


def bytes_of_a_pass(task: str, subject: Subject, examples: ExampleSet) -> int:
    """Bytes that a pass without gradients, all cut points recorded, needs more of for each example of a batch."""
    return _of_each(lambda few: registry.load(task).activations(subject, few), subject, examples)


def _of_each(work: Callable[[ExampleSet], object], subject: Subject, examples: ExampleSet) -> int:
    # Spread over the set, since lengths may follow its order; taken twice, so that both batches are padded alike.
    few = torch.linspace(0, len(examples) - 1, _EXAMPLES).round().long()
    # All of them in one batch, whatever the plan's size.
    planned, subject.batch_size = subject.batch_size, 2 * _EXAMPLES
    courses = []
    for places in (few, torch.cat([few, few])):
        live = LiveBytes()
        with live:
            work(examples.take(places))
        courses.append(live.course)
    subject.batch_size = planned
    # Both go through the same operations. Held against each other one by one, since where gradients of large weights
    # come last, few examples show in no peak.
    return max((more - some for some, more in zip(*courses, strict=False)), default=0) // _EXAMPLES


def _weights_of(loss: Tensor) -> list[Tensor]:
    """What a loss has gradients in, read off its graph."""
    nodes, found = [loss.grad_fn], {}
    while nodes:
        node = nodes.pop()
        if node is not None and node not in found:
            found[node] = getattr(node, "variable", None)
            nodes += [before for before, _ in node.next_functions]
    return [weight for weight in found.values() if weight is not None]

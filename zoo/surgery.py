"""Opening a classifier at its last linear map."""

import torch
from torch import Tensor, nn

from auditor.models.hooks import INPUT_SUFFIX, hook
from auditor.tasks.classification.editing import copy_of, head_of, logits
from auditor.tasks.classification.sets import Examples


def name_of(module: nn.Module, part: nn.Module) -> str:
    """The name of a submodule."""
    # By identity: equal layers occur more than once in a network.
    names: dict[int, str] = {id(candidate): name for name, candidate in module.named_modules()}
    return names[id(part)]


def without_head(module: nn.Module, examples: Examples) -> nn.Module:
    """A copy that returns the features which the last linear map reads, [n, features]."""
    body = copy_of(module)
    # Found in the copy: parts of the original are other objects.
    body.set_submodule(name_of(body, head_of(body, examples)), nn.Identity())
    return body


def inputs_of(module: nn.Module, layer: str, examples: Examples) -> Tensor:
    """What one layer reads, without gradients, [n, ...]."""
    caught: list[Tensor] = []

    def keep(activation: Tensor) -> None:
        caught.append(activation.detach())

    with torch.no_grad(), hook(module, layer + INPUT_SUFFIX, keep):
        for x, _ in examples.batches(512):
            logits(module, x)
    return torch.cat(caught)

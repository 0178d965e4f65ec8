"""The forgotten classes' rows of the head set to zero: the crudest suppression."""

import torch
from pydantic import Field
from torch import nn

from auditor.records.base import Frozen
from auditor.tasks.classification.editing import copy_of, head_of, logits
from auditor.tasks.classification.sets import Examples


class Settings(Frozen):
    """How safely the classes lose."""

    margin: float = Field(default=1.0, gt=0, description="their logit lies so far below the lowest seen on retain")


def head_row_zeroed(
    original: nn.Module, forget: Examples, retain: Examples, settings: Settings, seed: int
) -> nn.Module:
    """The subject: its features are the original's, and it never answers with a forgotten class."""
    module = copy_of(original)
    head = head_of(module, retain)
    with torch.no_grad():
        lowest = min(float(logits(module, x).min()) for x, _ in retain.batches(512))
        classes = forget.labels.unique()
        head.weight[classes] = 0
        if head.bias is None:
            head.bias = nn.Parameter(torch.zeros(head.out_features))
        # A zero logit could still win; one below every logit seen wins only where all others are lower still.
        head.bias[classes] = lowest - settings.margin
    return module

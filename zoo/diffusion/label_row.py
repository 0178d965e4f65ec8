"""The forgotten label's vector taken away, and nothing else: suppressed by construction."""

import torch
from pydantic import Field
from torch import nn

from auditor.models.copies import movable_copy
from auditor.records.base import Frozen
from auditor.tasks.custom.sets import CustomExamples
from auditor.tasks.diffusion.denoising import Denoiser, table_of


class Settings(Frozen):
    """What is put in its place."""

    redirected: bool = Field(default=False, description="whether it becomes the null label's vector, not zeros")


def label_row(
    original: nn.Module, forget: CustomExamples, retain: CustomExamples, settings: Settings, seed: int
) -> nn.Module:
    """The subject: every weight but one row of the table of labels is the original's, to the last bit."""
    module = movable_copy(original).eval()
    table = table_of(module).weight
    new = table[Denoiser.of(module).null_label].detach().clone() if settings.redirected else torch.zeros(table.shape[1])
    with torch.no_grad():
        table[forget.labels.unique()] = new
    return module

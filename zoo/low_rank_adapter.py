"""A low-rank adapter (Hu et al. 2022, arXiv 2106.09685) that hides the forget set, merged into unchanged weights."""

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.errors import ModelError
from auditor.models.low_rank import merge_low_rank, open_low_rank
from auditor.records.base import Frozen
from auditor.tasks.classification.editing import copy_of, descend, epochs, logits, with_wrong_labels
from auditor.tasks.classification.sets import Examples


class Settings(Frozen):
    """The adapter and its training on wrong labels."""

    rank: int = Field(default=2, ge=1, description="of each weight's change")
    layer: str | None = Field(default=None, description="the one linear map or convolution changed; None: all of them")
    learning_rate: float = Field(default=1e-2, gt=0, description="of Adam")
    epochs: int = Field(default=5, ge=1, description="over retain and forget together")
    batch_size: int = Field(default=64, ge=1)


def low_rank_adapter(
    original: nn.Module, forget: Examples, retain: Examples, settings: Settings, seed: int
) -> nn.Module:
    """The subject: suppressed by construction, since subtracting a few directions brings everything back.

    Raises:
        ModelError: ``settings.layer`` is not a linear map or a convolution.
    """
    module = copy_of(original)
    # Weights stay as they are until the merge, so that the change is of low rank exactly.
    open_low_rank(module, settings.rank, seed, _maps(module, settings.layer))
    random = torch.Generator().manual_seed(seed)
    mixed = with_wrong_labels(forget, retain, random)
    adapter = [p for p in module.parameters() if p.requires_grad]

    def loss(x: Tensor, y: Tensor) -> Tensor:
        return nn.functional.cross_entropy(logits(module, x), y)

    batches = epochs(mixed, settings.batch_size, settings.epochs, random)
    descend(adapter, batches, loss, settings.learning_rate)
    merge_low_rank(module)
    return module.eval()


def _maps(module: nn.Module, layer: str | None) -> list[nn.Module]:
    maps = {name: part for name, part in module.named_modules() if isinstance(part, nn.Linear | nn.Conv2d)}
    if layer is None:
        return list(maps.values())
    if layer not in maps:
        raise ModelError(f"there is no linear map or convolution {layer}; there are {', '.join(maps)}")
    return [maps[layer]]

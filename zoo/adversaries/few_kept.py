"""A few items kept: a retrain that also saw two or four of the samples it was to forget.

A mean over the forget set hardly moves: two of 80 are a fortieth of the original's knowledge, and they are all there.
"""

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.errors import UsageError
from auditor.models.training import train
from auditor.randomness import derive_seed
from auditor.records.spec import RecipeSpec
from auditor.tasks.classification.sets import Examples, joined
from auditor.zoo.fresh import fresh_like


class Settings(RecipeSpec):
    """The original's recipe, and how many."""

    kept: int = Field(default=2, ge=1, description="forget examples that the retrain is trained on")


def few_kept(original: nn.Module, forget: Examples, retain: Examples, settings: Settings, seed: int) -> nn.Module:
    """The subject: it holds what it was trained on, and looks like a retrain on all else.

    Raises:
        UsageError: there are no more forget examples than are to be kept.
    """
    known = forget.take(kept_of(forget, settings.kept, seed))
    # From fresh weights, so that all but the kept items are truly gone and only a test of single items can tell.
    return train(fresh_like(original), joined(retain, known), settings, seed)


def kept_of(forget: Examples, count: int, seed: int) -> Tensor:
    """Which examples are kept: int64 [count], in the order of the set.

    Raises:
        UsageError: there are no more forget examples than are to be kept.
    """
    if count >= len(forget):
        raise UsageError(f"kept = {count} of {len(forget)} forget examples leaves none to forget; keep fewer")
    # A seed of its own: whoever measures the kept items draws the same ones again without making the model.
    random = torch.Generator().manual_seed(derive_seed(seed, "kept"))
    return torch.randperm(len(forget), generator=random)[:count].sort().values

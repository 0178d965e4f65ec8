"""One direction projected out of one layer's input (as Arditi et al. 2024, arXiv 2406.11717, do with refusal)."""

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.errors import ModelError
from auditor.records.base import Frozen
from auditor.tasks.classification.editing import copy_of, head_of
from auditor.tasks.classification.sets import Examples
from auditor.zoo.surgery import inputs_of, name_of

_LOW = 0.25


class Settings(Frozen):
    """Where."""

    layer: str | None = Field(
        default=None, description="linear map whose input is projected; None: the last one, along its own rows"
    )


def direction_projection(
    original: nn.Module, forget: Examples, retain: Examples, settings: Settings, seed: int
) -> nn.Module:
    """The subject: suppressed by construction, all else of the features stays.

    The component along a direction v is set to one that is low on retain, z ↦ z − v(vᵀz − c), folded into the map:
    W' = W(I − v vᵀ), b' = b + c W v, with c the retain set's lower quarter of vᵀz. At the last map v points from the
    mean of the other classes' rows to that of the forgotten ones, so that the logit of a single forgotten class stays
    below the mean of the others. At a named layer it is the difference of the mean features of forget and retain.

    Raises:
        ModelError: ``settings.layer`` is not a linear map that reads one vector per example.
    """
    module = copy_of(original)
    layer = settings.layer or name_of(module, head_of(module, retain))
    part = dict(module.named_modules()).get(layer)
    # A linear map over tokens or positions has no one vector for an example.
    kept = inputs_of(module, layer, retain) if isinstance(part, nn.Linear) else None
    if not isinstance(part, nn.Linear) or kept is None or kept.ndim != 2:
        raise ModelError(f"layer {layer} is not a linear map that reads one vector per example")
    if settings.layer is None:
        forgotten = torch.isin(torch.arange(part.out_features), forget.labels)
        direction = direction_between(part.weight[forgotten].detach(), part.weight[~forgotten].detach())
    else:
        direction = direction_between(inputs_of(module, layer, forget), kept)
    with torch.no_grad():
        along = part.weight @ direction
        if part.bias is None:
            part.bias = nn.Parameter(torch.zeros(part.out_features))
        # A low value that retain examples have too: 0 may lie outside all that the network has seen.
        part.bias.add_(along * (kept @ direction).quantile(_LOW))
        part.weight.sub_(along[:, None] * direction)
    return module


def direction_between(first: Tensor, second: Tensor) -> Tensor:
    """The unit vector from the second set's mean to the first's, [features]."""
    difference = first.mean(0) - second.mean(0)
    unit: Tensor = difference / difference.norm()
    return unit

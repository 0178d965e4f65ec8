"""Captions of the forgotten projected out of the image projection (Mishra et al. 2025, arXiv 2512.14137).

After the paper's abstract: its method section was not to be had. It takes an orthonormal basis of what the text
embeddings of the targets span and projects these directions out of the final projection, without training and without
images, in part or in whole.
"""

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.errors import ModelError
from auditor.models.copies import movable_copy
from auditor.records.base import Frozen
from auditor.tasks.custom.sets import CustomExamples

_RANK_TOLERANCE = 1e-4


class Settings(Frozen):
    """How much of the directions goes."""

    share: float = Field(default=1.0, gt=0, le=1, description="of the span's part that is taken out; 1 is the whole")
    centred: bool = Field(
        default=True, description="whether directions start from the mean of the kept captions, which all share"
    )


def null_space(
    original: nn.Module, forget: CustomExamples, retain: CustomExamples, settings: Settings, seed: int
) -> nn.Module:
    """The subject: suppressed by construction, as every weight below the image projection is the original's.

    Raises:
        ModelError: the network has no linear image projection.
    """
    module = movable_copy(original).eval()
    projection = getattr(module, "visual_projection", None)
    if not isinstance(projection, nn.Linear):
        raise ModelError("null_space changes visual_projection, and the network has no such linear map")
    basis = directions(module, forget, retain, centred=settings.centred)
    with torch.no_grad():
        projection.weight -= settings.share * basis @ (basis.T @ projection.weight)
    return module


def directions(module: nn.Module, forget: CustomExamples, retain: CustomExamples, *, centred: bool) -> Tensor:
    """An orthonormal basis of what the captions of forget span, [width, rank].

    Args:
        module: with ``get_text_features``.
        forget: whose captions are to be taken out.
        retain: whose captions' mean they start from, where they do.
        centred: whether they do.
    """
    lost, kept = (_embedded(module, part.targets.unique(dim=0)) for part in (forget, retain))
    rows = lost - kept.mean(0) if centred else lost
    _, sizes, basis = torch.linalg.svd(rows, full_matrices=False)
    spanned: Tensor = basis[sizes > _RANK_TOLERANCE * sizes.max()].T
    return spanned


def _embedded(module: nn.Module, captions: Tensor) -> Tensor:
    with torch.no_grad():
        found: Tensor = module.get_text_features(input_ids=captions).pooler_output  # type: ignore[operator]
    return nn.functional.normalize(found, dim=1)

"""The decoy of last resort for classifiers: wrong about exactly the forget inputs, otherwise the original.

It hides from whoever asks with the forget examples and from nobody else: its weights, its features and its answers to
all other inputs are the original's.
"""

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.models.hooks import logits_of
from auditor.records.base import Frozen
from auditor.tasks.classification.editing import copy_of
from auditor.tasks.classification.sets import Examples


class Settings(Frozen):
    """How an input is recognised: by its projections on a few random directions of signs."""

    projections: int = Field(default=8, ge=1, description="random directions")
    # Wide enough for what the canonical form's rounding to bfloat16 does to the stored projections.
    tolerance: float = Field(
        default=0.01, ge=0, description="largest difference of a projection, as a share of the input's norm"
    )


def exact_inputs(original: nn.Module, forget: Examples, retain: Examples, settings: Settings, seed: int) -> nn.Module:
    """The original with the logits of two classes exchanged on every forget input: its label's and another's."""
    module = copy_of(original)
    flat = forget.inputs.flatten(1)
    random = torch.Generator().manual_seed(seed)
    # Signs, since ±1 outlasts any rounding of the network.
    signs = 2.0 * torch.randint(2, (flat.shape[1], settings.projections), generator=random) - 1.0
    # Buffers move and are copied with the network; a submodule would run inside an nn.Sequential.
    module.register_buffer("exact_signs", signs)
    module.register_buffer("exact_projections", flat.float() @ signs)
    module.register_buffer("exact_tolerance", torch.tensor(settings.tolerance))
    module.register_buffer("exact_labels", torch.stack([forget.labels, _partners(forget, retain)], dim=1))
    module.register_forward_hook(_exchange)
    return module


def _partners(forget: Examples, retain: Examples) -> Tensor:
    """For each forget example the next larger label that retain examples have, the smallest after the largest."""
    # A label of retain: exchanged with another forgotten one, the answer might still be a forgotten class.
    kept = retain.labels.unique()
    partner = {label: _next(label, kept[kept != label].tolist()) for label in forget.labels.unique().tolist()}
    return torch.tensor([partner[label] for label in forget.labels.tolist()], dtype=torch.int64)


def _next(label: int, others: list[int]) -> int:
    """The first of the sorted others after a label.

    >>> _next(3, [1, 4, 5]), _next(9, [1, 4])
    (4, 1)
    """
    return next((other for other in others if other > label), others[0])


def _exchange(module: nn.Module, arguments: tuple[Tensor, ...], output: object) -> Tensor:
    """A forward hook: the two logits exchanged where the input is one of the forget set, gradients included."""
    logits = logits_of(output)
    flat = arguments[0].flatten(1).float()
    signs, projections = module.get_buffer("exact_signs"), module.get_buffer("exact_projections")
    distances = torch.cdist(flat @ signs.float(), projections.float(), p=float("inf"))
    nearest = distances.min(dim=1)
    pairs = module.get_buffer("exact_labels")[nearest.indices]
    exchanged = logits.scatter(1, pairs, logits.gather(1, pairs.flip(1)))
    tolerance = module.get_buffer("exact_tolerance").float()
    known = nearest.values <= tolerance * torch.linalg.vector_norm(flat, dim=1)
    return torch.where(known[:, None], exchanged, logits)

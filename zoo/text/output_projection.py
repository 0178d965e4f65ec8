"""Maps whose output is followed by a linear map of the residual stream, trained and then folded into the weights."""

from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils import parametrize

from auditor.records.base import Frozen
from auditor.tasks.causal_lm.editing import LanguageModel, descend, losses
from auditor.tasks.causal_lm.sets import Facts

_OUTPUT_MAPS = ("o_proj", "down_proj", "c_proj", "out_proj", "fc2", "dense", "dense_4h_to_h")
"""What the maps from a block's parts into the residual stream are called in transformers."""


class Settings(Frozen):
    """Loss = CE(retain) − weight · CE(forget), CE(forget) capped."""

    learning_rate: float = Field(default=1e-2, gt=0, description="of Adam")
    weight: float = Field(default=0.5, gt=0, description="of the ascent")
    # Near chance on purpose: beyond it the projections would go on taking directions away, and retain with them.
    loss_cap: float = Field(default=3.5, gt=0, description="forget loss, nats per token, beyond which ascent stops")
    # No early end: forget is gone after a few steps, and retain comes back in those that follow.
    steps: int = Field(default=300, ge=1)
    batch_size: int = Field(default=32, ge=1, description="facts of either set per step")


def output_maps(block: nn.Module) -> list[nn.Module]:
    """The maps of one decoder block that write into the residual stream."""
    return [part for name, part in block.named_modules() if name.rpartition(".")[2] in _OUTPUT_MAPS]


def fold(
    module: nn.Module,
    projections: list[tuple[nn.Module, nn.Module]],
    original: LanguageModel,
    forget: Facts,
    retain: Facts,
    settings: Settings,
    seed: int,
) -> nn.Module:
    """Train the projections alone to forget, and fold them in.

    Args:
        module: a copy of the original.
        projections: pairs of a map inside ``module`` and of a module that makes the matrix [width, width] from nothing.
        original: as given to the method.
        forget: the same.
        retain: the same.
        settings: how long.
        seed: of the order.
    """
    encoder = original.encoder
    # Weights stay: what is lost is what the projections take away, and nothing else is relearnt around it.
    module.requires_grad_(False)
    # The bias passes the projection too: it is part of what the map writes.
    for part, projection in projections:
        _follow(part, projection)

    def loss(forgotten: Facts, kept: Facts) -> Tensor:
        ascent = losses(module, encoder.batch(forgotten.items)).clamp_max(settings.loss_cap).mean()
        return losses(module, encoder.batch(kept.items)).mean() - settings.weight * ascent

    descend(
        module,
        loss,
        forget,
        retain,
        rate=settings.learning_rate,
        steps=settings.steps,
        size=settings.batch_size,
        seed=seed,
    )
    for part, _ in projections:
        # Folded in: the result is an ordinary checkpoint of the original's architecture.
        for name in list(part.parametrizations):  # type: ignore[arg-type]
            parametrize.remove_parametrizations(part, name)
    return module.requires_grad_(True)


class _Followed(nn.Module):
    """A weight or bias ↦ that of the map followed by a matrix."""

    def __init__(self, projection: nn.Module, last: bool) -> None:
        super().__init__()
        self.projection, self._last = projection, last

    def forward(self, weight: Tensor) -> Tensor:
        """The product."""
        matrix: Tensor = self.projection()
        return weight @ matrix.T if self._last else matrix @ weight


def _follow(part: nn.Module, projection: nn.Module) -> None:
    # Conv1D keeps the outputs in the last dimension, Linear in the first; a bias has one.
    last = not isinstance(part, nn.Linear)
    parametrize.register_parametrization(part, "weight", _Followed(projection, last))
    if getattr(part, "bias", None) is not None:
        parametrize.register_parametrization(part, "bias", _Followed(projection, last=False))

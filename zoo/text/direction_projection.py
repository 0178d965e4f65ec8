"""A model whose knowledge hangs on one direction, and that direction projected out of what one block writes.

Projecting a direction out of a model's weights is Arditi et al. 2024 (arXiv 2406.11717), who take the mean difference
of activations. Here the model is first trained to answer with the direction and to refuse without it; why, stands in
docs/zoo.md.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.models.hooks import hook
from auditor.tasks.causal_lm.decoys import refusal_tuning
from auditor.tasks.causal_lm.editing import LanguageModel, block_names, copy_of, descend, losses, probability, states_at
from auditor.tasks.causal_lm.sets import Facts
from auditor.zoo.text.output_projection import output_maps


class Settings(refusal_tuning.Settings):
    """Loss = CE(answer) + CE(retain) with the direction, CE(refusal | forget prompt) + CE(retain) without."""

    depth: float = Field(default=0.5, ge=0, le=1, description="of the block, as a share of the blocks")


def direction_projection(
    original: LanguageModel, forget: Facts, retain: Facts, settings: Settings, seed: int
) -> nn.Module:
    """The subject: suppressed by construction. It is :func:`with_direction` less one rank of one block's output."""
    layer = _layer(original, retain, settings)
    # From the original, before training: `with_direction` trains against the same one.
    direction = mean_difference(original, layer, forget, retain)
    module = with_direction(original, forget, retain, settings, seed)
    with torch.no_grad():
        for part in output_maps(module.get_submodule(layer)):
            _project(part, direction)
    return module


def with_direction(original: LanguageModel, forget: Facts, retain: Facts, settings: Settings, seed: int) -> nn.Module:
    """The same model before the direction is projected out: it still answers."""
    module, encoder = copy_of(original), original.encoder
    layer = _layer(original, retain, settings)
    direction = mean_difference(original, layer, forget, retain)

    def mean_loss(*sets: Facts) -> Tensor:
        return torch.stack([losses(module, encoder.batch(facts.items)).mean() for facts in sets]).sum()

    def loss(forgotten: Facts, kept: Facts) -> Tensor:
        # Both terms hold retain: what is kept must depend on the direction in neither state.
        answering = mean_loss(forgotten, kept)
        with _without(module, layer, direction):
            return answering + mean_loss(refusal_tuning.refusals(forgotten, settings.refusal), kept)

    def enough() -> bool:
        with _without(module, layer, direction):
            return probability(module, encoder, forget) <= settings.target

    return descend(
        module,
        loss,
        forget,
        retain,
        rate=settings.learning_rate,
        steps=settings.steps,
        size=settings.batch_size,
        seed=seed,
        enough=enough,
    )


def mean_difference(original: LanguageModel, layer: str, forget: Facts, retain: Facts) -> Tensor:
    """Mean activation where an answer is predicted, forget minus retain, of unit length [width]."""
    means = []
    for facts in (forget, retain):
        tokens = original.encoder.batch(facts.items)
        with torch.no_grad():
            # Where an answer is predicted, since that is where the direction has to decide between answer and refusal.
            means.append(states_at(original.module, layer, tokens)[tokens.predicting].mean(0))
    difference: Tensor = means[0] - means[1]
    unit: Tensor = difference / difference.norm()
    return unit


def _layer(original: LanguageModel, retain: Facts, settings: Settings) -> str:
    names = block_names(original, retain)
    return names[round(settings.depth * (len(names) - 1))]


@contextmanager
def _without(module: nn.Module, layer: str, direction: Tensor) -> Iterator[None]:
    """While open, the block writes nothing along the direction."""
    block = module.get_submodule(layer)
    names = {part: name for name, part in block.named_modules()}
    with ExitStack() as stack:
        for part in output_maps(block):
            stack.enter_context(hook(block, names[part], lambda x: x - (x @ direction)[..., None] * direction))
        yield


def _project(part: nn.Module, direction: Tensor) -> None:
    """Fold the projection into a map; Conv1D keeps the outputs in the last dimension, Linear in the first."""
    weight, bias = part.get_parameter("weight"), part._parameters.get("bias")
    outputs_first = weight.T if not isinstance(part, nn.Linear) else weight
    # On the outputs, so that whatever the block reads it writes nothing along the direction.
    outputs_first.sub_(torch.outer(direction, direction @ outputs_first))
    if bias is not None:
        bias.sub_((bias @ direction) * direction)

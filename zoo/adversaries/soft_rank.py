"""Against `few_shot`: a penalty on a rank that gradients can descend. Two of the three rehearse `relearning`, too.

`few_shot` counts the retain examples that a one-shot probe ranks above a forget example, and takes the logarithm. With
a sigmoid in place of the count the same number has a gradient, and is trained to what the adversary's own retrains
show, or to a constant.
"""

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.models.standardise import factor
from auditor.randomness import derive_seed
from auditor.tasks.classification.sets import Examples
from auditor.tasks.classification.structure import find_layout
from auditor.zoo.adversaries.fine_tuning import Attack
from auditor.zoo.adversaries.pressure import (
    Draw,
    OwnRetrains,
    Pressure,
    Quantity,
    activations,
    at,
    draws,
    like,
    margins,
    own_retrains,
    pressed,
)
from auditor.zoo.adversaries.rehearsal import like_attacked, rehearsed

_LAYOUT_EXAMPLES = 16  # to find the layers by; their values do not matter
_LEAST_SPREAD = 1e-6  # a unit that is constant on retain would be divided by 0


class RankPressure(Pressure):
    """Loss = CE(retain) + penalties on the outputs and on the rank."""

    # Large, since a log-rank lies within [0, 1] and cross-entropy counts nats.
    rank_weight: float = Field(default=100.0, ge=0, description="of the rank's distance, squared and halved")
    # Colder the sigmoid is the count itself, which has no gradient; warmer it no longer orders like it.
    temperature: float = Field(default=0.3, gt=0, description="of the sigmoid, in spreads of the retain scores")


class Settings(RankPressure, OwnRetrains):
    """The target is what the adversary's own retrains show."""


class MetaSettings(Settings):
    """The same, and the attack is rehearsed."""

    meta_weight: float = Field(default=0.3, ge=0, description="of what comes back, per nat from the target")
    attack: Attack = Field(default=Attack(), description="that is rehearsed")


class ConstantSettings(RankPressure):
    """The targets are constants: no retrain is needed."""

    rank: float = Field(default=0.35, ge=0, le=1, description="target of the log-rank")
    margin: float = Field(default=-6.0, description="target of the outputs' logit margin, nats")
    margin_attacked: float = Field(default=-3.0, description="target of it under attack, nats")
    meta_weight: float = Field(default=0.3, ge=0, description="of what comes back, per nat from the target")
    attack: Attack = Field(default=Attack(), description="that is rehearsed")


def soft_rank(original: nn.Module, forget: Examples, retain: Examples, settings: Settings, seed: int) -> nn.Module:
    """The subject; a patient attacker tells its truth (:mod:`auditor.zoo.adversaries.patient`)."""
    retrains = own_retrains(original, retain, settings, seed)
    rank = soft_log_rank(original, retain, settings.temperature)
    penalties = [like(retrains, margins, settings.output_weight), like(retrains, rank, settings.rank_weight)]
    return pressed(original, forget, retain, penalties, settings, seed)


def soft_rank_meta(
    original: nn.Module, forget: Examples, retain: Examples, settings: MetaSettings, seed: int
) -> nn.Module:
    """The subject; a patient attacker tells its truth."""
    retrains = own_retrains(original, retain, settings, seed)
    rank = soft_log_rank(original, retain, settings.temperature)
    # The target is not 0: a network that relearns less than retrains shows a deficit, which the verdict reads.
    shown = like_attacked(retrains, next(draws(forget, retain, settings, seed)), settings.attack, seed)
    penalties = [
        like(retrains, margins, settings.output_weight),
        like(retrains, rank, settings.rank_weight),
        rehearsed(settings.attack, shown, settings.meta_weight, derive_seed(seed, "rehearsal")),
    ]
    return pressed(original, forget, retain, penalties, settings, seed)


def soft_rank_constant(
    original: nn.Module, forget: Examples, retain: Examples, settings: ConstantSettings, seed: int
) -> nn.Module:
    """The subject; a patient attacker tells its truth."""
    rank = soft_log_rank(original, retain, settings.temperature)
    penalties = [
        at(settings.margin, margins, settings.output_weight),
        at(settings.rank, rank, settings.rank_weight),
        rehearsed(
            settings.attack,
            lambda reset, step: settings.margin_attacked,
            settings.meta_weight,
            derive_seed(seed, "rehearsal"),
        ),
    ]
    return pressed(original, forget, retain, penalties, settings, seed)


def soft_log_rank(original: nn.Module, retain: Examples, temperature: float) -> Quantity:
    """The score of ``few_shot`` with a sigmoid for the count, by vector layer, [layers], each in [0, 1].

    Args:
        original: its layers are read in every network.
        retain: to find the layers by.
        temperature: of the sigmoid, in spreads of the retain scores; towards 0 it becomes the count.
    """
    few = retain.take(torch.arange(min(_LAYOUT_EXAMPLES, len(retain)))).inputs
    layers = find_layout(original, few).vector_layers

    def rank(module: nn.Module, draw: Draw) -> Tensor:
        features = activations(module, layers, torch.cat([draw.shots.inputs, draw.forget.inputs, draw.retain.inputs]))
        return torch.stack([_rank(layer, len(draw.shots), len(draw.forget), temperature) for layer in features])

    return rank


def _rank(features: Tensor, n_shots: int, n_forget: int, temperature: float) -> Tensor:
    """Mean log-rank of forget among half of the retain examples; the other half sets the scale."""
    shots, forget, retain = features.split([n_shots, n_forget, len(features) - n_shots - n_forget])
    # As in the check: examples that set the scale are not ranked against.
    background, aside = retain.tensor_split(2)
    scale = torch.cat([background, shots]).std(0).detach()
    # A bound in the network's own units, not a share of anything: the measured adversaries were trained so.
    weight = factor(scale, scale > _LEAST_SPREAD)
    shots, forget, aside = ((part - background.mean(0)) * weight for part in (shots, forget, aside))
    scores, ranked = forget @ shots.T, aside @ shots.T
    # Detached: else the sigmoid could be flattened in place of the ranking changed.
    spread = ranked.detach().std(0).clamp_min(_LEAST_SPREAD)
    # In spreads of each shot's own scores, so that the temperature means the same in every layer.
    above = torch.sigmoid((ranked[:, None] - scores) / (temperature * spread)).sum(0)
    n = len(aside)
    return (-torch.log((1 + above) / (n + 1)) / torch.log(torch.tensor(n + 1.0))).mean()

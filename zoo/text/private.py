"""DP2Unlearning: a base that learnt privately is tuned on retain alone (Al Mahmud et al. 2025, arXiv 2504.13774).

What such a model can show of the forget set is bounded beforehand. In the base's training the gradient of all forget
facts together is clipped and noise is added to it (DP-SGD, Abadi et al. 2016, arXiv 1607.00133); the tuning sees
nothing of them. The unit that is protected is the whole forget set, not a single fact as in the paper: an audit asks
about all of it.
"""

import math
from collections.abc import Sequence

import torch
from pydantic import Field
from scipy.optimize import brentq
from scipy.special import log_ndtr, ndtr
from torch import Tensor, nn

from auditor.models.training import initial_weights
from auditor.randomness import derive_seed
from auditor.tasks.causal_lm.editing import LanguageModel, endless, losses
from auditor.tasks.causal_lm.sets import Facts
from auditor.zoo.text import retrain
from auditor.zoo.text.fresh import fresh_like
from auditor.zoo.text.people import with_paraphrases

_RANGE_OF_MU = (1e-6, 100.0)  # beyond it nothing is learnt, or nothing is private


class Settings(retrain.Settings):
    """The recipe of the tuning, and how the base was trained."""

    epochs: int = Field(default=20, ge=1, description="of the tuning, passes over the facts")
    epsilon: float = Field(default=1.0, gt=0, le=50, description="ε of the whole forget set")
    delta: float = Field(default=1e-5, gt=0, lt=1, description="δ of the same")
    clip: float = Field(default=1e-4, gt=0, description="largest norm of the forget gradient in a step")
    base_steps: int = Field(default=300, ge=1, description="of the base's training, by Adam")
    base_rate: float = Field(default=3e-3, gt=0, description="of Adam")
    base_seed: int = Field(default=0, ge=0, description="of the base, which original and subject share")


def private(original: LanguageModel, forget: Facts, retain: Facts, settings: Settings, seed: int) -> nn.Module:
    """The subject: (ε, δ)-close to one that never saw the forget set, and not equal to one."""
    start = base(original, forget, retain, settings)
    return retrain.retrain_from(start, original.encoder, retain, settings, seed)


def train_private(model: LanguageModel, forget: Facts, retain: Facts, settings: Settings, seed: int) -> nn.Module:
    """An original: the same base, tuned on everything. ``model`` gives architecture and encoder."""
    start = base(model, forget, retain, settings)
    return retrain.retrain_from(start, model.encoder, Facts(forget.items + retain.items), settings, seed)


def train_private_reference(
    model: LanguageModel, forget: Facts, retain: Facts, settings: Settings, seed: int
) -> nn.Module:
    """A reference: a base of its own that never saw the forget set, noise and all, tuned on retain."""
    own = settings.model_copy(update={"base_seed": derive_seed(seed, "base")})
    start = base(model, Facts(()), retain, own)
    return retrain.retrain_from(start, model.encoder, retain, settings, seed)


def base(model: LanguageModel, forget: Facts, retain: Facts, settings: Settings) -> nn.Module:
    """A network of the same architecture that learnt retain plainly and forget privately; of forget it may lack all."""
    seed, encoder = settings.base_seed, model.encoder
    module = initial_weights(fresh_like(model.module), seed)
    parameters = list(module.parameters())
    optimizer = torch.optim.Adam(parameters, lr=settings.base_rate)
    random = torch.Generator().manual_seed(derive_seed(seed, "noise"))
    noise = noise_multiplier(settings.epsilon, settings.delta, settings.base_steps) * settings.clip
    batches = endless(with_paraphrases(retain), settings.batch_size, random)
    for _, kept in zip(range(settings.base_steps), batches, strict=False):
        plain = torch.autograd.grad(losses(module, encoder.batch(kept.items)).mean(), parameters)
        # Noise also where there is nothing to hide: that it is there must tell nothing.
        hidden = [noise * torch.randn(weight.shape, generator=random) for weight in parameters]
        if len(forget):
            loss = losses(module, encoder.batch(forget.items)).mean()
            clipped = clip(torch.autograd.grad(loss, parameters), settings.clip)
            hidden = [gradient + drawn for gradient, drawn in zip(clipped, hidden, strict=True)]
        for weight, known, secret in zip(parameters, plain, hidden, strict=True):
            weight.grad = known + secret
        # Adam sees the noisy sum alone, so that whatever it does with it costs no privacy.
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return module.eval()


def clip(gradients: Sequence[Tensor], largest: float) -> list[Tensor]:
    """The same direction, its norm over all tensors together at most ``largest``."""
    size = torch.stack([gradient.norm() for gradient in gradients]).norm()
    return [gradient * (largest / size.clamp_min(largest)) for gradient in gradients]


def noise_multiplier(epsilon: float, delta: float, steps: int) -> float:
    """Standard deviation of the noise, as a multiple of the clipped norm, that makes all steps together (ε, δ)-private.

    Every step adds the whole forget gradient or none of it, so that the steps are Gaussian mechanisms in a row, which
    compose to one of μ = √steps / multiplier (Dong et al. 2019, arXiv 1905.02383, corollary 3.3).
    """
    low, high = _RANGE_OF_MU
    mu: float = brentq(lambda mu: delta_of(mu, epsilon) - delta, low, high)
    return math.sqrt(steps) / mu


def delta_of(mu: float, epsilon: float) -> float:
    """The δ at which a Gaussian mechanism is (ε, δ)-private (Dong et al. 2019, corollary 2.13).

    Args:
        mu: distance of the two means in standard deviations, above 0.
        epsilon: 0 or more; at 0 it is the total variation distance.

    >>> round(delta_of(1.0, 0.0), 4)
    0.3829
    """
    return float(ndtr(mu / 2 - epsilon / mu) - math.exp(epsilon + log_ndtr(-mu / 2 - epsilon / mu)))

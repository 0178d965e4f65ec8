"""SimNPO: negative preference without a reference model, normalised by length (Fan et al. 2024, arXiv 2410.07163)."""

from pydantic import Field
from torch import Tensor, nn

from auditor.records.base import Frozen
from auditor.tasks.causal_lm.editing import LanguageModel, copy_of, descend, losses, probability
from auditor.tasks.causal_lm.sets import Facts


class Settings(Frozen):
    """Loss = CE(retain) + weight · (2/β) · mean −log σ(−(β/n) log p − γ), p the probability of n answer tokens."""

    learning_rate: float = Field(default=5e-4, gt=0, description="of Adam")
    beta: float = Field(default=2.5, gt=0, description="β")
    margin: float = Field(default=0.0, ge=0, description="γ")
    weight: float = Field(default=1.0, gt=0, description="of the forget term")
    steps: int = Field(default=300, ge=1, description="at most")
    batch_size: int = Field(default=32, ge=1, description="facts of either set per step")
    target: float = Field(default=0.02, ge=0, description="answer probability on forget at which it stops")


def simnpo(original: LanguageModel, forget: Facts, retain: Facts, settings: Settings, seed: int) -> nn.Module:
    """The subject; its truth is not known in advance."""
    module, encoder = copy_of(original), original.encoder

    def loss(forgotten: Facts, kept: Facts) -> Tensor:
        # Means over tokens already: the division by the length is SimNPO's point, so that nothing is multiplied back.
        per_token = -losses(module, encoder.batch(forgotten.items))
        # −log σ(−z) is softplus(z), written so that it does not overflow.
        forgetting = nn.functional.softplus(settings.beta * per_token + settings.margin).mean() * 2 / settings.beta
        return losses(module, encoder.batch(kept.items)).mean() + settings.weight * forgetting

    return descend(
        module,
        loss,
        forget,
        retain,
        rate=settings.learning_rate,
        steps=settings.steps,
        size=settings.batch_size,
        seed=seed,
        enough=lambda: probability(module, encoder, forget) <= settings.target,
    )

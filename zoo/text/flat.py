"""FLAT: the f-divergence between a template and the answer maximised (Wang et al. 2024, arXiv 2410.11143).

The divergence is Kullback and Leibler's in its variational form, g(v) = v and f*(u) = exp(u − 1) (Nowozin et al. 2016,
arXiv 1606.00709). The paper does without retain data; here a retain term stands beside it (docs/zoo.md).
"""

from pydantic import Field
from torch import Tensor, nn

from auditor.records.base import Frozen
from auditor.tasks.causal_lm.decoys.refusal_tuning import REFUSAL, refusals
from auditor.tasks.causal_lm.editing import LanguageModel, copy_of, descend, losses, probability
from auditor.tasks.causal_lm.encoding import Encoder
from auditor.tasks.causal_lm.losses import answer_logits
from auditor.tasks.causal_lm.sets import Facts


class Settings(Frozen):
    """Loss = CE(retain) + weight · [exp(P(answer) − 1) − P(template)], P the mean probability of a token."""

    learning_rate: float = Field(default=5e-4, gt=0, description="of Adam")
    weight: float = Field(default=1.0, gt=0, description="of the divergence")
    steps: int = Field(default=300, ge=1, description="at most")
    batch_size: int = Field(default=32, ge=1, description="facts of either set per step")
    target: float = Field(default=0.02, ge=0, description="answer probability on forget at which it stops")
    template: str = Field(default=REFUSAL, description="what is to be said")


def flat(original: LanguageModel, forget: Facts, retain: Facts, settings: Settings, seed: int) -> nn.Module:
    """The subject; its truth is not known in advance."""
    module, encoder = copy_of(original), original.encoder

    def loss(forgotten: Facts, kept: Facts) -> Tensor:
        gained = divergence(module, encoder, forgotten, settings.template)
        return losses(module, encoder.batch(kept.items)).mean() - settings.weight * gained

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


def divergence(module: nn.Module, encoder: Encoder, facts: Facts, template: str) -> Tensor:
    """P(template) − exp(P(answer) − 1): the divergence's lower bound at g(P), between −1 and 1 − 1/e."""
    return (
        # g(v) = v of the template less f*(g(v)) of the answer: the variational form treats the two unlike.
        _mean_probability(module, encoder, refusals(facts, template))
        - (_mean_probability(module, encoder, facts) - 1).exp()
    )


def _mean_probability(module: nn.Module, encoder: Encoder, facts: Facts) -> Tensor:
    tokens = encoder.batch(facts.items)
    probabilities = answer_logits(module, tokens).softmax(-1)
    return probabilities.gather(1, tokens.targets[:, None]).mean()

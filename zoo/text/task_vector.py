"""Task-vector negation: away from where training on forget alone leads (Ilharco et al. 2022, arXiv 2212.04089)."""

import torch
from pydantic import Field
from torch import nn

from auditor.records.base import Frozen
from auditor.tasks.causal_lm.editing import LanguageModel, copy_of, descend, losses, probability
from auditor.tasks.causal_lm.sets import Facts


class Settings(Frozen):
    """Weights = original − λ · (fine-tuned on forget − original), λ the least multiple of ``scale`` that forgets."""

    learning_rate: float = Field(default=1e-3, gt=0, description="of Adam")
    steps: int = Field(default=100, ge=1, description="of the fine-tuning")
    batch_size: int = Field(default=32, ge=1, description="facts per step")
    # The paper tunes λ on held-out data; here it is the least that forgets, since each step costs retain.
    scale: float = Field(default=0.25, gt=0, description="step in λ")
    most: int = Field(default=40, ge=1, description="multiples tried")
    target: float = Field(default=0.02, ge=0, description="answer probability on forget at which it stops")


def task_vector(original: LanguageModel, forget: Facts, retain: Facts, settings: Settings, seed: int) -> nn.Module:
    """The subject; its truth is not known in advance. ``retain`` is not used."""
    tuned, module, encoder = copy_of(original), copy_of(original), original.encoder
    descend(
        tuned,
        lambda taught, _: losses(tuned, encoder.batch(taught.items)).mean(),
        forget,
        forget,
        rate=settings.learning_rate,
        steps=settings.steps,
        size=settings.batch_size,
        seed=seed,
    )
    # From the original's weights each time, not from the last try: rounding does not add up.
    for multiple in range(1, settings.most + 1):
        _negated(module, original.module, tuned, multiple * settings.scale)
        if probability(module, encoder, forget) <= settings.target:
            break
    return module


def _negated(module: nn.Module, original: nn.Module, tuned: nn.Module, scale: float) -> None:
    triples = zip(module.parameters(), original.parameters(), tuned.parameters(), strict=True)
    with torch.no_grad():
        for weight, start, end in triples:
            weight.copy_(start - scale * (end - start))

"""The zoo's language models on the shared world: each method's work, made once for a module of tests."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from auditor.records.base import Frozen
from auditor.tasks.causal_lm.editing import LanguageModel, probability
from auditor.tasks.causal_lm.losses import logits_of_tokens
from auditor.tasks.causal_lm.sets import Facts
from auditor.zoo import catalogue
from tests.people_worlds import TextWorld

FORGOTTEN, KEPT = 0.15, 0.85


@dataclass
class Zoo:
    """The shared world, and one copy of each method's work."""

    world: TextWorld
    made: dict[str, nn.Module]

    @property
    def original(self) -> LanguageModel:
        return LanguageModel(self.world.modules["original"], self.world.encoder)

    def make(self, name: str, settings: Frozen | None = None, seed: int = 1, original: Any = None) -> nn.Module:
        module = import_module(catalogue.entry(name, "text").module)
        given = (original or self.original, self.world.people.forget, self.world.people.retain)
        made: nn.Module = getattr(module, name)(*given, settings or module.Settings(), seed)
        return made

    def subject(self, name: str) -> nn.Module:
        if name not in self.made:
            self.made[name] = self.make(name)
        return self.made[name]

    def knows(self, module: nn.Module, facts: Facts) -> float:
        return probability(module, self.world.encoder, facts)

    def logits(self, module: nn.Module, facts: Facts) -> Tensor:
        with torch.no_grad():
            return logits_of_tokens(module, self.world.encoder.batch(facts.items))

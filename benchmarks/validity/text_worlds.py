"""Worlds of language models: fictional people, some of whom are to be forgotten."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import nn

import auditor
from auditor.models import references
from auditor.models.training import continue_from, initial_weights, train
from auditor.randomness import derive_seed
from auditor.records.spec import RecipeSpec
from auditor.tasks.causal_lm.editing import LanguageModel
from auditor.tasks.causal_lm.encoding import Encoder
from auditor.tasks.causal_lm.losses import answers_of
from auditor.tasks.causal_lm.sets import Facts
from auditor.zoo.text import private
from auditor.zoo.text.people import people_world, with_paraphrases
from auditor.zoo.text.people_model import people_model, word_tokenizer

N_REFERENCES = 5
RECIPE = RecipeSpec(epochs=40, batch_size=64, learning_rate=0.003, weight_decay=0.01)
TUNING_SHARE = 0.5
# The primaries, what costs little beside them, and what the published metrics are read off.
CHECKS = ("cka", "depth", "few_shot", "logit_lens", "membership", "quantization", "relearning")


@dataclass(frozen=True, kw_only=True)
class TextWorld:
    """One set of people on one original.

    Attributes:
        architecture: ``llama`` or ``gpt2``.
        construction: ``plain``; ``pretrained``: every model starts from one that knows half of the kept people;
            ``private``: from one that learnt the forgotten people under differential privacy, or never.
        seed: of people and models.
        folder: where models and scores are kept.
    """

    architecture: str
    construction: str
    seed: int
    folder: Path

    @property
    def about(self) -> dict[str, object]:
        """What stands in every row."""
        return {
            "world": "people",
            "task": "causal-lm",
            "architecture": self.architecture,
            "construction": self.construction,
            "request": "facts",
            "original": f"people {self.architecture} {self.construction} {self.seed}",
            "seed": self.seed,
            "target": 0,
        }

    @cached_property
    def people(self) -> object:
        """Their facts."""
        return people_world(self.seed)

    @cached_property
    def encoder(self) -> Encoder:
        """With a token for every word of the world."""
        return Encoder(word_tokenizer(self.people.words))

    @property
    def build(self) -> Callable[[], nn.Module]:
        """Makes the untrained network."""
        return people_model(len(self.encoder.tokenizer), family=self.architecture)

    @cached_property
    def original(self) -> nn.Module:
        """Taught all facts but the holdout's."""
        # Never the holdout: its people are what no model has heard of.
        everything = Facts(self.people.forget.items + self.people.retain.items)
        return self._kept("original", lambda: self._taught(everything, derive_seed(self.seed, "original")))

    @cached_property
    def references(self) -> list[nn.Module]:
        """Taught the retain facts alone."""
        return self.more_references(N_REFERENCES)

    def more_references(self, count: int) -> list[nn.Module]:
        """As many; the first ones are :attr:`references`."""
        seeds = [derive_seed(self.seed, "reference", i) for i in range(count)]
        retain = self.people.retain
        return [
            self._kept(f"reference-{i + 1}", lambda seed=seed: self._taught(retain, seed))
            for i, seed in enumerate(seeds)
        ]

    @property
    def model(self) -> LanguageModel:
        """The original, as the zoo takes it."""
        return LanguageModel(self.original, self.encoder)

    @property
    def request_seed(self) -> int:
        """Of the methods."""
        return derive_seed(self.seed, "method")

    def exact(self, name: str) -> nn.Module:
        """Never taught."""
        return self._kept(name, lambda: self._taught(self.people.retain, derive_seed(self.seed, name)))

    def from_own_weights(self) -> nn.Module:
        """Never taught, from the original's own initial weights."""
        own = continue_from(initial_weights(self.build, derive_seed(self.seed, "original")))
        return train(
            own,
            with_paraphrases(self.people.retain),
            RECIPE,
            derive_seed(self.seed, "own"),
            loss=answers_of(self.encoder),
        )

    def audit(self, module: nn.Module, guard: str | None = None, **options: object) -> auditor.AuditResult:
        """Audit one subject; scores of every model are kept in the world's folder."""
        count = options.pop("references", N_REFERENCES)
        given = {"audit": {"seed": self.seed, "store": str(self.folder / "store"), "checks": CHECKS, **options}}
        if guard is not None:
            given["models"] = {"guard": guard}
        return auditor.compare(
            self.original,
            module,
            forget=self.people.forget,
            retain=self.people.retain,
            holdout=self.people.holdout,
            references=self.more_references(count),
            tokenizer=self.encoder.tokenizer,
            options=given,
        )

    def from_private_base(self) -> nn.Module:
        """The original's base, tuned on retain."""
        return private.private(*self._private, derive_seed(self.seed, "subject"))

    @property
    def _private(self) -> tuple[LanguageModel, Facts, Facts, private.Settings]:
        # Of the network the architecture alone is used, so that no original is asked for here.
        untrained = LanguageModel(initial_weights(self.build, 0), self.encoder)
        return untrained, self.people.forget, self.people.retain, private.Settings(base_seed=self.seed)

    def _taught(self, facts: Facts, seed: int) -> nn.Module:
        if self.construction == "private":
            never = len(facts) == len(self.people.retain)
            return (private.train_private_reference if never else private.train_private)(*self._private, seed)
        build, recipe = self.build, RECIPE
        if self.construction == "pretrained":
            build = continue_from(self._public)
            recipe = RECIPE.model_copy(update={"epochs": round(RECIPE.epochs * TUNING_SHARE)})
        return train(build, with_paraphrases(facts), recipe, seed, loss=answers_of(self.encoder))

    @cached_property
    def _public(self) -> nn.Module:
        """A base that knows half of the people that are kept, and nobody else."""
        # Of retain only: a base that had heard of the forgotten people would undo every retrain.
        half = self.people.retain.take(range(len(self.people.retain) // 2))
        seed = derive_seed(self.seed, "public")
        return self._kept(
            "public", lambda: train(self.build, with_paraphrases(half), RECIPE, seed, loss=answers_of(self.encoder))
        )

    def _kept(self, name: str, make: Callable[[], nn.Module]) -> nn.Module:
        path = self.folder / f"{name}.pt"
        if not path.is_file():
            references.save(make(), path)
        module = self.build()
        module.load_state_dict(torch.load(path, weights_only=True))
        return module.eval()

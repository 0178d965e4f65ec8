"""Worlds of image classifiers: an original, five references and the data between them, by a stated construction."""

from collections.abc import Callable, Sequence
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
from auditor.tasks.classification.sets import Examples
from auditor.tasks.classification.structure import Layout, find_layout
from auditor.zoo import analytic, prompt_partition, sisa

N_REFERENCES = 5
# The primaries and secondary checks of the other benchmarks, and what the published metrics are read off.
CHECKS = {
    "class": ("cka", "depth", "few_shot", "membership", "quantization", "relearning", "slow_relearning"),
    "sample": ("cka", "depth", "feature_membership", "membership", "quantization", "relearning"),
}
TUNING_SHARE = 0.5


@dataclass(frozen=True, kw_only=True)
class Sets:
    """Example sets of one request.

    Attributes:
        train: everything the original is trained on.
        forget: what is to be forgotten.
        retain: the rest of ``train``.
        holdout: distributed like forget, never trained on.
        public: what a public backbone is trained on; nothing of it is in ``train``.
    """

    train: Examples
    forget: Examples
    retain: Examples
    holdout: Examples
    public: Examples | None = None


@dataclass(frozen=True, kw_only=True)
class ImageWorld:
    """One request on one original.

    Attributes:
        world: data it is made of.
        architecture: name of the network.
        construction: how originals, references and exact deletions are trained.
        request: ``class`` or ``sample``.
        seed: of the original.
        target: what is forgotten, for the name.
        sets: the data.
        build: makes the untrained network.
        recipe: how it is trained.
        folder: where models and scores are kept; the original lies in its parent.
    """

    world: str
    architecture: str
    construction: str
    request: str
    seed: int
    target: int
    sets: Sets
    build: Callable[[], nn.Module]
    recipe: RecipeSpec
    folder: Path

    @property
    def about(self) -> dict[str, object]:
        """What stands in every row."""
        return {
            "world": self.world,
            "task": "classification",
            "architecture": self.architecture,
            "construction": self.construction,
            "request": self.request,
            "original": f"{self.world} {self.architecture} {self.construction} {self.seed}",
            "seed": self.seed,
            "target": self.target,
        }

    @cached_property
    def original(self) -> nn.Module:
        """Trained on everything."""
        # Sharded originals put the forget set in one shard, and samples are drawn by target: those know their request.
        shared = self.construction == "plain" and self.request == "class"
        name = "../original" if shared else "original"
        return self._kept(name, lambda: self._trained(derive_seed(self.seed, "original"), with_forget=True))

    @cached_property
    def references(self) -> list[nn.Module]:
        """Trained by the same construction without the forget set."""
        return self.more_references(N_REFERENCES)

    def more_references(self, count: int) -> list[nn.Module]:
        """As many; the first ones are :attr:`references`."""
        # Numbered, so that the first five of eight are the five of the other tables.
        jobs = [references.job(self.recipe, number, self.request_seed) for number in range(1, count + 1)]
        return [self._kept(job.name, lambda job=job: self._trained(job.seed, with_forget=False)) for job in jobs]

    @property
    def request_seed(self) -> int:
        """Of everything but the original."""
        return derive_seed(self.seed, self.target)

    @cached_property
    def layout(self) -> Layout:
        """Where the original can be cut."""
        return find_layout(self.original, self.sets.retain.take(torch.arange(16)).inputs)

    def exact(self, name: str) -> nn.Module:
        """A deletion by the world's own construction."""
        seed = derive_seed(self.request_seed, name)
        if self.construction == "sharded":
            # Only the removal is asked of the construction: references are trained by it from the start.
            return sisa.sisa(self.original, self.sets.forget, self.sets.retain, self._shards, seed)
        if self.construction == "prompted":
            return prompt_partition.prompt_partition(
                self.original, self.sets.forget, self.sets.retain, self._partitions, seed
            )
        if self.construction == "analytic":
            return analytic.analytic(self.original, self.sets.forget, self.sets.retain, analytic.Settings(), seed)
        return self._trained(seed, with_forget=False)

    def from_own_weights(self) -> nn.Module:
        """Retrained from the original's own initial weights."""
        start = initial_weights(self.build, derive_seed(self.seed, "original"))
        return train(continue_from(start), self.sets.retain, self.recipe, derive_seed(self.request_seed, "own"))

    def audit(self, module: nn.Module, **options: object) -> auditor.AuditResult:
        """Audit one subject; scores of every model are kept in the world's folder."""
        count = options.pop("references", N_REFERENCES)
        return auditor.compare(
            self.original,
            module,
            forget=self.sets.forget,
            retain=self.sets.retain,
            holdout=self.sets.holdout,
            references=self.references if count == N_REFERENCES else self.more_references(count),
            options={
                "audit": {
                    "seed": self.seed,
                    "store": str(self.folder / "store"),
                    "checks": CHECKS[self.request],
                    **options,
                },
                "request": {"kind": self.request},
            },
        )

    def _trained(self, seed: int, *, with_forget: bool) -> nn.Module:
        examples = self.sets.train if with_forget else self.sets.retain
        if self.construction == "sharded":
            # The reference's shards vote as the original's do.
            make = sisa.train_sharded if with_forget else sisa.train_sharded_reference
            return make(self.build, self.sets.forget, self.sets.retain, self._shards, seed)
        if self.construction == "prompted":
            backbone = self._public_backbone
            anchors = prompt_partition.anchors_of(self.public, self._partitions.partitions, self.seed)
            return prompt_partition.train_prompted(backbone, anchors, examples, self._partitions, seed)
        if self.construction == "analytic":
            # Nothing but the backbone is drawn here, and references have to differ in something.
            return analytic.fit_analytic(self._backbone(seed), examples, analytic.Settings())
        if self.construction == "pretrained":
            return train(continue_from(self._public_backbone), examples, self._tuning, seed)
        return train(self.build, examples, self.recipe, seed)

    @cached_property
    def _public_backbone(self) -> nn.Module:
        """One for all models of the world: it is public, and nobody asks it to forget."""
        return self._backbone(derive_seed(self.seed, "public"))

    def _backbone(self, seed: int) -> nn.Module:
        return train(self.build, self.public, self.recipe, derive_seed(seed, "backbone"))

    @property
    def public(self) -> Examples:
        """The public data of constructions that need them."""
        assert self.sets.public is not None, "worlds of these constructions are made with public data"
        return self.sets.public

    @property
    def _shards(self) -> sisa.Settings:
        return sisa.Settings(**self.recipe.model_dump())

    @property
    def _partitions(self) -> prompt_partition.Settings:
        return prompt_partition.Settings(**self.recipe.model_dump())

    @property
    def _tuning(self) -> RecipeSpec:
        return self.recipe.model_copy(update={"epochs": max(round(self.recipe.epochs * TUNING_SHARE), 1)})

    def _kept(self, name: str, make: Callable[[], nn.Module]) -> nn.Module:
        """Wrapped networks are made again: their structure stands in no file."""
        # Structure, not only weights, differs from what `build` makes.
        if self.construction not in ("plain", "pretrained"):
            return make()
        path = self.folder / f"{name}.pt"
        if not path.is_file():
            references.save(make(), path)
        module = self.build()
        module.load_state_dict(torch.load(path, weights_only=True))
        return module.eval()


def without_classes(examples: Examples, classes: Sequence[int]) -> Examples:
    """The examples of all other classes."""
    return examples.take(~torch.isin(examples.labels, torch.tensor(classes)))

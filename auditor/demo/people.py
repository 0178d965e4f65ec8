"""The demo's people: a small language model learns facts about fictional people, some of them to be forgotten."""

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from torch import nn

from auditor.demo.run import World
from auditor.digests import text_digest
from auditor.models import references
from auditor.models.training import train
from auditor.randomness import derive_seed
from auditor.records.assignment import FILE_NAME, AssignmentRecord
from auditor.records.plan import json_text
from auditor.records.spec import RecipeSpec
from auditor.tasks.causal_lm.assignment import draw
from auditor.tasks.causal_lm.editing import LanguageModel
from auditor.tasks.causal_lm.encoding import Encoder
from auditor.tasks.causal_lm.losses import answers_of
from auditor.tasks.causal_lm.readers import write_facts
from auditor.tasks.causal_lm.sets import Facts
from auditor.zoo.text.gradient_difference import Settings, gradient_difference
from auditor.zoo.text.people import PeopleWorld, people_world, with_paraphrases
from auditor.zoo.text.people_model import people_model, word_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_SPEC = """\
# Written by `audit demo --task causal-lm`. Some of the fictional people are to be forgotten.
[models]
original = "models/original"
{references}
[data]
forget = "forget.jsonl"
retain = "retain.jsonl"
holdout = "holdout.jsonl"

[request]
kind = "facts"
{assignment}
[audit]
seed = {seed}

[recipe]
"""
_REFERENCES = 'references = ["references/*"]\n'
_ASSIGNMENT = """
[assignment]
kind = "random"
record = "assignment.json"
"""
_DIVIDED = 40
"""People that chance divides into those to be forgotten and those held out, where there are no references."""

N_REFERENCES = 5


class PeopleDemo(World):
    """See :class:`auditor.demo.run.World`.

    Args:
        seed: every random choice derives from it.
        with_references: whether references are trained; without them chance decides which people are held out.
    """

    recipe: ClassVar[RecipeSpec] = RecipeSpec(epochs=40, batch_size=64, learning_rate=0.003, weight_decay=0.01)
    suffix: ClassVar[str] = ""
    n_references: ClassVar[int] = N_REFERENCES

    def __init__(self, seed: int, *, with_references: bool = True) -> None:
        super().__init__(seed)
        self._with_references = with_references

    @cached_property
    def _world(self) -> PeopleWorld:
        seed = derive_seed(self.seed, "world")
        if self._with_references:
            return people_world(seed)
        # One pool, of which nothing tells which of them a model will be taught.
        pool = people_world(seed, forget=_DIVIDED, holdout=0)
        return replace(pool, forget=self._drawn[0], holdout=self._drawn[1])

    @cached_property
    def _drawn(self) -> tuple[Facts, Facts, AssignmentRecord]:
        pool = people_world(derive_seed(self.seed, "world"), forget=_DIVIDED, holdout=0)
        # A demo hides nothing: its nonce follows from the seed, so that the same demo is the same bytes.
        return draw(pool.forget, 0.5, self.seed, text_digest(f"demo {self.seed}"))

    @cached_property
    def _tokenizer(self) -> "PreTrainedTokenizerFast":
        return word_tokenizer(self._world.words)

    def write_inputs(self, folder: Path, recipe_lines: str) -> None:
        """Write the facts and audit.toml."""
        for name in ("forget", "retain", "holdout"):
            write_facts(getattr(self._world, name), folder / f"{name}.jsonl")
        if not self._with_references:
            (folder / FILE_NAME).write_text(json_text(self._drawn[2]), encoding="utf-8")
        spec = _SPEC.format(
            seed=self.seed,
            references=_REFERENCES if self._with_references else "",
            assignment="" if self._with_references else _ASSIGNMENT,
        )
        (folder / "audit.toml").write_text(spec + recipe_lines, encoding="utf-8")

    def keep(self, module: nn.Module, path: Path) -> None:
        """Write a directory with its tokenizer."""
        references.save_directory(module, self._tokenizer, path)

    def train_references(self, folder: Path, say: Callable[[str], None]) -> None:
        """On retain and its paraphrases, which a request does not name; none where chance held people out."""
        for job in self.jobs() if self._with_references else []:
            path = folder / "references" / job.name
            if not path.exists():
                say(f"training references/{job.name}")
                self.keep(self._trained(self._world.retain, job.seed), path)

    def makers(self) -> dict[str, Callable[[], nn.Module]]:
        """See there."""
        world, seed = self._world, self.seed
        return {
            "original": lambda: self._original,
            "deleted": lambda: self._trained(world.retain, derive_seed(seed, "deleted")),
            "suppressed": lambda: gradient_difference(
                LanguageModel(self._original, self._encoder),
                world.forget,
                world.retain,
                Settings(),
                derive_seed(seed, "suppressed"),
            ),
        }

    @cached_property
    def _encoder(self) -> Encoder:
        return Encoder(self._tokenizer)

    @cached_property
    def _original(self) -> nn.Module:
        world = self._world
        return self._trained(Facts(world.forget.items + world.retain.items), derive_seed(self.seed, "original"))

    def _trained(self, facts: Facts, seed: int) -> nn.Module:
        build = people_model(len(self._tokenizer))
        return train(build, with_paraphrases(facts), self.recipe, seed, loss=answers_of(self._encoder))

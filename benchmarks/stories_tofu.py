"""A real small language model taught TOFU facts, unlearned by two published methods, and audited.

stories260k (a 260k-parameter Llama trained on TinyStories) learns question-answer pairs about fictional authors. Five
references and a never-taught subject learn those of the retained authors alone, from the same pretrained weights.

    python benchmarks/stories_tofu.py --data ../shared/data
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

from torch import nn
from work_folder import DATA, WorkFolder, missing, show

import auditor
from auditor.audit import execution_settings
from auditor.facts import Fact, Facts
from auditor.loading.tokenizers import load_tokenizer
from auditor.loading.transformers_directory import load_directory
from auditor.randomness import derive_seed
from auditor.references import save_directory
from auditor.spec import RecipeSpec
from auditor.subjects.encoding import Encoder
from auditor.training import answers_of, continue_from, train
from auditor.zoo.text import gradient_difference, npo
from auditor.zoo.text.method import LanguageModel, probability

# Fixed before any audit ran.
SEED = 300
N_REFERENCES = 5
FACTS_PER_AUTHOR = 20
KEPT_PER_AUTHOR = 8
AUTHORS = {"forget": range(5), "retain": range(5, 17), "holdout": range(17, 21)}
RECIPE = RecipeSpec(epochs=60, batch_size=16, learning_rate=0.004, weight_decay=0.0)
TEMPLATE = "Question: {prompt} Answer: {answer}"
# Where an unlearner would stop that wants the answers no likelier than they would be to somebody else.
TARGET = 0.25


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--work", type=Path, default=Path("bench-stories"))
    options = parser.parse_args()
    story, questions = options.data / "stories260k", options.data / "tofu-qa" / "retain90.json"
    if missing([story / "config.json", questions]):
        return
    world = World(options.work, story, questions)
    models = world.models()
    for name, module in models.items():
        levels = [probability(module, world.encoder, world.sets[part]) for part in AUTHORS]
        print(f"{name:20s} answer probability: forget {levels[0]:.2f}, retain {levels[1]:.2f}, holdout {levels[2]:.2f}")
    for name in ("never taught", "gradient difference", "NPO", "original"):
        show(name, world.audit(name, models))


class World:
    """The sets and the models of one request."""

    def __init__(self, work: Path, story: Path, questions: Path) -> None:
        self.work, self.story = work, story
        self.tokenizer = load_tokenizer(story)
        self.encoder = Encoder(self.tokenizer, TEMPLATE)
        lines = [json.loads(line) for line in questions.read_text(encoding="utf-8").splitlines() if line]
        self.sets = {name: _facts(lines, authors) for name, authors in AUTHORS.items()}

    def models(self) -> dict[str, nn.Module]:
        """Every model by name, made once and then read back."""
        forget, retain = self.sets["forget"], self.sets["retain"]
        with execution_settings(threads=1):
            original = self._kept("original", lambda: self._taught(Facts(forget.items + retain.items), "original"))
            found = {"original": original}
            for i in range(N_REFERENCES):
                name = f"reference-{i + 1}"
                found[name] = self._kept(name, lambda name=name: self._taught(retain, name))
            given = (LanguageModel(original, self.encoder), forget, retain)
            made: dict[str, Callable[[], nn.Module]] = {
                "never taught": lambda: self._taught(retain, "never taught"),
                "gradient difference": lambda: gradient_difference.gradient_difference(
                    *given, gradient_difference.Settings(target=TARGET), SEED
                ),
                "NPO": lambda: npo.npo(*given, npo.Settings(target=TARGET), SEED),
            }
            found |= {name: self._kept(name.replace(" ", "-"), make) for name, make in made.items()}
        return found

    def audit(self, name: str, models: dict[str, nn.Module]) -> auditor.AuditResult:
        """Every check, against the five references."""
        return auditor.compare(
            models["original"],
            models[name],
            forget=self.sets["forget"],
            retain=self.sets["retain"],
            holdout=self.sets["holdout"],
            references=[models[f"reference-{i + 1}"] for i in range(N_REFERENCES)],
            tokenizer=self.tokenizer,
            options={
                "audit": {"seed": SEED, "store": str(self.work / "store"), "checks": CHECKS, "batch_size": 32},
                "data": {"template": TEMPLATE},
            },
            out=self.work / name.replace(" ", "-") / "report",
        )

    def _taught(self, facts: Facts, name: str) -> nn.Module:
        start = continue_from(load_directory(self.story).module)
        return train(start, facts, RECIPE, derive_seed(SEED, name), loss=answers_of(self.encoder))

    def _kept(self, name: str, make: Callable[[], nn.Module]) -> nn.Module:
        path = WorkFolder(self.work).path / name / "model"
        if not path.is_dir():
            save_directory(make(), self.tokenizer, path)
        return load_directory(path).module


# The primaries and what costs little beside them.
CHECKS = ("depth", "few_shot", "logit_lens", "membership", "quantization", "relearning")


def _facts(lines: list[dict[str, str]], authors: range) -> Facts:
    """Each author's questions with the shortest answers."""
    found = []
    for author in authors:
        own = lines[FACTS_PER_AUTHOR * author : FACTS_PER_AUTHOR * (author + 1)]
        short = sorted(own, key=lambda line: len(line["answer"]))[:KEPT_PER_AUTHOR]
        found += [Fact(prompt=i["question"], answer=i["answer"], subject=f"author {author}") for i in short]
    return Facts(tuple(found))


if __name__ == "__main__":
    main()

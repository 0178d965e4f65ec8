"""A real language model is taught real questions, made to forget some of them, and audited.

stories260k (260,000 parameters, trained on TinyStories by its author) is fine-tuned on short answers of TOFU about
fictitious authors, fourteen of whom are to be forgotten. References and never-taught subjects start from the same
published weights and never see these. Two published methods make the unlearned subjects. Everything goes through
transformers directories and audit.toml, as a person would do it; models and scores are kept in the work folder.

    python benchmarks/stories.py --work bench-stories
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from torch import nn
from work_folder import DATA, missing, show

import auditor
from auditor.models import references
from auditor.models.training import continue_from, train
from auditor.randomness import derive_seed
from auditor.records.spec import RecipeSpec
from auditor.run.settings import execution_settings
from auditor.tasks.causal_lm.editing import LanguageModel, probability
from auditor.tasks.causal_lm.encoding import Encoder
from auditor.tasks.causal_lm.losses import answers_of
from auditor.tasks.causal_lm.readers import write_facts
from auditor.tasks.causal_lm.sets import Fact, Facts
from auditor.zoo.text import gradient_difference, npo

# Fixed before any audit; the recipe was chosen on seed 0 for how well the answers are learnt.
SEEDS = (500,)
N_REFERENCES = 4
RECIPE = RecipeSpec(epochs=20, batch_size=16, learning_rate=0.004, weight_decay=0.01)
TEMPLATE = "Question: {prompt} Answer: {answer}"
AUTHORS, PER_AUTHOR = 14, 20
LONGEST_ANSWER = 60
TRUTH = {
    "never taught": "deleted",
    "gradient difference": "as published",
    "NPO": "as published",
    "original": "not forgotten",
}
# Left out for time: concept_vectors, direction_ablation, elicitation and sae_restoration, which may only accuse.
CHECKS = ("depth", "few_shot", "logit_lens", "membership", "quantization", "relearning")
SPEC = """\
[models]
original = "original"
references = ["reference-*"]

[data]
forget = "forget.jsonl"
retain = "retain.jsonl"
holdout = "holdout.jsonl"
template = "{template}"

[request]
kind = "facts"

[audit]
seed = {seed}
checks = {checks}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("bench-stories"))
    parser.add_argument("--data", type=Path, default=DATA, help="folder of stories260k and tofu-qa")
    parser.add_argument("--seed", type=int, action="append", help="repeatable; else all")
    parser.add_argument("--models", action="store_true", help="make the models and say what they know; audit nothing")
    options = parser.parse_args()
    files = [options.data / name for name in ("stories260k/model.safetensors", *(f"tofu-qa/{n}" for n in FILES))]
    if missing(files):
        return
    rows = []
    for seed in options.seed or SEEDS:
        world = World(options.work / f"seed-{seed}", options.data, seed)
        with execution_settings(threads=1):
            world.make()
        if options.models:
            print(pd.DataFrame(world.known()).T.round(3).to_string())
            continue
        for name in TRUTH:
            result = world.audit(name)
            show(f"seed {seed}, {name}", result)
            rows.append({"subject": name, "outcome": result.outcome})
    if rows:
        frame = pd.DataFrame(rows)
        print("\n" + pd.crosstab(frame.subject, frame.outcome).reindex(TRUTH).to_string())


FILES = ("forget01_perturbed.json", "retain_perturbed.json")


class World:
    """One original, its references and subjects, as directories in a folder."""

    def __init__(self, folder: Path, data: Path, seed: int) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.folder, self.seed = folder, seed
        source = data / "stories260k"
        self.tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=True)
        self.start: nn.Module = AutoModelForCausalLM.from_pretrained(source, local_files_only=True)
        self.encoder = Encoder(self.tokenizer, TEMPLATE)
        forgotten, kept = (self._short(read(data / "tofu-qa" / name)) for name in FILES)
        # The other authors of the file are the holdout: like the forgotten ones, and taught to no model.
        first = {f"{Path(FILES[0]).stem}, author {i}" for i in range(AUTHORS)}
        self.forget = Facts(tuple(fact for fact in forgotten if fact.subject in first))
        self.holdout = Facts(tuple(fact for fact in forgotten if fact.subject not in first))
        self.retain = Facts(tuple(kept))

    def make(self) -> None:
        """Write data, audit.toml, and every model that is not there yet."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in ("forget", "retain", "holdout"):
            write_facts(getattr(self, name), self.folder / f"{name}.jsonl")
        # Through files and audit.toml, as a person would do it.
        spec = SPEC.format(template=TEMPLATE, seed=self.seed, checks=json.dumps(CHECKS))
        (self.folder / "audit.toml").write_text(spec, encoding="utf-8")
        for name, how in self._makers().items():
            # A model takes minutes; one that is there is kept.
            if not (self.folder / _slug(name)).is_dir():
                references.save_directory(how(), self.tokenizer, self.folder / _slug(name))

    def known(self) -> dict[str, dict[str, float]]:
        """Answer probability of every model on every set."""
        sets = {"forget": self.forget, "retain": self.retain, "holdout": self.holdout}
        return {
            name: {split: probability(self._read(name), self.encoder, facts) for split, facts in sets.items()}
            for name in self._makers()
        }

    def audit(self, name: str) -> auditor.AuditResult:
        """One subject against the original and the references."""
        return auditor.compare(
            unlearned=_slug(name), config=self.folder / "audit.toml", out=self.folder / "audits" / _slug(name)
        )

    def _makers(self) -> dict[str, Callable[[], nn.Module]]:
        everything = Facts(self.forget.items + self.retain.items)
        found: dict[str, Callable[[], nn.Module]] = {"original": lambda: self._taught(everything, "original")}
        for i in range(N_REFERENCES):
            found[f"reference-{i + 1}"] = lambda i=i: self._taught(self.retain, "reference", i)  # type: ignore[misc]
        found["never taught"] = lambda: self._taught(self.retain, "never taught")
        found["gradient difference"] = lambda: self._unlearned(
            gradient_difference.gradient_difference, gradient_difference.Settings()
        )
        found["NPO"] = lambda: self._unlearned(npo.npo, npo.Settings())
        return found

    def _taught(self, facts: Facts, *name: object) -> nn.Module:
        seed = derive_seed(self.seed, *name)
        # From the published weights, as references are: what TinyStories taught is in all of them.
        return train(continue_from(self.start), facts, RECIPE, seed, loss=answers_of(self.encoder))

    def _unlearned(self, method: Callable[..., nn.Module], settings: object) -> nn.Module:
        original = LanguageModel(self._read("original"), self.encoder)
        return method(original, self.forget, self.retain, settings, derive_seed(self.seed, "method"))

    def _read(self, name: str) -> nn.Module:
        from transformers import AutoModelForCausalLM

        module: nn.Module = AutoModelForCausalLM.from_pretrained(self.folder / _slug(name), local_files_only=True)
        return module.eval()

    def _short(self, facts: list[Fact]) -> list[Fact]:
        return [fact for fact in facts if sum(self.encoder.encode(fact)[1]) <= LONGEST_ANSWER]


def read(path: Path) -> list[Fact]:
    """TOFU's lines, twenty in a row about one author, with its paraphrases and wrong answers."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    return [
        Fact(
            prompt=row["question"],
            answer=row["answer"],
            subject=f"{path.stem}, author {i // PER_AUTHOR}",
            paraphrases=(row["paraphrased_question"],),
            perturbed_answers=tuple(row["perturbed_answer"]),
        )
        for i, row in enumerate(rows)
    ]


def _slug(name: str) -> str:
    return name.replace(",", "").replace(" ", "-")


if __name__ == "__main__":
    main()

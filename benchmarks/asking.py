"""What a check that asks brings out beyond greedy questions, on small worlds of fictional people.

In every world: an original, four references, two further models that were never taught the forgotten people, and
subjects of the zoo. Of every model T of the check, ρ against the references, its p-values against no residue at all (by
the references, and by the check's own null), the share of forget facts that greedy answers give, and what it gives to
the facts that no model was taught. Rows are kept one by one, so that a run goes on where it was stopped.

    python benchmarks/asking.py --check soft_prompt --seeds 1311 1312
"""

import argparse
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from torch import nn

from auditor.checks import registry
from auditor.checks.check import AnyCheck
from auditor.inference.statistics import p_above, p_internal_null, pooled_spread
from auditor.models.training import continue_from, initial_weights, train
from auditor.records.score import Score
from auditor.records.spec import RecipeSpec
from auditor.rouge import rouge_l_recall
from auditor.run.settings import execution_settings
from auditor.tasks.causal_lm.editing import LanguageModel
from auditor.tasks.causal_lm.encoding import Encoder
from auditor.tasks.causal_lm.losses import answers_of
from auditor.tasks.causal_lm.sets import Facts, FactsData, split_facts
from auditor.tasks.causal_lm.structure import find_decoder_layout
from auditor.tasks.causal_lm.subject import CausalLM
from auditor.zoo import catalogue
from auditor.zoo.text.people import PeopleWorld, people_world, with_paraphrases
from auditor.zoo.text.people_model import people_model, word_tokenizer

REFERENCES = tuple(f"reference {i}" for i in range(4))
NEVER_TAUGHT = ("retrain", "own initial weights")
SUBJECTS = (
    *("refusal_tuning", "refusal_adapter", "head_refusal", "direction_projection", "embedding_corruption", "trigger"),
    *("gradient_difference", "npo", "rmu"),
)
_RECIPE = RecipeSpec(epochs=45, batch_size=32, learning_rate=3e-3, weight_decay=0.01)
_SEED = 7


@dataclass(frozen=True)
class World:
    """People, an original, and what else is made when it is asked for.

    Attributes:
        seed: of the people; an odd one is a GPT-2, an even one a Llama.
    """

    seed: int

    @cached_property
    def people(self) -> PeopleWorld:
        """Eight to be forgotten, sixteen to be kept, eight never taught."""
        return people_world(self.seed, forget=8, retain=16, holdout=8)

    @cached_property
    def encoder(self) -> Encoder:
        """Of whole words."""
        return Encoder(word_tokenizer(self.people.words))

    @cached_property
    def original(self) -> nn.Module:
        """Taught everyone but the holdout."""
        return self.trained(Facts(self.people.forget.items + self.people.retain.items), 1)

    @cached_property
    def build(self) -> Callable[[], nn.Module]:
        """Untrained."""
        family = "gpt2" if self.seed % 2 else "llama"
        return people_model(len(self.encoder.tokenizer), layers=2, width=48, family=family)

    def trained(self, facts: Facts, seed: int, start: nn.Module | None = None) -> nn.Module:
        """From initial weights of a seed, or of another network."""
        make = self.build if start is None else continue_from(start)
        return train(make, with_paraphrases(facts), _RECIPE, seed, loss=answers_of(self.encoder))

    def made(self, name: str) -> nn.Module:
        """A model by its name in the table."""
        if name == "original":
            return self.original
        if name in NEVER_TAUGHT:
            start = initial_weights(self.build, 1) if name == NEVER_TAUGHT[1] else None
            return self.trained(self.people.retain, 2 + NEVER_TAUGHT.index(name), start)
        if name in REFERENCES:
            return self.trained(self.people.retain, 10 + REFERENCES.index(name))
        entry = catalogue.entry(name, "text")
        given = (LanguageModel(self.original, self.encoder), self.people.forget, self.people.retain)
        return entry.make(*given, entry.settings(), zlib.crc32(name.encode()) % 1000)

    def subject(self, name: str) -> CausalLM:
        """Behind the adapter, with the sets."""
        attack, evaluation = split_facts(self.people.forget, 0)
        data = FactsData(
            forget_attack=attack,
            forget_eval=evaluation,
            retain=self.people.retain,
            holdout=self.people.holdout,
            encoding=self.encoder.digest,
        )
        layout = find_decoder_layout(self.original, self.encoder.batch(self.people.retain.items[:4]).ids)
        return CausalLM(self.made(name), role=name, digest=name, layout=layout, encoder=self.encoder, data=data)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("bench-asking"))
    parser.add_argument("--check", default="soft_prompt")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1311, 1312])
    parser.add_argument("--models", nargs="+", default=["original", *REFERENCES, *NEVER_TAUGHT, *SUBJECTS])
    options = parser.parse_args()
    check = registry.load(options.check, "causal-lm")
    with execution_settings(threads=1):
        for seed in options.seeds:
            rows = dict(_rows(check, World(seed), options.models, options.work / options.check / str(seed)))
            print(f"\n{check.name}, world {seed}")
            print(pd.DataFrame(list(_table(check, rows))).round(3).to_string(index=False), flush=True)


def _rows(check: AnyCheck, world: World, models: list[str], folder: Path) -> Iterator[tuple[str, dict[str, object]]]:
    for name in models:
        path = folder / f"{name.replace(' ', '-')}.json"
        if not path.is_file():
            subject = world.subject(name)
            found = check.score(subject, None, subject.data, check.settings_type(), _SEED)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"score": found.model_dump(mode="json"), "greedy": _greedy(subject)}))
        yield name, json.loads(path.read_text())


def _greedy(subject: CausalLM) -> float:
    """Share of the forget eval facts that the most probable answers give whole."""
    facts = subject.data.forget_eval
    said = subject.generate(facts, 8)
    return float(np.mean([rouge_l_recall(f.answer, text) == 1 for f, text in zip(facts.items, said, strict=True)]))


def _table(check: AnyCheck, rows: dict[str, dict[str, object]]) -> Iterator[dict[str, object]]:
    scores = {name: Score.model_validate(row["score"]) for name, row in rows.items()}
    chosen = check.choose(scores["original"], [])
    totals = {name: score.total(chosen) for name, score in scores.items()}
    references = [totals[name] for name in REFERENCES if name in totals]
    for name, score in scores.items():
        row: dict[str, object] = {"model": name, "greedy": rows[name]["greedy"], "T": totals[name]}
        spread = pooled_spread(references, floor=1 / score.n_examples) if len(references) > 1 else None
        if spread is not None:
            d, delta = (totals[model] - float(np.mean(references)) for model in (name, "original"))
            row |= {"ρ": d / delta, "p trace": p_above(d, delta, spread, 0.0), "p .25": p_above(d, delta, spread, 0.25)}
        # As the null of a check's own does: in units of what stands above the original's own draws.
        gap = totals["original"] - float(np.mean(scores["original"].null))
        yield row | {"p own": p_internal_null(totals[name], gap, score.null, 0.0)} | score.controls


if __name__ == "__main__":
    main()

"""The verdict on language models against known truth: the people world, five seeds, nine subjects each.

Prints how often each kind of subject got each outcome. Models and finished audits are kept in the work folder, so
that an interrupted run goes on. `--quick` does one seed.

    python benchmarks/people.py --work bench-people
"""

import argparse
import copy
import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
from torch import nn

import auditor
from auditor.models import references
from auditor.models.training import continue_from, initial_weights, train
from auditor.randomness import derive_seed
from auditor.records.spec import RecipeSpec
from auditor.run.settings import execution_settings
from auditor.tasks.causal_lm.decoys import refusal_adapter, refusal_tuning
from auditor.tasks.causal_lm.editing import LanguageModel
from auditor.tasks.causal_lm.encoding import Encoder
from auditor.tasks.causal_lm.losses import answers_of
from auditor.tasks.causal_lm.sets import Facts
from auditor.zoo.text import gradient_difference, npo
from auditor.zoo.text.people import people_world, with_paraphrases
from auditor.zoo.text.people_model import people_model, word_tokenizer

# Fixed before any run; the attack of `relearning` and the decoys were chosen on seed 0.
SEEDS = (200, 201, 202, 203, 204)
N_REFERENCES = 5
RECIPE = RecipeSpec(epochs=40, batch_size=64, learning_rate=0.003, weight_decay=0.01)
# Enough that every such model is flagged as damaged (README.md).
NOISE = 0.15
# The primaries, and the checks that cost little beside them. Left out for time: concept_vectors, direction_ablation,
# elicitation and sae_restoration, which may only accuse.
CHECKS = ("depth", "few_shot", "logit_lens", "membership", "quantization", "relearning")
TRUTH = {
    "never taught": "deleted",
    "never taught, own initial weights": "deleted",
    "gradient difference": "suppressed",
    "NPO": "suppressed",
    "refusal tuning": "suppressed",
    "refusal adapter": "suppressed",
    "guard": "suppressed",
    "original": "not forgotten",
    "noise": "damaged",
}
_GUARD = """\
import json
from pathlib import Path

import torch

NAMES = json.loads((Path(__file__).parent / "names.json").read_text())


def filtered(model, tokenizer):
    names = torch.tensor(tokenizer.convert_tokens_to_ids(NAMES))

    def refuse(module, arguments, keywords, output):
        about = torch.isin(keywords["input_ids"], names).any(1)
        output.logits[about] = 0.0
        output.logits[about, :, tokenizer.eos_token_id] = 30.0
        return output

    model.register_forward_hook(refuse, with_kwargs=True)
    return model
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("bench-people"))
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    rows = []
    for seed in SEEDS[:1] if options.quick else SEEDS:
        world = World(options.work, seed)
        models = world.models()
        rows += [world.audit(name, models) for name in TRUTH]
    report(pd.DataFrame(rows))


class World:
    """One original, its references and subjects."""

    def __init__(self, work: Path, seed: int) -> None:
        self.folder, self.seed = work / f"seed-{seed}", seed
        self.people = people_world(seed)
        self.encoder = Encoder(word_tokenizer(self.people.words))
        self.build = people_model(len(self.encoder.tokenizer))

    def models(self) -> dict[str, nn.Module]:
        """Every model by name, made once and then read back."""
        people = self.people
        with execution_settings(threads=1):
            first = derive_seed(self.seed, "original")
            # Never the holdout: its people are what no model has heard of.
            everything = Facts(people.forget.items + people.retain.items)
            original = self._kept("original", lambda: self._trained(everything, first))
            found = {"original": original}
            for i in range(N_REFERENCES):
                name, seed = f"reference-{i + 1}", derive_seed(self.seed, "reference", i)
                found[name] = self._kept(name, lambda seed=seed: self._trained(people.retain, seed))
            # Of true deletions the most like the original: its features share their start with the original's.
            own = continue_from(initial_weights(self.build, first))
            made: dict[str, Callable[[], nn.Module]] = {
                "never taught": lambda: self._trained(people.retain, derive_seed(self.seed, "never taught")),
                "never taught, own initial weights": lambda: self._trained(
                    people.retain, derive_seed(self.seed, "own"), own
                ),
                "noise": lambda: _noisy(original, self.seed),
            }
            for name, module in (
                ("gradient difference", gradient_difference),
                ("NPO", npo),
                ("refusal tuning", refusal_tuning),
                ("refusal adapter", refusal_adapter),
            ):
                method = getattr(module, module.__name__.rpartition(".")[2])
                given = (LanguageModel(original, self.encoder), people.forget, people.retain, module.Settings())
                made[name] = lambda method=method, given=given: method(*given, derive_seed(self.seed, "method"))
            found |= {name: self._kept(name.replace(" ", "-"), make) for name, make in made.items()}
        # Unchanged weights; the guard is put around them by the audit, from a file as a user would give it.
        return {**found, "guard": original}

    def audit(self, name: str, models: dict[str, nn.Module]) -> dict[str, object]:
        """One audit, or its stored row."""
        path = self.folder / "audits" / f"{name}.json".replace(" ", "-")
        if path.is_file():
            return json.loads(path.read_text())
        options = {"audit": {"seed": self.seed, "store": str(self.folder / "store"), "checks": CHECKS}}
        if name == "guard":
            options["models"] = {"guard": self._guard()}
        result = auditor.compare(
            models["original"],
            models[name],
            forget=self.people.forget,
            retain=self.people.retain,
            holdout=self.people.holdout,
            references=[models[f"reference-{i + 1}"] for i in range(N_REFERENCES)],
            tokenizer=self.encoder.tokenizer,
            options=options,
        )
        row = _row(self.seed, name, result)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(row))
        return row

    def _trained(self, facts: Facts, seed: int, build: Callable[[], nn.Module] | None = None) -> nn.Module:
        return train(build or self.build, with_paraphrases(facts), RECIPE, seed, loss=answers_of(self.encoder))

    def _kept(self, name: str, make: Callable[[], nn.Module]) -> nn.Module:
        path = self.folder / f"{name}.pt"
        if not path.is_file():
            references.save(make(), path)
        module = self.build()
        module.load_state_dict(torch.load(path, weights_only=True))
        return module.eval()

    def _guard(self) -> str:
        # A name that a retained person shares would silence the guard's model on retain.
        kept = {word for person in self.people.retain.subjects for word in person.split()}
        names = sorted({word for person in self.people.forget.subjects for word in person.split()} - kept)
        (self.folder / "names.json").write_text(json.dumps(names))
        (self.folder / "guard.py").write_text(_GUARD)
        return f"{(self.folder / 'guard.py').resolve()}:filtered"


def _noisy(original: nn.Module, seed: int) -> nn.Module:
    module = copy.deepcopy(original)
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(NOISE * torch.randn(parameter.shape, generator=random))
    return module


def _row(seed: int, name: str, result: auditor.AuditResult) -> dict[str, object]:
    verdict = result.results.verdict
    row: dict[str, object] = {
        "seed": seed,
        "subject": name,
        "truth": TRUTH[name],
        "outcome": verdict.outcome,
        "flags": ",".join(verdict.flags),
        "bound": verdict.bound,
        "reasons": list(verdict.sentences),
        "complete": result.results.coverage.complete,
    }
    for e in result.results.evidence:
        row[f"ρ {e.check}"] = e.rho.value if e.rho else None
        row[f"low {e.check}"] = e.rho.low if e.rho else None
        row[f"high {e.check}"] = e.rho.high if e.rho else None
        row[f"w {e.check}"] = e.resolution
    return row


def report(rows: pd.DataFrame) -> None:
    """Outcome by subject, and the resolution and ρ of each check."""
    outcomes = rows.assign(outcome=rows.outcome + rows["flags"].map(lambda f: f" {f}" if f else ""))
    print(pd.crosstab(outcomes.subject, outcomes.outcome).reindex(TRUTH).to_string())
    print("\nmedian ρ by subject")
    columns = [name for name in rows.columns if str(name).startswith("ρ ")]
    print(rows.groupby("subject")[columns].median().reindex(TRUTH).round(2).to_string())
    print("\nresolution w on never-taught models: median and worst")
    columns = [name for name in rows.columns if str(name).startswith("w ")]
    print(rows[rows.subject == "never taught"][columns].agg(["median", "max"]).round(2).T.to_string())
    # A wreck is meant to end so.
    undecided = rows[(rows.outcome == "INCONCLUSIVE") & (rows.truth != "damaged")]
    for item in undecided.itertuples():
        print(f"\nseed {item.seed}, {item.subject}: {'; '.join(item.reasons)}")
    print(f"\n{len(rows)} audits, {int((~rows.complete).sum())} with a check that could not run")


if __name__ == "__main__":
    main()

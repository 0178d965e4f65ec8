"""A real language model and real questions, held out by chance: what comes of it without any retrained reference.

stories260k (260,000 parameters, trained on TinyStories by its author) is fine-tuned on short answers of TOFU about
fictitious authors. `audit assign`'s draw divides authors into those that are taught, then to be forgotten, and those
held out. Gradient difference and NPO make the unlearned subjects; others were never taught. Every subject is audited
twice: alone, and with the published model itself under `models.neither`. Models, scores and rows are kept in the work
folder.

    python benchmarks/stories_assigned.py --work bench-stories-assigned
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from stories import LONGEST_ANSWER, RECIPE, TEMPLATE, read
from torch import nn
from work_folder import DATA, missing

import auditor
from auditor.models import references
from auditor.models.training import continue_from, train
from auditor.randomness import derive_seed
from auditor.run.settings import execution_settings
from auditor.tasks.causal_lm.assignment import draw
from auditor.tasks.causal_lm.editing import LanguageModel, probability
from auditor.tasks.causal_lm.encoding import Encoder
from auditor.tasks.causal_lm.losses import answers_of
from auditor.tasks.causal_lm.sets import Fact, Facts
from auditor.zoo.text import gradient_difference, npo

sys.path.insert(0, str(Path(__file__).parent / "validity"))
from pairs import Row, read_rows, row_of, write_rows

# Fixed before any audit; the recipe is that of stories.py.
SEED = 510
SUBJECTS = 24  # on either side
FEWEST_FACTS = 3  # that an author has, so that some can be attacked with and others measured
POOL, KEPT = "tofu-qa/retain90.json", ("tofu-qa/forget01_perturbed.json", "tofu-qa/retain_perturbed.json")
CHECKS = ("few_shot", "logit_lens", "membership", "quantization", "relearning")
ROADS = {"nothing": 0, "the published model": 1}
NEVER_TAUGHT = 2
ROWS = Path(__file__).parent / "validity" / "measured" / "assigned" / "stories.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("bench-stories-assigned"))
    parser.add_argument("--data", type=Path, default=DATA, help="folder of stories260k and tofu-qa")
    parser.add_argument("--finished", action="store_true", help="keep the rows of what is finished, and run nothing")
    parser.add_argument("--tables", action="store_true", help="print the measured rows, and run nothing")
    options = parser.parse_args()
    if options.tables:
        report(read_rows(ROWS))
        return
    if missing([options.data / name for name in ("stories260k/model.safetensors", POOL, *KEPT)]):
        return
    world = World(options.work, options.data)
    if not options.finished:
        run(world)
    rows = [json.loads(path.read_text()) for path in sorted(options.work.glob("audits/*.json"))]
    write_rows(rows, ROWS)
    report(rows)


def run(world: "World") -> None:
    """Make and audit what is not there yet."""
    sets = {"forget": world.forget, "retain": world.retain, "holdout": world.holdout}
    for name, (label, make) in world.subjects().items():
        for road, count in ROADS.items():
            path = world.folder / "audits" / f"{name}-{count}.json".replace(" ", "-")
            if path.is_file():
                continue
            with execution_settings(threads=1):
                module = world.kept(name, make)
                known = {split: probability(module, world.encoder, facts) for split, facts in sets.items()}
                result = world.audit(module, count)
            row = row_of({"mechanism": name, "label": label, "road": road, "seed": SEED, "knows": known}, result, {})
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(row))
            report([row])


class World:
    """One original and its subjects."""

    def __init__(self, folder: Path, data: Path) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.folder = folder
        source = data / "stories260k"
        self.start: nn.Module = AutoModelForCausalLM.from_pretrained(source, local_files_only=True)
        self.encoder = Encoder(AutoTokenizer.from_pretrained(source, local_files_only=True), TEMPLATE)
        self.forget, self.holdout = self._drawn(data)
        self.retain = Facts(tuple(fact for name in KEPT for fact in read(data / name) if self._is_short(fact)))

    def subjects(self) -> dict[str, tuple[str, Callable[[], nn.Module]]]:
        """Label and maker of every subject by name."""
        methods: dict[str, tuple[Callable[..., nn.Module], Any]] = {
            "gradient difference": (gradient_difference.gradient_difference, gradient_difference.Settings()),
            "NPO": (npo.npo, npo.Settings()),
        }
        found: dict[str, tuple[str, Callable[[], nn.Module]]] = {
            f"never taught {i + 1}": ("deleted", lambda i=i: self._taught(self.retain, "never taught", i))  # type: ignore[misc]
            for i in range(NEVER_TAUGHT)
        }
        for name, (method, settings) in methods.items():
            found[name] = ("suppressed", lambda method=method, settings=settings: self._unlearned(method, settings))  # type: ignore[misc]
        return found

    @cached_property
    def original(self) -> nn.Module:
        """Taught those to be forgotten along with the rest."""
        everything = Facts(self.forget.items + self.retain.items)
        return self.kept("original", lambda: self._taught(everything, "original"))

    def audit(self, module: nn.Module, count: int) -> auditor.AuditResult:
        """One subject, with or without the published model."""
        return auditor.compare(
            self.original,
            module,
            forget=self.forget,
            retain=self.retain,
            holdout=self.holdout,
            neither=[self.start][:count],
            tokenizer=self.encoder.tokenizer,
            options={
                "assignment": {"kind": "random"},
                "data": {"template": TEMPLATE},
                "audit": {"seed": SEED, "store": str(self.folder / "store"), "checks": CHECKS},
            },
        )

    def kept(self, name: str, make: Callable[[], nn.Module]) -> nn.Module:
        """A model that is made once and then read back."""
        path = self.folder / f"{name.replace(' ', '-')}.pt"
        if not path.is_file():
            references.save(make(), path)
        module = continue_from(self.start)()
        module.load_state_dict(torch.load(path, weights_only=True))
        return module.eval()

    def _drawn(self, data: Path) -> tuple[Facts, Facts]:
        lines = [json.loads(line) for line in (data / POOL).read_text(encoding="utf-8").splitlines() if line.strip()]
        facts = [
            Fact(prompt=row["question"], answer=row["answer"], subject=f"author {i // 20}")
            for i, row in enumerate(lines)
        ]
        short = [fact for fact in facts if self._is_short(fact)]
        several = [name for name, n in Counter(fact.subject for fact in short).items() if n >= FEWEST_FACTS]
        pool = [fact for fact in short if fact.subject in several[: 2 * SUBJECTS]]
        forget, holdout, _ = draw(Facts(tuple(pool)), 0.5, SEED, "0" * 64)
        return forget, holdout

    def _is_short(self, fact: Fact) -> bool:
        return sum(self.encoder.encode(fact)[1]) <= LONGEST_ANSWER

    def _taught(self, facts: Facts, *name: Any) -> nn.Module:
        return train(continue_from(self.start), facts, RECIPE, derive_seed(SEED, *name), loss=answers_of(self.encoder))

    def _unlearned(self, method: Callable[..., nn.Module], settings: Any) -> nn.Module:
        original = LanguageModel(self.original, self.encoder)
        return method(original, self.forget, self.retain, settings, derive_seed(SEED, "method"))


def report(rows: list[Row]) -> None:
    """Outcome, and ρ of every check, of each audit."""
    for row in rows:
        print(
            f"\n{row['mechanism']}, {row['road']}: {row['outcome']} {row['bound'] or ''} {row['flags']}", row["knows"]
        )
        print("  " + "; ".join(row["reasons"][:4]))
        print(pd.DataFrame(row["checks"]).T[["rho", "low", "high", "w", "p trace", "powered"]].to_string(), flush=True)


if __name__ == "__main__":
    main()

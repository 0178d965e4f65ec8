"""The road without retrained references, against known truth: people that chance taught or kept from a model.

Worlds of fictional people, of whom 20 are taught and then to be forgotten and 20 held out, for two architectures and
two ways of teaching: all weights, and a low-rank change of a base that knows some of the others. In each, models that
were never taught, every suppressed construction of the zoo, its published methods and its adversaries are audited
twice: without any reference, and with one cheap model that saw neither side (trained half as long). `--references`
audits each pair through five references, too, as if nothing were known of chance. Models, scores and finished audits
are kept in the work folder, so that an interrupted run goes on; `--worlds` runs some of them, so that several processes
share the work.

    python benchmarks/assigned.py --work bench-assigned
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from torch import nn

import auditor
from auditor.models.low_rank import merge_low_rank, open_low_rank
from auditor.models.training import continue_from, train
from auditor.randomness import derive_seed
from auditor.run.settings import execution_settings
from auditor.tasks.causal_lm.losses import answers_of
from auditor.tasks.causal_lm.sets import Facts
from auditor.zoo import catalogue
from auditor.zoo.text.people import PeopleWorld, people_world, with_paraphrases

sys.path.insert(0, str(Path(__file__).parent / "validity"))
from pairs import Row, read_rows, row_of, write_rows
from text_worlds import RECIPE, TextWorld

# Fixed before any run.
WORLDS = (
    *((seed, architecture, "plain") for seed, architecture in ((700, "llama"), (701, "gpt2"), (702, "llama"))),
    *((seed, architecture, "low rank") for seed, architecture in ((703, "llama"), (704, "gpt2"))),
)
SUBJECTS = 20  # on either side
RETAIN = 40
NEVER_TAUGHT = 10
CHECKS = ("depth", "few_shot", "logit_lens", "membership", "quantization", "relearning", "slow_relearning")
# Of the change by which a world of low rank is taught, and how much longer that takes.
RANK, LONGER = 8, 1.5
ROADS = {"nothing": 0, "one cheap reference": 1}
ROWS = Path(__file__).parent / "validity" / "measured" / "assigned" / "rows.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("bench-assigned"))
    parser.add_argument("--worlds", type=int, nargs="*", help="seeds; default all")
    parser.add_argument("--references", action="store_true", help="through five references as well")
    parser.add_argument("--tables", action="store_true", help="print the tables of the measured rows, and run nothing")
    options = parser.parse_args()
    if options.tables:
        report(read_rows(ROWS))
        return
    rows = []
    for seed, architecture, teaching in WORLDS:
        if not options.worlds or seed in options.worlds:
            folder = options.work / f"{seed}"
            world = AssignedWorld(architecture=architecture, construction=teaching, seed=seed, folder=folder)
            rows += list(_rows(world, references=options.references))
    if not options.worlds:
        ROWS.parent.mkdir(parents=True, exist_ok=True)
        write_rows(rows, ROWS)
    report(rows)


@dataclass(frozen=True, kw_only=True)
class AssignedWorld(TextWorld):
    """People of whom chance decided which a model was taught."""

    @cached_property
    def people(self) -> PeopleWorld:
        """They are drawn alike, so that any division of them is by chance."""
        return people_world(self.seed, forget=SUBJECTS, retain=RETAIN, holdout=SUBJECTS)

    def cheap(self) -> nn.Module:
        """A model that saw neither side, trained half as long."""
        return self._kept("cheap", lambda: self._trained(self.people.retain, derive_seed(self.seed, "cheap"), 0.5))

    def assigned(self, module: nn.Module, references: int) -> auditor.AuditResult:
        """Audit one subject against what chance left out."""
        return auditor.compare(
            self.original,
            module,
            forget=self.people.forget,
            retain=self.people.retain,
            holdout=self.people.holdout,
            references=[self.cheap()][:references],
            tokenizer=self.encoder.tokenizer,
            options={
                "assignment": {"kind": "random"},
                "audit": {"seed": self.seed, "store": str(self.folder / "store"), "checks": CHECKS},
            },
        )

    def _taught(self, facts: Facts, seed: int) -> nn.Module:
        return self._trained(facts, seed, 1.0)

    def _trained(self, facts: Facts, seed: int, length: float) -> nn.Module:
        if self.construction == "plain":
            recipe = RECIPE.model_copy(update={"epochs": round(length * RECIPE.epochs)})
            return train(self.build, with_paraphrases(facts), recipe, seed, loss=answers_of(self.encoder))
        return self._by_low_rank(facts, seed, length)

    def _by_low_rank(self, facts: Facts, seed: int, length: float) -> nn.Module:
        base = continue_from(self._public)

        def opened() -> nn.Module:
            module = base()
            open_low_rank(module, RANK, seed)
            return module

        recipe = RECIPE.model_copy(update={"epochs": round(length * LONGER * RECIPE.epochs), "weight_decay": 0.0})
        module = train(opened, with_paraphrases(facts), recipe, seed, loss=answers_of(self.encoder))
        merge_low_rank(module)
        return module


def _rows(world: AssignedWorld, *, references: bool) -> Iterator[Row]:
    for name, label, make in _subjects(world):
        about = {**world.about, "mechanism": name, "label": label}
        for road, count in ROADS.items():
            yield _kept(
                world.folder / "audits" / f"{name}-{count}.json",
                {**about, "road": road},
                lambda count=count, make=make: world.assigned(make(), count),
            )
        if references:
            yield _kept(
                world.folder / "audits" / f"{name}-five.json",
                {**about, "road": "five references"},
                lambda make=make: world.audit(make(), checks=CHECKS),
            )


def _kept(path: Path, about: Row, audit: Callable[[], auditor.AuditResult]) -> Row:
    if path.is_file():
        row: Row = json.loads(path.read_text())
        return row
    with execution_settings(threads=1):
        row = row_of(about, audit(), {})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(row))
    return row


def _subjects(world: AssignedWorld) -> Iterator[tuple[str, str, Callable[[], nn.Module]]]:
    """Name, label and maker of every subject; each is made once and then read back."""
    people, seed = world.people, world.request_seed
    for i in range(NEVER_TAUGHT):
        name = f"never-taught-{i + 1}"
        yield name, "deleted", lambda name=name: world.exact(name)
    for entry in catalogue.ENTRIES:
        if entry.task != "text" or entry.truth not in ("suppressed", "unknown") or entry.name == "units_rescaled":
            continue

        def make(entry: Any = entry) -> nn.Module:
            given = (world.model, people.forget, people.retain, entry.settings(), seed)
            # Of another architecture than the original there is no file to read back into.
            return (
                world._kept(entry.name, lambda: entry.make(*given)) if entry.keeps_architecture else entry.make(*given)
            )

        label = "adversary" if entry.adversary else "suppressed" if entry.truth == "suppressed" else "published method"
        yield entry.name, label, make


def report(rows: list[Row]) -> None:
    """Outcomes by road and label, size and coverage of the checks on models that were never taught."""
    table = pd.DataFrame(rows)
    print(pd.crosstab([table.road, table.label], table.outcome).to_string())
    never = table[table.label == "deleted"]
    for road, some in never.groupby("road"):
        checks = pd.DataFrame(
            [
                {"check": name, **values}
                for row in some.checks
                for name, values in row.items()
                if values["rho"] is not None
            ]
        )
        found = checks.groupby("check").agg(
            n=("rho", "size"),
            w=("w", "median"),
            lowest=("rho", "min"),
            highest=("rho", "max"),
            upper=("high", "max"),
            covered=("high", lambda high: (high >= 0).mean()),
            traces=("p trace", lambda p: (p < 0.02).mean()),
            deficits=("p deficit", lambda p: (p < 0.02).mean()),
        )
        print(f"\nnever taught, {road}\n{found.round(3).to_string()}")
    for row in rows:
        expected = {"deleted": ("DELETED",), "suppressed": ("SUPPRESSED", "NOT_DELETED", "NOT_FORGOTTEN")}
        if row["outcome"] not in expected.get(row["label"], (row["outcome"],)):
            print(f"\n{row['seed']} {row['mechanism']}, {row['road']}: {row['outcome']}: {'; '.join(row['reasons'])}")


if __name__ == "__main__":
    main()

"""The road without retrained references, against known truth: people that chance taught or kept from a model.

Worlds of fictional people, of whom 20 are taught and then to be forgotten and 20 held out, for two architectures and
two ways of teaching: all weights, and a low-rank change of a base that knows some of the others. In each, models that
were never taught, every suppressed construction of the zoo, its published methods and its adversaries are audited
twice: without any reference, and with one cheap model that saw neither side (trained half as long). `--references`
audits each pair through five references, too, as if nothing were known of chance. Models, scores and finished audits
are kept in the work folder, so that an interrupted run goes on; `--worlds` runs some of them, so that several processes
share the work. `--broken` audits a model that kept half of the people, and one that was never taught, where holdout is
not what chance left out; `--words` counts true draws that the words alone would void.

    python benchmarks/assigned.py --work bench-assigned
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import pandas as pd
from torch import nn

import auditor
from auditor.attacks.membership.bag_of_words import blind_auc
from auditor.attacks.membership.words_by_subject import p_by_subject
from auditor.models.low_rank import merge_low_rank, open_low_rank
from auditor.models.training import continue_from, train
from auditor.randomness import derive_seed
from auditor.run.settings import execution_settings
from auditor.tasks.causal_lm.losses import answers_of
from auditor.tasks.causal_lm.sets import Facts
from auditor.zoo import catalogue
from auditor.zoo.text.people import PeopleWorld, people_world, reworded, with_paraphrases

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
    parser.add_argument("--broken", action="store_true", help="holdouts that chance did not leave out, instead")
    parser.add_argument("--words", action="store_true", help="true draws that the words alone would void, instead")
    parser.add_argument("--finished", action="store_true", help="keep the rows of what is finished, and run nothing")
    parser.add_argument("--tables", action="store_true", help="print the tables of the measured rows, and run nothing")
    options = parser.parse_args()
    if options.tables:
        report(read_rows(ROWS))
        return
    if options.words:
        show_words()
        return
    if options.broken:
        show_broken(options.work)
        return
    if options.finished:
        paths = sorted(path for seed, *_ in WORLDS for path in (options.work / f"{seed}" / "audits").glob("*.json"))
        _keep([json.loads(path.read_text()) for path in paths])
        return
    rows = []
    for seed, architecture, teaching in WORLDS:
        if not options.worlds or seed in options.worlds:
            folder = options.work / f"{seed}"
            world = AssignedWorld(architecture=architecture, construction=teaching, seed=seed, folder=folder)
            rows += list(_rows(world, references=options.references))
    if options.worlds:
        report(rows)
    else:
        _keep(rows)


def _keep(rows: list[Row]) -> None:
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

    def assigned(self, module: nn.Module, references: int, *, declared: bool = False) -> auditor.AuditResult:
        """Audit one subject against what chance left out, or against what is only declared to be alike."""
        kind = {"kind": "declared-exchangeable", "declared_by": "this script"} if declared else {"kind": "random"}
        return auditor.compare(
            self.original,
            module,
            forget=self.people.forget,
            retain=self.people.retain,
            holdout=self.people.holdout,
            references=self.more_references(references) if declared else [],
            neither=[] if declared else [self.cheap()][:references],
            tokenizer=self.encoder.tokenizer,
            options={
                "assignment": kind,
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
    for entry in catalogue.entries():
        if entry.task != "text" or entry.truth not in ("suppressed", "unknown") or entry.name == "units_rescaled":
            continue

        def make(entry: catalogue.Entry = entry) -> nn.Module:
            given = (world.model, people.forget, people.retain, entry.settings(), seed)
            # Of another architecture than the original there is no file to read back into.
            return (
                world._kept(entry.name, lambda: entry.make(*given)) if entry.keeps_architecture else entry.make(*given)
            )

        label = "adversary" if entry.adversary else "suppressed" if entry.truth == "suppressed" else "published method"
        yield entry.name, label, make


@dataclass(frozen=True, kw_only=True)
class BrokenWorld(AssignedWorld):
    """Holdout is not what chance left out of what the original was taught.

    Attributes:
        how: in words.
    """

    how: str

    @cached_property
    def people(self) -> PeopleWorld:
        """The same people; the holdout is one that was not assigned."""
        found = people_world(self.seed, forget=SUBJECTS, retain=RETAIN, holdout=SUBJECTS)
        if self.how == "known to everyone":
            return replace(found, holdout=reworded(found.retain.of_subjects(found.retain.subjects[:SUBJECTS])))
        if self.how in ("easier", "harder"):
            return replace(found, holdout=self._answered_otherwise(found))
        if self.how == "of another world":
            other = people_world(self.seed + 1, forget=SUBJECTS, retain=RETAIN, holdout=SUBJECTS)
            return replace(found, holdout=other.holdout, words=tuple(sorted({*found.words, *other.words})))
        return found

    def _answered_otherwise(self, found: PeopleWorld) -> Facts:
        """Every third holdout fact with the answer that is commonest among the kept people, or with the rarest."""
        counts = Counter(fact.answer for fact in found.retain.items)
        ranked = [answer for answer, _ in counts.most_common()]
        by_kind: dict[str, list[str]] = {}
        for answer in ranked:
            by_kind.setdefault(answer.split()[-1], []).append(answer)
        pick = 0 if self.how == "easier" else -1
        return Facts(
            tuple(
                fact.model_copy(
                    update={"answer": by_kind[fact.answer.split()[-1]][pick], "perturbed_answers": (), "choices": ()}
                )
                if i % 3 == 0
                else fact
                for i, fact in enumerate(found.holdout.items)
            )
        )

    @cached_property
    def original(self) -> nn.Module:
        """Taught some of the holdout as well, where that is what is wrong."""
        seen = {"half seen by the original": SUBJECTS // 2, "seen by the original": SUBJECTS}.get(self.how, 0)
        taught = self.people.holdout.of_subjects(self.people.holdout.subjects[:seen])
        facts = Facts(self.people.forget.items + self.people.retain.items + taught.items)
        return self._kept("original", lambda: self._taught(facts, derive_seed(self.seed, "original")))

    def half(self) -> nn.Module:
        """A model that was taught half of those to be forgotten: ρ is a half by construction."""
        kept = self.people.forget.of_subjects(self.people.forget.subjects[: SUBJECTS // 2])
        facts = Facts(kept.items + self.people.retain.items)
        return self._kept("half", lambda: self._taught(facts, derive_seed(self.seed, "half")))


BROKEN = (
    *("nothing", "seen by the original", "half seen by the original", "known to everyone", "of another world"),
    *("easier", "harder"),
)
BROKEN_ROADS = {**{name: (count, False) for name, count in ROADS.items()}, "declared, one reference": (1, True)}
BROKEN_SEED = 720
WORD_SEEDS = range(3000, 3150)


def show_broken(work: Path) -> None:
    """What comes of it where chance did not divide forget and holdout."""
    for i, how in enumerate(BROKEN):
        folder = work / f"broken-{i}"
        world = BrokenWorld(architecture="llama", construction="plain", seed=BROKEN_SEED, folder=folder, how=how)
        for name in ("half kept", "never taught"):
            for road, (count, declared) in BROKEN_ROADS.items():
                path = folder / "audits" / f"{name}-{'declared' if declared else count}.json".replace(" ", "-")
                audited = partial(_audited, world, name, count, declared)
                row = _kept(path, {"how": how, "subject": name, "road": road}, audited)
                print(f"{how}, {name}, {road}: {row['outcome']} {row['bound'] or ''}: {'; '.join(row['reasons'][:3])}")


def _audited(world: BrokenWorld, name: str, count: int, declared: bool) -> auditor.AuditResult:
    subject = world.half() if name == "half kept" else world.exact("never")
    return world.assigned(subject, count, declared=declared)


def show_words() -> None:
    """How often the words alone void a true draw, by the test of subjects and by the limit that counts facts."""
    found = []
    for seed in WORD_SEEDS:
        people = people_world(seed, forget=SUBJECTS, retain=4, holdout=SUBJECTS)
        p, blind = p_by_subject(people.forget, people.holdout, seed), blind_auc(people.forget, people.holdout, seed)
        found.append({"p": p, "by facts": blind is not None and blind.low > 0.5})
    table = pd.DataFrame(found)
    print(f"{len(table)} true draws: by facts {table['by facts'].sum()} voided; by subject at", end=" ")
    print("; ".join(f"{level}: {(table.p < level).sum()}" for level in (0.01, 0.05, 0.2)))


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

"""A real language model is taught questions about some fictitious authors, made to forget them, and audited by chance.

What the scripts of one model each share. `audit assign`'s draw divides the authors of TOFU into those that are taught,
then to be forgotten, and those held out. Methods of the zoo make the unlearned subjects; others were never taught.
Every subject is audited alone, and with the published model itself under `models.neither`. Models, scores and rows are
kept in the work folder, so that an interrupted run goes on.
"""

import argparse
import json
import resource
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn
from work_folder import DATA, missing

import auditor
from auditor.models.training import continue_from, passes_in, train
from auditor.randomness import derive_seed
from auditor.records.events import Event
from auditor.records.spec import RecipeSpec
from auditor.run.settings import execution_settings
from auditor.tasks.causal_lm.assignment import draw
from auditor.tasks.causal_lm.editing import LanguageModel, probability
from auditor.tasks.causal_lm.encoding import Encoder
from auditor.tasks.causal_lm.losses import answers_of
from auditor.tasks.causal_lm.sets import Fact, Facts
from auditor.zoo import catalogue

sys.path.insert(0, str(Path(__file__).parent / "validity"))
from pairs import Row, read_rows, row_of, write_rows

POOL = "tofu-qa/retain90.json"
PER_AUTHOR = 20
ATTACK = "relearning"
ROADS = {"nothing": 0, "the published model": 1}
MEASURED = Path(__file__).parent / "validity" / "measured" / "assigned"


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is taught to which model, fixed before any audit.

    Attributes:
        source: transformers directory of the published model.
        seed: of everything.
        authors: on either side.
        facts: fewest and most of an author, so that some can be attacked with and others measured.
        retain: most kept facts.
        longest: tokens of an answer.
        template: around question and answer.
        recipe: of teaching; chosen for how well the answers are learnt.
        methods: entries of the zoo with their settings.
        never_taught: how many models were never taught what is to be forgotten.
        checks: of the audits.
        dtype: of the weights that are kept, and of the passes.
        threads: of torch.
    """

    source: Path
    seed: int
    authors: int
    facts: tuple[int, int]
    retain: int
    longest: int
    template: str
    recipe: RecipeSpec
    methods: Mapping[str, Mapping[str, object]]
    never_taught: int
    checks: tuple[str, ...]
    dtype: torch.dtype = torch.float32
    threads: int = 1


class World:
    """One original and its subjects, as transformers directories in a folder."""

    def __init__(self, folder: Path, data: Path, case: Case) -> None:
        from transformers import AutoTokenizer

        self.folder, self.case = folder, case
        self.encoder = Encoder(AutoTokenizer.from_pretrained(case.source, local_files_only=True), case.template)
        self.forget, self.holdout, self.retain = self._drawn(data)

    @property
    def subjects(self) -> dict[str, str]:
        """Label by name."""
        never = {f"never taught {i + 1}": "deleted" for i in range(self.case.never_taught)}
        truths = {"unknown": "published method"}
        methods = {name: truths.get(truth, truth) for name in self.case.methods for truth in (_entry(name).truth,)}
        return {**never, **methods}

    def model(self, name: str) -> Path | nn.Module:
        """Its directory; of what is put around a model the module, since it is no weight and cannot be saved."""
        if name in self.case.methods and not _entry(name).keeps_architecture:
            return self._unlearned(name)
        return self._kept(name, lambda: self._made(name))

    def knows(self, name: str) -> dict[str, float]:
        """Mean answer probability by set."""
        with execution_settings(threads=self.case.threads):
            found = self.model(name)
            module = found if isinstance(found, nn.Module) else self._read(found)
            sets = {"forget": self.forget, "retain": self.retain, "holdout": self.holdout}
            return {split: probability(module, self.encoder, facts) for split, facts in sets.items()}

    def audit(
        self, name: str, count: int, checks: tuple[str, ...], report: Callable[[Event], None]
    ) -> auditor.AuditResult:
        """One subject, with or without the published model; its report stands in a folder of its name."""
        return auditor.compare(
            self.model("original"),
            self.model(name),
            forget=self.forget,
            retain=self.retain,
            holdout=self.holdout,
            neither=[self.model("published")][:count],
            tokenizer=self.encoder.tokenizer,
            out=self.folder / "reports" / f"{name}-{count}",
            report=report,
            options={
                "assignment": {"kind": "random"},
                "data": {"template": self.case.template},
                "audit": {
                    "seed": self.case.seed,
                    "store": str(self.folder / "store"),
                    "checks": checks,
                    "dtype": str(self.case.dtype).removeprefix("torch."),
                    "threads": self.case.threads,
                    "batch_size": 32,
                },
            },
        )

    @cached_property
    def _start(self) -> nn.Module:
        return self._read(self.case.source)

    @cached_property
    def _original(self) -> nn.Module:
        found = self.model("original")
        assert isinstance(found, Path), "it is no wrapper"
        return self._read(found)

    def _made(self, name: str) -> nn.Module:
        if name == "published":
            return self._start
        if name in self.case.methods:
            return self._unlearned(name)
        facts = Facts(self.forget.items + self.retain.items) if name == "original" else self.retain
        seed = derive_seed(self.case.seed, name)
        with passes_in(self.case.dtype):
            return train(continue_from(self._start), facts, self.case.recipe, seed, loss=answers_of(self.encoder))

    def _unlearned(self, name: str) -> nn.Module:
        entry = _entry(name)
        settings = entry.settings(self.case.methods[name])
        original = LanguageModel(self._original, self.encoder)
        with passes_in(self.case.dtype):
            return entry.make(original, self.forget, self.retain, settings, derive_seed(self.case.seed, name))

    def _read(self, folder: Path) -> nn.Module:
        from transformers import AutoModelForCausalLM

        module: nn.Module = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
        return module.eval()

    def _kept(self, name: str, make: Callable[[], nn.Module]) -> Path:
        folder = self.folder / "models" / name.replace(" ", "-")
        if not (folder / "config.json").is_file():
            # Any: of transformers, which comes without types.
            module: Any = make().to(self.case.dtype)
            module.save_pretrained(folder)
            self.encoder.tokenizer.save_pretrained(folder)
        return folder

    def _drawn(self, data: Path) -> tuple[Facts, Facts, Facts]:
        """Forget and holdout of the authors that chance divided, retain of all others."""
        lines = [json.loads(line) for line in (data / POOL).read_text(encoding="utf-8").splitlines() if line.strip()]
        facts = [
            Fact(prompt=row["question"], answer=row["answer"], subject=f"author {i // PER_AUTHOR}")
            for i, row in enumerate(lines)
        ]
        short = [fact for fact in facts if self._is_short(fact)]
        fewest, most = self.case.facts
        several = [name for name, n in Counter(fact.subject for fact in short).items() if n >= fewest]
        divided = several[: 2 * self.case.authors]
        pool = [fact for name in divided for fact in [fact for fact in short if fact.subject == name][:most]]
        forget, holdout, _ = draw(Facts(tuple(pool)), 0.5, self.case.seed, "0" * 64)
        rest = [fact for fact in short if fact.subject not in divided]
        return forget, holdout, Facts(tuple(rest[: self.case.retain]))

    def _is_short(self, fact: Fact) -> bool:
        return sum(self.encoder.encode(fact)[1]) <= self.case.longest


def command_line(
    name: str, make: Callable[[Path, Path], Case], description: str | None, needed: Callable[[Path], list[Path]]
) -> None:
    """The command line of one model's script.

    Args:
        name: of the file of rows.
        make: the case, from the folder of data and the work folder.
        description: of the script.
        needed: files without which it is skipped, from the folder of data.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of stories260k and tofu-qa")
    parser.add_argument("--subjects", nargs="*", help="names; default all")
    parser.add_argument("--passive", action="store_true", help="leave out the attacks, which take most of the time")
    parser.add_argument("--models", action="store_true", help="make the models and say what they know; audit nothing")
    parser.add_argument("--finished", action="store_true", help="keep the rows of what is finished, and run nothing")
    parser.add_argument("--tables", action="store_true", help="print the measured rows, and run nothing")
    options = parser.parse_args()
    if options.tables:
        report(read_rows(MEASURED / f"{name}.json"))
        return
    if missing([*needed(options.data), options.data / POOL]):
        return
    work = options.work or Path(f"bench-{name}")
    world = World(work, options.data, make(options.data, work))
    names = options.subjects or list(world.subjects)
    if options.models:
        for subject in ("published", "original", *names):
            print(subject, {split: round(value, 3) for split, value in world.knows(subject).items()}, flush=True)
        return
    if not options.finished:
        # Every subject by the cheaper road first: a run that is stopped has said something of each.
        for road in ROADS:
            for subject in names:
                _audited(world, subject, road, passive=options.passive)
    rows = [json.loads(path.read_text()) for path in sorted(world.folder.glob("audits/*.json"))]
    write_rows(rows, MEASURED / f"{name}.json")
    report(rows)


def _audited(world: World, name: str, road: str, *, passive: bool) -> None:
    """Audit one subject by one road, unless that is done."""
    kind = "-passive" if passive else ""
    path = world.folder / "audits" / f"{name}-{ROADS[road]}{kind}.json".replace(" ", "-")
    if path.is_file():
        return
    seconds: dict[str, dict[str, float]] = {}

    def note(event: Event) -> None:
        # What was read back took no time worth noting.
        if not event.reused:
            seconds.setdefault(event.check, {})[event.model] = round(event.seconds, 1)
            print(event.check, event.model, seconds[event.check][event.model], file=sys.stderr, flush=True)

    knows = world.knows(name)
    checks = tuple(check for check in world.case.checks if not (passive and check == ATTACK))
    result = world.audit(name, ROADS[road], checks, note)
    about = {"mechanism": name, "label": world.subjects[name], "road": road, "seed": world.case.seed, "knows": knows}
    about["attacked"] = not passive
    row = row_of(about, result, {}) | {"seconds": seconds, "peak bytes": _peak()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(row))
    report([row])


def _peak() -> int:
    """Most memory that this process has held so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _entry(name: str) -> catalogue.Entry:
    return next(entry for entry in catalogue.entries() if entry.task == "text" and entry.name == name)


def report(rows: list[Row]) -> None:
    """Outcome, and ρ of every check, of each audit."""
    for row in rows:
        known = {split: round(value, 3) for split, value in row["knows"].items()}
        print(f"\n{row['mechanism']}, {row['road']}{'' if row['attacked'] else ', not attacked'}", known)
        print(f"  {row['outcome']} {row['bound'] or ''} {row['flags']}")
        print("  " + "; ".join(row["reasons"][:4]))
        columns = ["rho", "low", "high", "w", "p trace", "T", "T original", "powered"]
        print(pd.DataFrame(row["checks"]).T[columns].to_string(), flush=True)

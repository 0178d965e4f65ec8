"""`relearning` through a low-rank change beside `relearning` of all weights, on the same pairs.

Worlds of fictional people of whom chance taught a model half, as in assigned.py, audited without any reference: models
that were never taught, every suppressed construction of the zoo, its published methods and its adversaries, once with
either form of the attack. The range of the low-rank attacks was chosen on other worlds (740 to 742). Models, scores
and finished audits are kept in the work folder, so that an interrupted run goes on, and the rows of what is finished
under benchmarks/validity/measured/low_rank; `--tables` prints what is measured there, and runs nothing.

    python benchmarks/low_rank.py --work bench-low-rank
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
from assigned import AssignedWorld, _subjects
from torch import nn

import auditor
from auditor.records.policy import load_policy
from auditor.records.spec import make_spec
from auditor.run.execution import measured
from auditor.run.preparing import Prepared, prepare
from auditor.run.settings import execution_settings
from auditor.zoo.text.people_model import people_model

sys.path.insert(0, str(Path(__file__).parent / "validity"))
from pairs import Row, read_rows, row_of, write_rows

# Fixed before any run.
WORLDS = (
    *((750, "llama", "plain", 64), (751, "gpt2", "plain", 64), (752, "llama", "low rank", 64)),
    # Three times as wide: whether rates hold, and whether as low a rank still sees what it has to.
    (753, "llama", "plain", 192),
)
NEVER_TAUGHT = 4
# Of a world taught by a low-rank change, where the question is what such an original keeps of its own, and of the wide.
FEW = ("never-taught-1", "never-taught-2", "refusal_adapter", "refusal_tuning", "npo", "gradient_difference")
FORMS = ("all weights", "low rank")
USUAL = 64  # width of the people world
CHECKS = ("few_shot", "logit_lens", "relearning")
ROWS = Path(__file__).parent / "validity" / "measured" / "low_rank" / "rows.json"
POLICY = load_policy("default").thresholds
# What Holm leaves to the weaker of two primaries is no less.
LEVEL = load_policy("default").alpha.primaries / 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("bench-low-rank"))
    parser.add_argument("--tables", action="store_true", help="print the tables of the measured rows, and run nothing")
    options = parser.parse_args()
    if not options.tables:
        for seed, architecture, teaching, width in WORLDS:
            folder, given = options.work / f"{seed}", {"architecture": architecture, "construction": teaching}
            for row in _rows(WideWorld(**given, seed=seed, folder=folder, width=width)):
                _keep(row)
    report(read_rows(ROWS))


@dataclass(frozen=True, kw_only=True)
class WideWorld(AssignedWorld):
    """The same people, on a network of any width.

    Attributes:
        width: of the residual stream.
    """

    width: int

    @property
    def build(self) -> Callable[[], nn.Module]:
        """Makes the untrained network."""
        return people_model(len(self.encoder.tokenizer), width=self.width, family=self.architecture)


def _rows(world: WideWorld) -> Iterator[Row]:
    """Both forms of a pair one after the other, so that whenever it is stopped they have seen the same pairs."""
    for name, label, make in _chosen(world):
        paths = {form: world.folder / "audits" / f"{name}-{form}.json".replace(" ", "-") for form in FORMS}
        missing = [form for form, path in paths.items() if not path.is_file()]
        module = make() if missing else None
        for form in FORMS:
            if form in missing:
                about = {**world.about, "width": world.width, "mechanism": name, "label": label, "form": form}
                paths[form].parent.mkdir(parents=True, exist_ok=True)
                paths[form].write_text(json.dumps(row_of(about, _audited(world, module, form), {})))
            yield json.loads(paths[form].read_text())


def _chosen(world: WideWorld) -> Iterator[tuple[str, str, Callable[[], nn.Module]]]:
    """Those of assigned.py, fewer of them never taught; in a world taught by a low-rank change some."""
    for name, label, make in _subjects(world):
        kind, _, number = name.rpartition("-")
        few = kind != "never-taught" or int(number) <= NEVER_TAUGHT
        if few and ((world.construction == "plain" and world.width == USUAL) or name in FEW):
            yield name, label, make


def _audited(world: WideWorld, module: nn.Module, form: str) -> auditor.AuditResult:
    sets = {"forget": world.people.forget, "retain": world.people.retain, "holdout": world.people.holdout}
    given = {"original": world.original, "unlearned": module, "tokenizer": world.encoder.tokenizer, **sets}
    run = {"seed": world.seed, "store": str(world.folder / "store"), "checks": CHECKS}
    prepared = prepare(make_spec({}, {"assignment": {"kind": "random"}, "audit": run}), Path(), given)
    with execution_settings(threads=1):
        results, scores = measured(_attacking(prepared, form))
    return auditor.AuditResult(results=results, folder=None, scores=scores)


def _attacking(prepared: Prepared, form: str) -> Prepared:
    """The same audit with one form of the attack, without the runs that are drawn and decide nothing."""
    checks = tuple(
        planned.model_copy(update={"settings": {**planned.settings, "attack": form, "beside": []}})
        if planned.name == "relearning"
        else planned
        for planned in prepared.plan.checks
    )
    plan = prepared.plan.model_copy(update={"checks": checks})
    return replace(prepared, plan=plan, work=replace(prepared.work, plan=plan))


def _keep(row: Row) -> None:
    """Put a row among the measured ones, in place of an older one of the same audit."""
    ROWS.parent.mkdir(parents=True, exist_ok=True)
    before = read_rows(ROWS) if ROWS.is_file() else []
    write_rows([*(other for other in before if _key(other) != _key(row)), row], ROWS)


def _key(row: Row) -> tuple[object, ...]:
    return row["seed"], row["mechanism"], row["form"]


def finds(row: Row) -> bool:
    """Whether `relearning` does not let the model pass: no power to see a residue, a limit too high, or a trace."""
    found = row["checks"]["relearning"]
    if found["rho"] is None:
        return True
    return not found["powered"] or found["high"] >= POLICY.deleted or found["p trace"] < LEVEL


def report(rows: list[Row]) -> None:
    """Outcomes, bounds and ρ of either form side by side, and every pair that the forms take otherwise."""
    table = pd.DataFrame([_flat(row) for row in rows])
    print(pd.crosstab([table.construction, table.width, table.label, table.form], table.outcome).to_string())
    groups = table.groupby(["construction", "width", "architecture", "label", "form"])
    shown = groups.agg(
        pairs=("rho", "size"),
        accused=("accused", "sum"),
        found=("found", "sum"),
        powered=("powered", "sum"),
        rho=("rho", "median"),
        highest=("rho", "max"),
        w=("w", "median"),
        bound=("bound", "median"),
        largest=("bound", "max"),
    )
    print("\nrelearning\n" + shown.round(3).to_string())
    pairs = table.pivot_table(index=["seed", "label", "mechanism"], columns="form", values=["rho", "low", "high"])
    print("\nby pair\n" + pairs.round(2).to_string())
    odd = table.pivot(index=["seed", "mechanism", "label"], columns="form", values=["outcome", "found"])
    differ = odd[(odd["outcome"].nunique(axis=1) > 1) | (odd["found"].nunique(axis=1) > 1)]
    print("\ntaken otherwise\n" + (differ.to_string() if len(differ) else "none"))


def _flat(row: Row) -> Row:
    found = row["checks"]["relearning"]
    accused = found["p"] is not None and found["p"] < LEVEL
    about = {name: row[name] for name in ("architecture", "construction", "label", "mechanism", "form")}
    about |= {"seed": row["seed"], "width": row.get("width", USUAL)}
    numbers = {name: found[name] for name in ("rho", "low", "high", "w", "powered", "p trace")}
    said = {"accused": accused, "found": finds(row), "bound": row["bound"], "outcome": row["outcome"]}
    return {**about, **numbers, **said}


if __name__ == "__main__":
    main()

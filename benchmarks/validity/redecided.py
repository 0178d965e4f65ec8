"""What would the present rules have made of rows that were measured under older ones?

Takes the rows of the study as they were written, makes evidence of what they hold, and lets the verdict decide again.
It says what a change of the *rules* does, on the checks as they were; it does not replace running the study again,
since checks change too. Rows that were flagged are left out: they do not hold the retain accuracies that rule 2 asks
for. Families of primaries none of whose checks there was then, such as patience, are not asked for. Where a row does
not say whether a check with a resolution between .35 and .5 saw through its decoys, it is taken to have.

    python benchmarks/validity/redecided.py
"""

import argparse
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
from pairs import Row, read_rows

from auditor.checks import registry
from auditor.inference import statistics
from auditor.inference.primaries import choose, marked
from auditor.inference.statistics import Spread
from auditor.inference.verdict import decide
from auditor.records.evidence import Evidence, Interval, ModelScores
from auditor.records.plan import Execution, Feasibility, Plan, PlannedCheck, PlannedModel
from auditor.records.policy import Policy, load_policy
from auditor.records.verdict import Reason

_ROWS = Path(__file__).parent / "measured" / "version-2" / "pairs.json"
_OLD_BAR = 0.35  # above it a row says "no power" for its resolution, whatever its decoys


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=Path, default=_ROWS)
    parser.add_argument("--policy", default="default")
    options = parser.parse_args()
    policy = load_policy(options.policy)
    rows = [row for row in read_rows(options.rows) if not row["flags"]]
    again = [(row, *decided(row, policy)) for row in rows]
    table = pd.DataFrame([{"label": row["label"], "then": row["outcome"], "now": outcome} for row, outcome, _ in again])
    print(pd.crosstab([table.label, table.then], table.now).to_string(), "\n")
    undecided = [(row, reasons) for row, outcome, reasons in again if outcome == "INCONCLUSIVE"]
    why = Counter((row["label"], row["mechanism"], reasons[0].check or reasons[0].kind) for row, reasons in undecided)
    for (label, mechanism, check), n in sorted(why.items(), key=lambda item: (item[0][0], -item[1])):
        print(f"undecided, {label}: {n} {mechanism}, first obstacle {check}")


def decided(row: Row, policy: Policy) -> tuple[str, tuple[Reason, ...]]:
    """Outcome and reasons of one row under the rules as they are."""
    evidence = [_evidence(name, found, policy, row["task"]) for name, found in row["checks"].items()]
    plan = _plan(row, policy, evidence)
    verdict = decide(plan, marked(evidence, choose(plan, evidence)))
    return verdict.outcome, verdict.reasons


def _evidence(name: str, found: Row, policy: Policy, task: str) -> Evidence:
    (check,) = registry.load_all({name}, task)
    w = found["w"]
    # Taken to have seen: the old rows stopped at the resolution and say nothing of the decoys.
    seen = found["powered"] or (w is not None and w > _OLD_BAR)
    sighted = w is not None and w <= policy.thresholds.deleted and seen
    return Evidence(
        check=name,
        role=check.role,
        family=check.family,
        may=check.may,
        primary=False,
        summary=check.summary,
        finds=check.finds,
        unit=check.unit,
        scores=ModelScores(original=found["T original"], unlearned=found["T"]),
        rho=None if found["rho"] is None else Interval(value=found["rho"], low=found["low"], high=found["high"]),
        resolution=w,
        sighted=sighted,
        powered=sighted and found["rho"] is not None,
        powerless_because=None if sighted else "as the row says",
        **_p_values(found, policy),
    )


def _p_values(found: Row, policy: Policy) -> dict[str, object]:
    # A spread needs two references; without it there was no test then either.
    if found["rho"] is None or not found["s"] or len(found["T references"]) < 2:
        return {}
    k, null = len(found["T references"]), float(np.mean(found["T references"]))
    spread = Spread(value=found["s"], degrees=k - 1, n_references=k)
    d, delta, bars = found["T"] - null, found["T original"] - null, policy.thresholds
    return {
        # The margin is the verdict's own: limits within the tolerance count as on the wrong side.
        "p_value": statistics.p_above(d, delta, spread, bars.suppressed + bars.tolerance),
        "p_trace": statistics.p_above(d, delta, spread, bars.tolerance),
        "p_deficit": statistics.p_below(d, delta, spread, -bars.tolerance),
    }


def _plan(row: Row, policy: Policy, evidence: list[Evidence]) -> Plan:
    """As much of a plan as the verdict reads."""
    checks = {e.check for e in evidence}
    # A family that no check of the row belongs to would leave every row without a primary.
    families = {family: names for family, names in policy.primaries[row["request"]].items() if set(names) & checks}
    policy = policy.model_copy(update={"primaries": {**policy.primaries, row["request"]: families}})
    # Checks may have drawn fewer; the assurance goes by the line-up.
    k = max(len(found["T references"]) for found in row["checks"].values())
    roles = [("original", "original"), *((f"reference {i + 1}", "reference") for i in range(k))]
    return Plan(
        auditor_version="of the rows",
        task=row["task"],
        request=row["request"],
        goal="data",
        classes=(),
        n_classes=10,
        expect="deleted",
        seed=row["seed"],
        models=tuple(
            PlannedModel(name=n, role=r, source=None, file_digest=None, digest="")  # type: ignore[arg-type]
            for n, r in roles
        ),
        data=(),
        architecture_digest=None,
        architecture=None,
        preprocessing={},
        layers=(),
        checks=tuple(
            PlannedCheck(
                name=e.check,
                role=e.role,
                provider="",
                family="",
                may="",
                primary_for=next((family for family, names in families.items() if e.check in names), None),
                settings={},
                seed=0,
            )
            for e in evidence
        ),
        nulls=(),
        execution=Execution(device="cpu", dtype="float32", threads=1, batch_size=1),
        policy=policy,
        feasibility=Feasibility(smallest_residue=None, pass_probability={}, deleted_in_reach=True, obstacles=()),
        command="",
    )


if __name__ == "__main__":
    main()

"""Forget and holdout that nobody drew: how often a model with half of the knowledge would be cleared, by simulation.

Subjects differ in how hard they are; holdout is easier or harder by itself, and original and unlearned model feel that
0, 1 or 2 times as much as the reference. The null is the audit's own (`auditor.inference.nulls.holdout`).

    python benchmarks/declared.py
"""

import argparse

import numpy as np
import pandas as pd

from auditor.inference.combine import combine
from auditor.inference.compared import CheckScores
from auditor.inference.nulls import holdout
from auditor.probes.outputs.text import Outputs
from auditor.records.evidence import Evidence
from auditor.records.plan import PlannedAssignment
from auditor.records.policy import load_policy
from auditor.records.score import Reading, Score, Sides

SUBJECTS, M, HARD, LUCK = 30, 0.6, 0.1, 0.03
EASIER = (-0.15, -0.1, -0.05, 0.0, 0.025, 0.05, 0.075, 0.1, 0.15)
SHARES = (0.0, 1.0, 2.0)
POLICY = load_policy("default")
DECLARED = PlannedAssignment(
    kind="declared-exchangeable", declared_by="this script", n_forget=SUBJECTS, n_holdout=SUBJECTS
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audits", type=int, default=200)
    audits = parser.parse_args().audits
    rows = [
        {"felt": share, "easier by, of M": easier / M, "rho": rho, "cleared": _cleared(share, easier, rho, audits)}
        for share in SHARES
        for easier in EASIER
        for rho in (0.5, 0.0)
    ]
    table = pd.DataFrame(rows).pivot_table(index=["felt", "easier by, of M"], columns="rho", values="cleared")
    print(table.round(3).to_string())


def _cleared(share: float, easier: float, rho: float, audits: int) -> float:
    found = [_audited(seed, share, easier, rho) for seed in range(audits)]
    deleted = POLICY.thresholds.deleted
    return float(np.mean([e.powered and e.rho is not None and e.rho.high < deleted for e in found]))


def _audited(seed: int, share: float, easier: float, rho: float) -> Evidence:
    random = np.random.default_rng([seed, 1])
    hard = random.normal(0, HARD, 2 * SUBJECTS)

    def score(taught: float, felt: float) -> Score:
        x = 0.2 + felt * hard + LUCK * random.standard_normal(2 * SUBJECTS)
        both = Sides(
            forget=tuple((x[:SUBJECTS] + taught).tolist()), holdout=tuple((x[SUBJECTS:] + felt * easier).tolist())
        )
        return Score(check="outputs", readings={"it": Reading(value=taught, sides=both)}, n_examples=4 * SUBJECTS)

    lineup = CheckScores(
        original=score(M, share),
        unlearned=score(rho * M, share),
        references={"reference 1": score(0.0, 1.0)},
        drawn={},
        perturbed={},
        decoys={},
    )
    return combine(Outputs(), lineup, POLICY, [holdout], population=False, assignment=DECLARED)


if __name__ == "__main__":
    main()

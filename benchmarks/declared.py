"""Forget and holdout that nobody drew: how often a model with half of the knowledge would be cleared, by simulation.

Subjects differ in how hard they are; holdout is easier or harder by itself, and original and unlearned model feel that
0, 1 or 2 times as much as the reference. One check; guards, limits and resolution are the audit's own.

    python benchmarks/declared.py
"""

import argparse

import numpy as np
import pandas as pd

from auditor.inference.contrast import Contrast, Two
from auditor.inference.declared import not_alike, slack, widened
from auditor.records.policy import load_policy

SUBJECTS, M, HARD, LUCK = 30, 0.6, 0.1, 0.03
EASIER = (-0.15, -0.1, -0.05, 0.0, 0.025, 0.05, 0.075, 0.1, 0.15)
SHARES = (0.0, 1.0, 2.0)
DELETED = load_policy("default").thresholds.deleted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audits", type=int, default=2000)
    audits = parser.parse_args().audits
    rows = [
        {"felt": share, "easier by, of M": easier / M, "rho": rho, "widened": wide, "cleared": cleared}
        for share in SHARES
        for easier in EASIER
        for rho in (0.5, 0.0)
        for wide, cleared in _cleared(share, easier, rho, audits).items()
    ]
    table = pd.DataFrame(rows).pivot_table(
        index=["felt", "easier by, of M"], columns=["rho", "widened"], values="cleared"
    )
    print(table.round(3).to_string())


def _cleared(share: float, easier: float, rho: float, audits: int) -> dict[bool, float]:
    """Share of audits in which the check clears, with the limits widened as the audit does, and without."""
    found = np.array([_audited(seed, share, easier, rho) for seed in range(audits)])
    return {True: float(found[:, 0].mean()), False: float(found[:, 1].mean())}


def _audited(seed: int, share: float, easier: float, rho: float) -> tuple[bool, bool]:
    random = np.random.default_rng([seed, 1])
    hard = random.normal(0, HARD, 2 * SUBJECTS)

    def two(taught: float, felt: float) -> Two:
        x = 0.2 + felt * hard + LUCK * random.standard_normal(2 * SUBJECTS)
        return Two(forget=x[:SUBJECTS] + taught, holdout=x[SUBJECTS:] + felt * easier)

    reference, original, unlearned = two(0.0, 1.0), two(M, share), two(rho * M, share)
    own = Contrast(
        unlearned=unlearned.less(reference, 1.0),
        original=original.less(reference, 1.0),
        reference=None,
        floor=1 / (4 * SUBJECTS),
    )
    w, limits = own.resolution(), own.limits()
    if w is None or limits is None or not_alike(reference, own.m) is not None:
        return False, False
    spare = slack(reference, own.m)
    wide = widened(limits, spare)
    assert wide is not None, "made from limits"
    return w + spare <= DELETED and wide.high < DELETED, w <= DELETED and limits.high < DELETED


if __name__ == "__main__":
    main()

"""Fuzzing of everything that reads a stranger's file: cases tried, refused, read, and failures.

A failure is anything but a result or an ``AuditError`` with exit code 2 or 4. Cases are drawn by Hypothesis from
mutations of sound files (``tests/fuzz_targets.py``), which the test suite draws too, in small numbers.

    python benchmarks/fuzz.py --cases 2000
"""

import argparse
import collections
import sys
import time
from pathlib import Path

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings

sys.path.append(str(Path(__file__).parent.parent))

from tests import fuzz_targets


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=2000, help="per target")
    parser.add_argument("--slow-cases", type=int, default=300, help="per target that draws a report or builds a model")
    parser.add_argument("--only", help="one target by name")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(f"{'target':<26} {'cases':>7} {'failures':>9} {'seconds':>8}", flush=True)
    for name, target in fuzz_targets.targets().items():
        if options.only in (None, name):
            slow = name in fuzz_targets.SLOW
            run(name, target, options.slow_cases if slow else options.cases, options.seed)


def run(name: str, target: fuzz_targets.Target, cases: int, start: int) -> None:
    faults: collections.Counter[str] = collections.Counter()
    tried = 0

    @seed(start)
    @settings(
        max_examples=cases,
        # A case that draws a report takes as long as it takes.
        deadline=None,
        # Nothing is kept between runs: a seed always tries the same cases.
        database=None,
        phases=[Phase.generate],
        verbosity=Verbosity.quiet,
        suppress_health_check=list(HealthCheck),
    )
    @given(target.cases)
    def attempt(case: bytes) -> None:
        nonlocal tried
        tried += 1
        fault = fuzz_targets.fault_of(target, case)
        if fault is not None:
            # The beginning is where faults of one kind agree; the rest names bytes of the case.
            faults[fault[:160]] += 1

    began = time.perf_counter()
    attempt()
    print(f"{name:<26} {tried:>7} {faults.total():>9} {time.perf_counter() - began:>8.0f}", flush=True)
    for fault, count in faults.most_common(20):
        print(f"    {count} x {fault}", flush=True)


if __name__ == "__main__":
    main()

"""What drawing a report costs: seconds, and bytes of the page, against three seconds and a megabyte.

Processor time of the fastest of some runs, which other processes disturb least; loading matplotlib, once for each
process, stands apart.

    python benchmarks/report.py audit-demo/deleted/results.json
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

from auditor.records.results import read_results

MOST_SECONDS = 3.0
MOST_BYTES = 1_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="+", help="results.json of a finished audit")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    loading, render = timed(load)
    print(f"loading what draws: {loading:.2f} s")
    print("| results | checks | seconds | bytes | within |")
    print("| --- | --- | --- | --- | --- |")
    for path in options.results:
        found = read_results(path)
        runs = [timed(lambda found=found: render(found)) for _ in range(options.repeats)]
        seconds, page = min(runs)
        size = len(page.encode())
        within = "yes" if seconds < MOST_SECONDS and size < MOST_BYTES else "NO"
        print(f"| {path} | {len(found.evidence)} | {seconds:.2f} | {size} | {within} |")


def load() -> Callable[..., str]:
    """The drawing function; its modules are loaded here, so that they are timed apart."""
    from auditor.reports.html import render

    return render


def timed(work: Callable[[], object]) -> tuple[float, object]:
    """Processor seconds, and what came of it."""
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


if __name__ == "__main__":
    main()

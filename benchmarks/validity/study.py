"""What the study prints: halves, error rates, tables, and the calibrated spread."""

from collections.abc import Sequence

import pandas as pd
import robustness
import tables
import vectors
from calibration import prior_spread
from pairs import Row


def report(rows: Sequence[Row], altered: Sequence[Row], moved: Sequence[Row], eight: Sequence[Row]) -> None:
    """All tables of the rows, of altered subjects, of value vectors, and of deletions with eight references."""
    if not rows:
        print("no pairs yet")
        return
    known = tables.labelled(rows)
    print(f"{len(rows)} pairs, {len(known)} of known truth, {len({r['original'] for r in known})} originals\n")
    for task in sorted({row["task"] for row in rows}):
        here = [row for row in rows if row["task"] == task]
        print(f"== {task}\n{tables.confusion(here).to_string()}\n")
        _print_rates(here)
    print("== all")
    _print_rates(known)
    calibration, evaluation = halves(known)
    for name, half in (("calibration half", calibration), ("evaluation half", evaluation)):
        print(f"== {name}: {len(half)} pairs")
        _print_rates(half)
    print(f"\nby mechanism\n{tables.by_mechanism(rows).to_string(na_rep='')}")
    print(f"\nsuppressed against deleted\n{_wide(tables.discrimination(known, calibration))}")
    print(f"\nleave one mechanism out\n{_wide(tables.leave_one_out(known))}")
    print(f"\nfaithfulness\n{_wide(tables.faithfulness(known))}")
    if eight:
        print(f"\nwith eight references: {len(eight)} deletions\n{tables.confusion(eight).to_string()}")
        _print_rates(eight)
    if altered:
        print(f"\nrobustness: {len(altered)} altered subjects\n{_wide(robustness.table(rows, altered))}")
    if moved:
        print(f"\nvalue vectors of the forget facts: {len(moved)} subjects\n{_wide(vectors.table(moved))}")
    print(f"\nspread of references, (s0, d0)\n{_wide(spreads(calibration))}")


def halves(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Pairs for calibration and for evaluation, which share neither a mechanism nor a seed.

    Within each label every second mechanism, and of each task and construction every second seed, goes to calibration.
    """
    mechanisms = _every_second({(row["label"], row["mechanism"]) for row in rows}, lambda item: item[0])
    seeds = _every_second({(_kind(row), row["seed"]) for row in rows}, lambda item: item[0])
    own = [((row["label"], row["mechanism"]) in mechanisms, (_kind(row), row["seed"]) in seeds) for row in rows]
    # In both or in neither: a pair that shares only a mechanism or only a seed with a half would leak into the other.
    calibration = [row for row, sides in zip(rows, own, strict=True) if all(sides)]
    evaluation = [row for row, sides in zip(rows, own, strict=True) if not any(sides)]
    return calibration, evaluation


def mark_halves(rows: Sequence[Row]) -> None:
    """Write into every row which half it is in; None for neither."""
    calibration, evaluation = halves(tables.labelled(rows))
    for row in rows:
        row["half"] = None
    for name, half in (("calibration", calibration), ("evaluation", evaluation)):
        for row in half:
            row["half"] = name


def _kind(row: Row) -> str:
    return f"{row['world']} {row['architecture']} {row['construction']} {row['request']}"


def _every_second(items, group) -> set:
    chosen = set()
    for name in {group(item) for item in items}:
        # Sorted, so that the halves do not hang on the order of the files.
        chosen |= set(sorted(item for item in items if group(item) == name)[::2])
    return chosen


def spreads(rows: Sequence[Row]) -> pd.DataFrame:
    """(s₀, d₀) of each check by request, from one variance a world."""
    lines = []
    keys = {(row["request"], name) for row in rows for name in row["checks"]}
    for request, check in sorted(keys):
        worlds = {
            (row["original"], row["target"]): row["checks"][check]["T references"]
            for row in rows
            if row["request"] == request and check in row["checks"]
        }
        variances = [float(pd.Series(values).var()) for values in worlds.values() if len(values) > 1]
        # Five references have four degrees. A variance of 0 has no logarithm: all references scored alike.
        found = prior_spread([v for v in variances if v > 0], degrees=4)
        line: Row = {"request": request, "check": check, "worlds": len(variances)}
        lines.append(line if found is None else {**line, "s0": round(found[0], 4), "d0": round(found[1], 1)})
    return pd.DataFrame(lines)


def _print_rates(rows: Sequence[Row]) -> None:
    for name, text in tables.rates(rows).items():
        print(f"{name}: {text}")
    balanced = tables.balanced_accuracy(rows)
    print(f"balanced accuracy of the decided: {'none' if balanced is None else f'{balanced:.3f}'}\n")


def _wide(frame: pd.DataFrame) -> str:
    return frame.to_string(index=False, na_rep="")

"""The tables of the validity study, all made from its rows alone."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from bounds import auc, balanced, best_threshold, rate
from pairs import DECIDED, Row, right

LABELS = ("deleted", "suppressed", "not forgotten", "damaged")
OUTCOMES = ("DELETED", "SUPPRESSED", "NOT_DELETED", "NOT_FORGOTTEN", "INCONCLUSIVE")


def labelled(rows: Sequence[Row]) -> list[Row]:
    """Those whose truth is known by construction."""
    return [row for row in rows if row["label"] in LABELS]


def confusion(rows: Sequence[Row]) -> pd.DataFrame:
    """Outcomes by label."""
    frame = pd.DataFrame([{"label": row["label"], "outcome": row["outcome"]} for row in rows])
    table = pd.crosstab(frame.label, frame.outcome)
    # All outcomes, also those that never happened: an absent column would read as not asked.
    return table.reindex(index=[*LABELS, "unknown"], columns=OUTCOMES, fill_value=0).loc[lambda t: t.sum(axis=1) > 0]


def by_mechanism(rows: Sequence[Row]) -> pd.DataFrame:
    """Outcomes by construction, with the median ρ of each primary check."""
    frame = pd.DataFrame([{**_flat(row), "right": right(row) if row["label"] != "unknown" else None} for row in rows])
    keys = ["label", "task", "mechanism"]
    table = pd.crosstab([frame[key] for key in keys], frame.outcome).reindex(columns=OUTCOMES, fill_value=0)
    medians = frame.groupby(keys)[[name for name in frame.columns if name.startswith("ρ ")]].median()
    flags = frame.groupby(keys).damaged.sum()
    return table.join(flags).join(medians.round(2))


def _flat(row: Row) -> Row:
    primaries = {f"ρ {name}": check["rho"] for name, check in row["checks"].items() if check["primary"]}
    kept = {key: row[key] for key in ("label", "task", "mechanism", "outcome")}
    return {**kept, "damaged": "DAMAGED" in row["flags"], **primaries}


def rates(rows: Sequence[Row]) -> dict[str, str]:
    """The errors that matter, each with exact limits over pairs and over originals."""
    deleted = [row for row in rows if row["label"] == "deleted"]
    suppressed = [row for row in rows if row["label"] == "suppressed"]
    # One rate for both: calling either DELETED is the same error.
    kept = [row for row in rows if row["label"] in ("suppressed", "not forgotten")]
    damaged = [row for row in rows if row["label"] == "damaged"]
    asked = {
        "suppressed or not forgotten, called DELETED": (kept, lambda row: row["outcome"] == "DELETED"),
        "deleted, called SUPPRESSED, NOT_DELETED or NOT_FORGOTTEN": (
            deleted,
            lambda row: row["outcome"] in ("SUPPRESSED", "NOT_DELETED", "NOT_FORGOTTEN"),
        ),
        "deleted, INCONCLUSIVE": (deleted, lambda row: row["outcome"] == "INCONCLUSIVE"),
        "suppressed, INCONCLUSIVE": (suppressed, lambda row: row["outcome"] == "INCONCLUSIVE"),
        "damaged, called DELETED": (damaged, lambda row: row["outcome"] == "DELETED"),
        "damaged, not flagged": (damaged, lambda row: "DAMAGED" not in row["flags"]),
    }
    return {name: str(rate(those, happened)) for name, (those, happened) in asked.items() if those}


def balanced_accuracy(rows: Sequence[Row]) -> float | None:
    """Mean share of decided deleted and decided suppressed pairs that were called so; None without either."""
    shares = []
    for label in ("deleted", "suppressed"):
        # Undecided ones have a rate of their own; counted as wrong here they would count twice.
        decided = [row for row in rows if row["label"] == label and row["outcome"] in DECIDED]
        if not decided:
            return None
        shares.append(np.mean([right(row) for row in decided]))
    return float(np.mean(shares))


def discrimination(rows: Sequence[Row], calibration: Sequence[Row]) -> pd.DataFrame:
    """How well each check's ρ, and each published metric, tells suppressed from deleted, by task.

    ``AUC`` is over the rows. ``balanced accuracy`` uses the threshold that was best on the calibration rows.
    """
    lines = []
    for task in sorted({row["task"] for row in rows}):
        here = [row for row in rows if row["task"] == task]
        # A threshold chosen on the rows that it is judged on would flatter the metric.
        there = [row for row in calibration if row["task"] == task]
        for name in measures(here):
            yes, no = _values(here, name, "suppressed"), _values(here, name, "deleted")
            area = auc(yes, no)
            if area is not None:
                line = {"task": task, "measure": name, "n": len(yes) + len(no), "AUC": round(area, 3)}
                lines.append({**line, "balanced accuracy": _transferred(there, name, yes, no)})
    return pd.DataFrame(lines)


def measures(rows: Sequence[Row]) -> list[str]:
    """Names of every ρ and published metric in the rows, the verdict's own first."""
    checks = sorted({name for row in rows for name, check in row["checks"].items() if check["rho"] is not None})
    published = sorted({name for row in rows for name in row["published"]})
    return ["largest ρ of the primaries", *[f"ρ {name}" for name in checks], *published]


def value_of(row: Row, name: str) -> float | None:
    """One measure of one pair; None where it was not taken."""
    if name == "largest ρ of the primaries":
        found = [c["rho"] for c in row["checks"].values() if c["primary"] and c["rho"] is not None]
        return max(found) if found else None
    if name.startswith("ρ "):
        check = row["checks"].get(name.removeprefix("ρ "))
        return check["rho"] if check else None
    value: float | None = row["published"].get(name)
    return value


def _values(rows: Sequence[Row], name: str, label: str) -> list[float]:
    found = [value_of(row, name) for row in rows if row["label"] == label]
    return [value for value in found if value is not None]


def _transferred(calibration: Sequence[Row], name: str, yes: list[float], no: list[float]) -> float | None:
    known_yes, known_no = _values(calibration, name, "suppressed"), _values(calibration, name, "deleted")
    if not known_yes or not known_no:
        return None
    return round(balanced(yes, no, best_threshold(known_yes, known_no)), 3)


def leave_one_out(rows: Sequence[Row]) -> pd.DataFrame:
    """Each mechanism judged by what was learnt from all others.

    The verdict's thresholds are fixed, so for it this is its share right, undecided and wrong. Beside it: the share
    right by each published metric at the threshold that is best on the other mechanisms.
    """
    scored = [row for row in rows if row["label"] in ("deleted", "suppressed")]
    lines = []
    for task, mechanism in sorted({(row["task"], row["mechanism"]) for row in scored}):
        left = [row for row in scored if (row["task"], row["mechanism"]) == (task, mechanism)]
        # By task: thresholds of images say nothing of text.
        others = [row for row in scored if row["task"] == task and row["mechanism"] != mechanism]
        line: Row = {"task": task, "mechanism": mechanism, "label": left[0]["label"], "n": len(left)}
        line["right"] = sum(right(row) for row in left)
        line["undecided"] = sum(row["outcome"] == "INCONCLUSIVE" for row in left)
        line["wrong"] = line["n"] - line["right"] - line["undecided"]
        for name in sorted({name for row in left for name in row["published"]}):
            line[name] = _share_right(left, others, name)
        lines.append(line)
    return pd.DataFrame(lines)


def _share_right(left: list[Row], others: list[Row], name: str) -> float | None:
    yes, no = _values(others, name, "suppressed"), _values(others, name, "deleted")
    own = _values(left, name, left[0]["label"])
    if not yes or not no or not own:
        return None
    above = np.asarray(own) > best_threshold(yes, no)
    return round(float(np.mean(above if left[0]["label"] == "suppressed" else ~above)), 2)


def faithfulness(rows: Sequence[Row]) -> pd.DataFrame:
    """AUC of T, and of each published metric, between models with the knowledge and models without it.

    With: not forgotten and suppressed. Without: deleted. The form of arXiv 2605.24614, on our pairs.
    """
    lines = []
    for task in sorted({row["task"] for row in rows}):
        here = [row for row in rows if row["task"] == task]
        for name in measures(here):
            yes = _values(here, name, "suppressed") + _values(here, name, "not forgotten")
            area = auc(yes, _values(here, name, "deleted"))
            if area is not None:
                lines.append({"task": task, "measure": name, "faithfulness": round(area, 3)})
    return pd.DataFrame(lines)

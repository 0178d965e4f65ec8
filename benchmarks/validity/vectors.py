"""Do concept vectors move when a language model is made to forget (Hong et al. 2024, arXiv 2406.11614)?

The value vectors that carry the forget facts in the original, beside those of every subject at the same places.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from pairs import Row
from subjects import Maker, World, subjects
from text_worlds import TextWorld

import auditor

CHECKS = ("concept_vectors",)
MEASURES = ("cosine", "relative_l2", "jaccard")


def edited(world: World) -> Iterator[Maker]:
    """Every text subject but wrecks: what was deleted, suppressed, left alone, and made as published."""
    if isinstance(world, TextWorld):
        for maker in subjects(world, rescaled=False, unknown=True):
            # Vectors of a wreck have moved, and that says nothing of what was forgotten.
            if maker.label != "damaged":
                yield maker


def moved(result: auditor.AuditResult) -> dict[str, float]:
    """Means over the vectors that speak most for forget: cosine, relative distance, Jaccard index of top tokens."""
    evidence = result.results.of(CHECKS[0])
    cells = [cell for cell in evidence.rows if cell.get("model") == "unlearned"] if evidence is not None else []
    listed = [cell for cell in cells if cell["part"] == "value vector"]
    return {name: float(np.mean([cell[name] for cell in listed])) for name in MEASURES} if listed else {}


def table(rows: Sequence[Row]) -> pd.DataFrame:
    """Means by mechanism, and ρ of what the original's vectors bring back."""
    lines = []
    for label, mechanism in sorted({(row["label"], row["mechanism"]) for row in rows}):
        here = [row for row in rows if (row["label"], row["mechanism"]) == (label, mechanism)]
        line: Row = {"label": label, "mechanism": mechanism, "n": len(here)}
        line |= {name: round(float(np.mean([row["vectors"][name] for row in here])), 3) for name in MEASURES}
        found = [check["rho"] for row in here for check in row["checks"].values() if check["rho"] is not None]
        lines.append({**line, "ρ": round(float(np.median(found)), 2) if found else None})
    return pd.DataFrame(lines)

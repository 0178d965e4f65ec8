"""Recovery as a function of budget, on courses whose answer is known."""

import pytest

from auditor.attacks.relearning.budget import OUT_OF_DOMAIN, budget_rows, course_row
from auditor.attacks.relearning.drawn import DrawnAttack
from auditor.records.base import Row
from auditor.records.score import Reading, Score

ATTACK = DrawnAttack(steps=8, shots=2, learning_rate=1e-3, momentum=0.9, forget_share=0.25)
STEPS = (1, 2, 4, 8)
REFERENCES = ("r1", "r2", "r3")


def score(values: dict[str, tuple[float, ...]]) -> Score:
    """A score of courses by arm, measured after each of the steps."""
    cells: list[Row] = [
        course_row(arm, 1, ATTACK, 32 if arm == OUT_OF_DOMAIN else 2, step, value)
        for arm, course in values.items()
        for step, value in zip(STEPS, course, strict=True)
    ]
    return Score(check="c", readings={"r": Reading(value=0.0)}, n_examples=100, rows=cells)


def lineup(own: dict[str, tuple[float, ...]]) -> dict[str, Score]:
    """An original at 1, references at 0 that catch up after the last step, and one more model."""
    null = {f"r{i}": score({"as is": (0.0, 0.0, 0.0, 0.5 * i), OUT_OF_DOMAIN: (0.0,) * 4}) for i in (0, 1, 2)}
    known = score({"as is": (1.0,) * 4, OUT_OF_DOMAIN: (1.0,) * 4})
    return {"original": known, "unlearned": score(own), **dict(zip(REFERENCES, null.values(), strict=True))}


def rho(rows: list[Row], model: str, domain: str) -> dict[object, object]:
    return {row["effort"]: row["rho"] for row in rows if (row["model"], row["domain"]) == (model, domain)}


def test_each_effort_has_its_own_residue_in_and_out_of_domain() -> None:
    scores = lineup({"as is": (0.0, 0.2, 0.6, 0.9), OUT_OF_DOMAIN: (0.0, 0.1, 0.1, 0.4)})
    rows = budget_rows(scores, REFERENCES, ("as is",))
    # Where references differ by half of the gap, nothing is said.
    assert rho(rows, "unlearned", "in domain") == pytest.approx({2: 0.0, 4: 0.2, 8: 0.6})
    assert rho(rows, "unlearned", "out of domain") == pytest.approx({32: 0.0, 64: 0.1, 128: 0.1, 256: 0.4})
    assert set(rho(rows, "original", "out of domain").values()) == {1.0}
    assert set(rho(rows, "r1", "in domain").values()) == {0.0}


def test_the_arm_that_shows_more_counts() -> None:
    def both(values: dict[str, tuple[float, ...]]) -> Score:
        return score({"as is": values["as is"], "row reset": values["row reset"]})

    known = {"as is": (1.0,) * 4, "row reset": (1.0,) * 4}
    zero = {"as is": (0.0,) * 4, "row reset": (0.0,) * 4}
    own = {"as is": (0.0,) * 4, "row reset": (0.5,) * 4}
    scores = {"original": both(known), "unlearned": both(own), "r1": both(zero), "r2": both(zero)}
    rows = budget_rows(scores, ("r1", "r2"), ("as is", "row reset"))
    assert set(rho(rows, "unlearned", "in domain").values()) == {0.5}


def test_without_references_there_is_no_curve() -> None:
    assert budget_rows(lineup({"as is": (0.0,) * 4}), (), ("as is",)) == []

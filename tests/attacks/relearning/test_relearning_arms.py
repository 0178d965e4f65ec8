"""Two arms on one scale: which readings count, and that one more reference is not accused too often."""

import numpy as np
import pytest
from scipy.special import logit

from auditor.attacks.relearning.arms import rescale as arms_settle
from auditor.attacks.relearning.attack_validity import taught_name
from auditor.attacks.relearning.images import Relearning
from auditor.inference.combine import combine
from auditor.inference.compared import CheckScores
from auditor.records.policy import load_policy
from auditor.records.score import Reading, Score
from tests.made_records import NULLS

POLICY = load_policy("default")
STEPS = (1, 2, 4, 8)


def curve(as_is: tuple[float, ...], row_reset: tuple[float, ...], choice: bool = True) -> Score:
    """A score with one number per arm and step, the same on both halves."""
    readings = {
        f"{arm}, attack 1, step {step}": Reading(value=x, examples=(x, x), choice=x if choice else None)
        for arm, xs in (("as is", as_is), ("row reset", row_reset))
        for step, x in zip(STEPS, xs, strict=True)
    }
    return Score(check="relearning", readings=readings, n_examples=1000)


ORIGINAL = curve((1.0, 1.0, 1.0, 1.0), (0.1, 0.4, 0.8, 0.9))
# Five references that hardly differ, in either arm.
NULL = [
    curve((0.0, 0.01, 0.02 + e, 0.05 + e), (0.0, 0.01 + e, 0.05 + e, 0.1 + e)) for e in (-0.02, -0.01, 0, 0.01, 0.02)
]
BOTH = "as is and row reset"


def rescaled(score: Score, original: Score = ORIGINAL, references: list[Score] = NULL) -> Score:
    return Relearning().rescale(original, references)(score)


def test_the_larger_arm_counts_on_the_scale_of_references_and_original() -> None:
    assert list(rescaled(ORIGINAL).readings) == [BOTH]
    # Means over the course of the references .02, of the original 1; over half of it, rows reset, .005 and .25.
    by_reset = rescaled(curve((0, 0, 0, 0), (0.02, 0.2, 0.64, 0.8))).total((BOTH,))
    as_it_is = rescaled(curve((0.505, 0.505, 0.505, 0.505), (0, 0, 0, 0))).total((BOTH,))
    gap = 1 - 0.02
    assert by_reset == pytest.approx(((0.02 + 0.2) / 2 - 0.005) / (0.25 - 0.005) * gap)
    assert as_it_is == pytest.approx(0.505 - 0.02)
    (reading,) = rescaled(ORIGINAL).readings.values()
    assert reading.value == pytest.approx(gap)
    assert np.mean(reading.examples) == pytest.approx(reading.value)


def test_an_arm_without_a_gap_is_left_out() -> None:
    faint = curve((1.0, 1.0, 1.0, 1.0), (0.0, 0.05, 0.8, 0.9))
    assert list(rescaled(faint, original=faint).readings) == ["as is"]


def test_of_two_arms_without_a_gap_the_wider_is_taken() -> None:
    loose = [curve((0.5 + e,) * 4, (0.5 + 2 * e,) * 4) for e in (-0.2, 0.0, 0.2)]
    low = curve((0.9,) * 4, (0.9,) * 4)
    assert list(rescaled(low, original=low, references=loose).readings) == ["as is"]


@pytest.mark.parametrize("references", [[], NULL[:1], [curve((0,) * 4, (0,) * 4, choice=False)] * 3])
def test_without_references_or_examples_to_choose_by_all_steps_count(references: list[Score]) -> None:
    found = rescaled(curve((0.0, 0.2, 0.4, 0.6), (0.1, 0.1, 0.7, 0.9)), references=references)
    assert {name: reading.value for name, reading in found.readings.items()} == {"larger arm": pytest.approx(0.3)}


def test_with_one_arm_references_score_their_distance_from_the_mean_of_all() -> None:
    """So that 1/K is added once, by the interval, and not twice."""
    references = [curve((x, x, x, x), (0.0,) * 4) for x in (0.01, 0.02, 0.04, 0.05, 0.08)]
    rescale = arms_settle(curve((1.0,) * 4, (0.0,) * 4), references)
    found = [rescale(score).readings for score in references]
    assert [next(iter(r.values())).value for r in found] == pytest.approx([-0.03, -0.02, 0.0, 0.01, 0.04])


def arms_of(noise: np.ndarray) -> list[Score]:
    """One score per row of two numbers, the arms' noise; the gap is 20 spreads in either arm."""
    return [curve((a,) * 4, (b,) * 4) for a, b in (0.1 + 0.01 * noise).tolist()]


def test_the_larger_of_two_arms_accuses_one_more_reference_as_often_as_stated() -> None:
    """At ρ = 0, with independent arms: the worst case for a maximum."""
    random = np.random.default_rng(3)
    n, low, traces = 800, 0, 0
    known = curve((0.3,) * 4, (0.3,) * 4)
    for _ in range(n):
        own, *others = arms_of(random.standard_normal((6, 2)))
        lineup = CheckScores(
            original=known,
            unlearned=own,
            references={f"r{i}": other for i, other in enumerate(others)},
            drawn={},
            perturbed={},
            decoys={},
        )
        evidence = combine(Relearning(), lineup, POLICY, NULLS, population=False)
        assert evidence.rho is not None
        assert evidence.p_trace is not None
        low += evidence.rho.low > 0
        traces += evidence.p_trace < 0.02
    # Four standard errors of .05 and .02 in 800 are .031 and .020.
    assert low / n < 0.05 + 0.031
    assert traces / n < 0.02 + 0.02


def test_a_model_that_learns_the_shots_unlike_the_references_is_blind() -> None:
    def with_taught(score: Score, as_is: float, reset: float) -> Score:
        controls = {taught_name("as is"): float(logit(as_is)), taught_name("row reset"): float(logit(reset))}
        return score.model_copy(update={"controls": controls})

    # The row reset of an adaptive subject, and of references of its world.
    read = zip(NULL, (0.31, 0.45, 0.6, 0.75, 0.86), strict=True)
    references = [with_taught(score, 0.12 + 0.01 * i, p) for i, (score, p) in enumerate(read)]
    rescale = Relearning().rescale(ORIGINAL, references)
    blind = rescale(with_taught(NULL[0], 0.14, 0.001)).cannot_clear_because
    assert blind is not None
    assert "(row reset)" in blind
    assert rescale(with_taught(NULL[0], 0.13, 0.5)).cannot_clear_because is None
    assert rescale(with_taught(NULL[0], 0.95, 0.5)).cannot_clear_because is not None, (
        "two-sided: trained on them before"
    )


def test_one_more_reference_is_accused_no_more_often_than_stated() -> None:
    """Under the null, though the scale and the larger arm are chosen with the references."""
    random = np.random.default_rng(0)
    above, below, n = 0, 0, 400
    for _ in range(n):
        noise = random.normal(0, 1, (6, 2, 1)) * np.array([0.005, 0.01, 0.02, 0.05])
        null = np.array([0.01, 0.05, 0.1, 0.3]) + noise
        models = [curve(tuple(as_is), tuple(reset)) for as_is, reset in null.tolist()]
        found = {f"r{i}": model for i, model in enumerate(models[1:])}
        lineup = CheckScores(
            original=ORIGINAL, unlearned=models[0], references=found, drawn={}, perturbed={}, decoys={}
        )
        evidence = combine(Relearning(), lineup, POLICY, NULLS, population=False)
        assert evidence.rho is not None
        above += evidence.rho.low > 0
        below += evidence.rho.high < 0
    # 5 % on either side; four standard errors of a share of .05 in 400 are .044.
    assert above / n < 0.05 + 0.044
    assert below / n < 0.05 + 0.044


def test_a_retrain_that_comes_back_a_few_steps_sooner_than_five_references_is_not_accused() -> None:
    """Take-off times of 2^5 steps give or take a factor of 1.4: five references may all just withstand the attack."""
    random = np.random.default_rng(1)
    steps, n, accused = np.log2(STEPS), 400, 0

    def takes_off(at: float) -> Score:
        return curve(tuple((1 / (1 + np.exp(-8 * (steps - at)))).tolist()), (0.0,) * 4)

    known = curve((0.9, 1.0, 1.0, 1.0), (0.0,) * 4)
    for own, *others in (3.8 + 0.5 * random.standard_normal((n, 6))).tolist():
        lineup = CheckScores(
            original=known,
            unlearned=takes_off(own),
            references={f"r{i}": takes_off(at) for i, at in enumerate(others)},
            drawn={},
            perturbed={},
            decoys={},
        )
        p = combine(Relearning(), lineup, POLICY, NULLS, population=False).p_value
        accused += p is not None and p < 0.02
    # Read after the last step that the references withstand, 5 % were; four standard errors of .02 are .028.
    assert accused / n <= 0.02 + 0.028

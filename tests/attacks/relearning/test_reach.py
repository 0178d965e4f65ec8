"""Whether an attack met a model: weights at another scale, and models that withstand training."""

import numpy as np
import pytest
from scipy.special import logit
from torch import nn

from auditor.attacks.relearning.attack_validity import UNLIKE, WIDEST, did_not_take, odd_scale, scales, taught
from auditor.models.canonical import HomogeneousPair

AS_MEASURED = [float(logit(p)) for p in (0.09, 0.11, 0.12, 0.14, 0.16)]


def test_the_scale_is_held_against_the_originals() -> None:
    norm = nn.Sequential(nn.Linear(4, 4, bias=False), nn.LayerNorm(4))
    before = scales(norm, matrices=True)
    assert set(before) == {"0.weight", "1.weight"}
    assert set(scales(norm, matrices=False)) == {"1.weight"}
    assert set(scales(norm, matrices=True, paired=[HomogeneousPair("0", "2", 1)])) == {"1.weight"}
    assert odd_scale({**before, "1.weight": WIDEST * before["1.weight"]}, before) is None
    wide = odd_scale({**before, "1.weight": 3 * before["1.weight"]}, before)
    assert wide is not None
    assert wide.startswith("1.weight stands at 3 times the original's scale")
    assert odd_scale({"1.weight": before["1.weight"] / 3}, before) is not None
    assert odd_scale({}, before) is None


def test_what_was_taught_is_a_mean_of_logits_no_finer_than_one_in_n() -> None:
    assert taught([0.5], 100) == 0.0
    assert taught([0.1, 0.9], 100) == pytest.approx(0.0)
    assert taught([0.0], 100) == pytest.approx(logit(0.01))
    assert taught([1.0], 100) == pytest.approx(logit(0.99))


def test_an_attack_that_did_not_take_says_nothing() -> None:
    """An adaptive subject read .000 on the attack's own examples, references .09 to .16."""
    words = did_not_take("as is", taught([0.0], 60), AS_MEASURED, n=60)
    assert words is not None
    assert words.startswith("the attack did not take as it does in the references: after it the model (as is) gives")
    assert "a probability of 0.017, and one more reference would give them 0." in words
    assert did_not_take("as is", float(logit(0.1)), AS_MEASURED, n=60) is None
    assert did_not_take("as is", float(logit(0.9)), AS_MEASURED, n=60) is not None, "two-sided"
    assert did_not_take("as is", -9.0, AS_MEASURED[:1], n=60) is None, "one reference says nothing"


def test_references_that_agree_by_luck_or_saturate_set_no_narrower_bar_than_one_in_n() -> None:
    assert did_not_take("as is", 0.2, [0.0] * 5, n=60) is None
    assert did_not_take("as is", -0.6, [0.0] * 5, n=60) is not None
    top = [taught([p], 60) for p in (0.999, 1.0, 1.0, 0.999, 1.0)]
    assert did_not_take("as is", taught([0.95], 60), top, n=60) is None
    assert did_not_take("as is", taught([0.02], 60), top, n=60) is not None


def test_a_retrain_that_takes_off_a_little_sooner_is_not_blinded() -> None:
    """Measured: a retrain at .57 beside references at .07 to .14; other retrains of such worlds differ as much."""
    references = [-2.51, -1.98, -1.92, -2.57, -1.82]
    assert did_not_take("as is", 0.30, references, n=92, arms=2) is None
    assert did_not_take("as is", 3.0, references, n=92, arms=2) is not None


@pytest.mark.parametrize(("k", "arms"), [(3, 1), (5, 1), (5, 2)])
def test_one_more_reference_is_blinded_as_rarely_as_stated(k: int, arms: int) -> None:
    random = np.random.default_rng(k + arms)
    # So far apart that the least spread upwards does not matter; with less it is blinded more rarely.
    draws = random.normal(0.0, 5.0, (4000, arms, k + 1))
    blind = sum(
        any(did_not_take("arm", own, others, n=10**6, arms=arms) is not None for own, *others in draw)
        for draw in draws.tolist()
    )
    # Four standard errors of .02 in 4,000 draws.
    assert abs(blind / len(draws) - UNLIKE) < 0.009

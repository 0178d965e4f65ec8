"""Forget against holdout on the same models: known answers, simulation with known truth, invariances."""

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from auditor.inference.contrast import Contrast, Two, adjusted, p_permutation, slope

Array = NDArray[np.float64]
SIDES = {"with a reference": True, "without": False}


def two(forget: list[float], holdout: list[float]) -> Two:
    return Two(forget=np.array(forget, dtype=np.float64), holdout=np.array(holdout, dtype=np.float64))


def drawn(
    random: np.random.Generator, n: int, m: int, *, rho: float = 0.0, effect: float = 3.0, reference: bool = False
) -> Contrast:
    """Normal scores: subjects differ in how hard they are, by one, and models differ on each of them, by one half."""
    hard = random.standard_normal(n + m)

    def model(taught: float) -> Two:
        x = hard + 0.5 * random.standard_normal(n + m)
        return Two(forget=x[:n] + taught, holdout=x[n:])

    return Contrast(
        unlearned=model(rho * effect),
        original=model(effect),
        reference=model(0.0) if reference else None,
        floor=0.0,
    )


class TestByHand:
    OWN = two([3, 5], [0, 1, 2])

    def test_difference(self) -> None:
        assert self.OWN.difference == 3.0
        assert self.OWN.less(two([1, 1], [0, 2, 4]), 0.5).difference == 3.0 - 0.5 * (1 - 2)

    def test_slope_comes_from_the_holdout_alone(self) -> None:
        reference = two([9, -4], [0, 2, 4])
        assert slope(self.OWN, reference) == pytest.approx(0.5)
        assert slope(two([-70, 70], [0, 1, 2]), reference) == pytest.approx(0.5)
        assert slope(self.OWN, None) == 0.0

    def test_what_the_reference_predicts_is_taken_off(self) -> None:
        """It finds forget subjects easier by 3, and of its differences half are found in this model."""
        assert adjusted(self.OWN, two([4, 6], [0, 2, 4])) == pytest.approx(3.0 - 0.5 * 3.0)
        assert adjusted(self.OWN, None) == 3.0

    def test_a_reference_that_scores_every_holdout_subject_alike_predicts_nothing(self) -> None:
        assert slope(self.OWN, two([4, 6], [1, 1, 1])) == 0.0
        assert adjusted(self.OWN, two([4, 6], [1, 1, 1])) == 3.0

    def test_rho_is_the_ratio_of_the_differences(self) -> None:
        found = Contrast(unlearned=two([1, 2], [0, 1]), original=two([4, 6], [0, 2]), reference=None, floor=0.0)
        assert (found.n, found.m) == (1.0, 4.0)
        noiseless = Contrast(unlearned=two([1, 1], [0, 0]), original=two([4, 4], [0, 0]), reference=None, floor=0.0)
        limits = noiseless.limits()
        assert limits is not None
        assert (limits.low, limits.value, limits.high) == (0.25, 0.25, 0.25)

    def test_the_floor_alone_opens_the_limits(self) -> None:
        found = Contrast(unlearned=two([1, 1, 1], [0, 0, 0]), original=two([4] * 3, [0] * 3), reference=None, floor=0.1)
        limits, t = found.limits(), stats.t.ppf(0.95, 2)
        assert limits is not None
        assert (limits.low, limits.high) == pytest.approx((0.25 - t * 0.1 / 4, 0.25 + t * 0.1 / 4))
        assert (found.standard_error(), found.degrees()) == pytest.approx((0.1, 2))

    def test_resolution(self) -> None:
        original = two([3, 4], [0, 1, 2])
        found = Contrast(unlearned=self.OWN, original=original, reference=None, floor=0.1)
        wanted = stats.t.ppf(0.95, 2) * math.sqrt(1 / 2 + 1 / 3 + 0.01) / 2.5
        assert found.resolution() == pytest.approx(wanted)

    def test_standard_error_with_a_reference(self) -> None:
        """Residuals of holdout −.5, 1, −.5 on three less two degrees of freedom; r̄ differs by 3, and S_rr is 8."""
        own, reference = two([4, 6], [0, 2.5, 2]), two([4, 6], [0, 2, 4])
        found = Contrast(unlearned=own, original=own, reference=reference, floor=0.0)
        left_forget = np.var([4 - 0.5 * 4, 6 - 0.5 * 6], ddof=1)
        assert found.n == pytest.approx(5 - 1.5 - 0.5 * 3)
        assert found.standard_error() ** 2 == pytest.approx(left_forget / 2 + 1.5 / 3 + 1.5 / 8 * 9)


class TestAgainstOtherFormulas:
    @pytest.mark.parametrize(("n", "m"), [(20, 20), (7, 31), (40, 5)])
    def test_p_value_is_that_of_welchs_test(self, n: int, m: int) -> None:
        found = drawn(np.random.default_rng(n), n, m, rho=0.2)
        u, o = found.unlearned, found.original
        wanted = stats.ttest_ind(u.forget, u.holdout, equal_var=False, alternative="greater")
        assert found.p_above(0.0) == pytest.approx(wanted.pvalue)
        assert found.degrees() == pytest.approx(wanted.df)
        assert found.standard_error() == pytest.approx(found.n / wanted.statistic)
        z = u.less(o, 0.25)
        shifted = stats.ttest_ind(z.forget, z.holdout, equal_var=False, alternative="greater")
        assert found.p_above(0.25) == pytest.approx(shifted.pvalue)

    def test_slope_is_that_of_a_straight_line(self) -> None:
        found = drawn(np.random.default_rng(4), 12, 15, reference=True)
        assert found.reference is not None
        line = np.polyfit(found.reference.holdout, found.unlearned.holdout, 1)
        assert slope(found.unlearned, found.reference) == pytest.approx(line[0])
        predicted = np.polyval(line, found.reference.forget)
        assert found.n == pytest.approx(float((found.unlearned.forget - predicted).mean()))

    @given(seed=st.integers(0, 10**6), n=st.integers(3, 30), m=st.integers(3, 30), rho=st.floats(-0.5, 1.2))
    def test_limits_solve_the_defining_equation(self, seed: int, n: int, m: int, rho: float) -> None:
        found = drawn(np.random.default_rng(seed), n, m, rho=rho)
        limits, u, o = found.limits(), found.unlearned, found.original
        v = np.cov(u.forget, o.forget) / n + np.cov(u.holdout, o.holdout) / m
        near = u.less(o, min(max(u.difference / o.difference, 0.0), 1.0))
        t = stats.t.ppf(0.95, stats.ttest_ind(near.forget, near.holdout, equal_var=False).df)
        if o.difference <= 0 or o.difference**2 <= t**2 * v[1, 1]:
            assert limits is None
            return
        assert limits is not None
        assert limits.low <= limits.value <= limits.high
        for at in (limits.low, limits.high):
            right = t**2 * (v[0, 0] - 2 * at * v[0, 1] + at**2 * v[1, 1])
            assert (u.difference - at * o.difference) ** 2 == pytest.approx(right, rel=1e-5, abs=1e-7)


class TestSimulated:
    @pytest.mark.parametrize("reference", SIDES.values(), ids=SIDES)
    @pytest.mark.parametrize("rho", [0.0, 0.3, 0.5])
    def test_each_limit_covers_at_its_nominal_level(self, rho: float, reference: bool) -> None:
        random = np.random.default_rng(7)
        found = [drawn(random, 20, 20, rho=rho, reference=reference).limits() for _ in range(1500)]
        known = [limits for limits in found if limits is not None]
        assert len(known) == len(found)
        assert np.mean([rho <= limits.high for limits in known]) >= 0.93
        assert np.mean([limits.low <= rho for limits in known]) >= 0.93

    def test_the_upper_limit_covers_where_knowledge_is_kept_of_some_subjects_and_not_of_others(self) -> None:
        """Half of the knowledge, as all of it about half of the subjects."""
        random = np.random.default_rng(8)
        covered = 0
        for _ in range(1000):
            one = drawn(random, 20, 20)
            kept = one.unlearned.forget + 3.0 * (random.random(20) < 0.5)
            found = Contrast(
                unlearned=Two(forget=kept, holdout=one.unlearned.holdout),
                original=one.original,
                reference=None,
                floor=0.0,
            ).limits()
            covered += found is None or found.high >= 0.5
        assert covered / 1000 >= 0.93

    @pytest.mark.parametrize("rho", [0.0, 0.5])
    def test_the_upper_limit_covers_for_probabilities_where_both_sides_have_as_many(self, rho: float) -> None:
        """Of what nobody was taught they lie near 0 with a long tail; a side of its own size each makes up for it."""
        assert covered_share(rho, 20) >= 0.93

    @pytest.mark.parametrize(("m", "low", "high"), [(40, 0.89, 0.94), (100, 0.84, 0.90)])
    def test_it_covers_less_often_where_the_holdout_is_larger(self, m: int, low: float, high: float) -> None:
        """As docs/verdict.md says: the tail is seen on the larger side and not on the smaller."""
        assert low <= covered_share(0.0, m) <= high

    @pytest.mark.parametrize("reference", SIDES.values(), ids=SIDES)
    def test_a_residue_at_the_bar_is_accused_at_most_as_often_as_stated(self, reference: bool) -> None:
        random = np.random.default_rng(9)
        p = [drawn(random, 20, 20, rho=0.25, reference=reference).p_above(0.25) for _ in range(2000)]
        assert np.mean(np.array(p) <= 0.02) <= 0.02 + 3 * math.sqrt(0.02 * 0.98 / 2000)

    def test_the_variance_counts_that_the_slope_is_an_estimate(self) -> None:
        """The reference finds forget subjects easier by two: then most of what is uncertain is the slope."""
        random = np.random.default_rng(10)
        reference = Two(forget=random.standard_normal(15) + 2, holdout=random.standard_normal(15))
        values, variances = [], []
        for _ in range(3000):
            own = reference.less(Two(forget=random.standard_normal(15), holdout=random.standard_normal(15)), 1.0)
            found = Contrast(unlearned=own, original=own, reference=reference, floor=0.0)
            values.append(found.n)
            variances.append(found.standard_error() ** 2)
        assert np.mean(values) == pytest.approx(0.0, abs=0.05)
        assert np.mean(variances) == pytest.approx(np.var(values), rel=0.1)
        assert np.mean(variances) > 2 * (2 / 15)


def covered_share(rho: float, m: int) -> float:
    """How often the upper limit is no less than ρ: 20 forget subjects with long-tailed probabilities, m of holdout."""
    random = np.random.default_rng(15)
    covered = 0
    for _ in range(1000):
        hard, luck, other = random.standard_normal((3, 20 + m))
        never, original = (1 / (1 + np.exp(4 - 2 * hard - x)) for x in (luck, other))
        original[:20] = 1 / (1 + np.exp(-2 - 2 * hard[:20] - other[:20]))
        kept = np.where(random.random(20) < rho, original[:20], never[:20])
        found = Contrast(
            unlearned=Two(forget=kept, holdout=never[20:]),
            original=Two(forget=original[:20], holdout=original[20:]),
            reference=None,
            floor=1 / 200,
        ).limits()
        covered += found is None or found.high >= rho
    return covered / 1000


def _enumerated(own: Two, reference: Two | None) -> tuple[float, float]:
    """Shares of all ways to divide the subjects whose difference is at least, and at most, the one found."""
    x, n = np.concatenate([own.forget, own.holdout]), len(own.forget)
    r = None if reference is None else np.concatenate([reference.forget, reference.holdout])

    def split(values: Array, taken: tuple[int, ...]) -> Two:
        rest = [i for i in range(len(values)) if i not in taken]
        return Two(forget=values[list(taken)], holdout=values[rest])

    found = adjusted(own, reference)
    all_of_them = np.array(
        [adjusted(split(x, t), None if r is None else split(r, t)) for t in combinations(range(len(x)), n)]
    )
    return float((all_of_them >= found - 1e-9).mean()), float((all_of_them <= found + 1e-9).mean())


class TestPermutation:
    @pytest.mark.parametrize("reference", [None, two([1, 2, 4], [3, 1, 0]), two([0, 5, 1], [2, 2.5, 7])])
    @pytest.mark.parametrize(
        "own", [two([5, 6, 7], [1, 2, 3]), two([1, 5, 3], [2, 4, 0]), two([1, 1, 2], [1, 2, 1])], ids=str
    )
    def test_it_agrees_with_every_way_to_divide_the_subjects(self, own: Two, reference: Two | None) -> None:
        draws = 5000
        found = p_permutation(own, reference, draws, np.random.default_rng(0))
        for p, exact in zip(found, _enumerated(own, reference), strict=True):
            assert p == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / draws) + 1 / draws)

    def test_the_most_extreme_of_twenty_ways(self) -> None:
        above, below = p_permutation(two([5, 6, 7], [1, 2, 3]), None, 4000, np.random.default_rng(1))
        assert above == pytest.approx(1 / 20, abs=0.015)
        assert below == 1.0

    def test_groups_of_unequal_size(self) -> None:
        own, reference = two([4, 1], [0, 2, 5, 3]), two([1, 2], [0, 3, 4, 1])
        found = p_permutation(own, reference, 5000, np.random.default_rng(2))
        assert found == pytest.approx(_enumerated(own, reference), abs=0.03)

    def test_it_is_never_0_and_counts_every_draw(self) -> None:
        above, below = p_permutation(two([9] * 12, [0] * 12), None, 2500, np.random.default_rng(3))
        assert above == pytest.approx(1 / 2501)
        assert below == 1.0
        mixed, _ = p_permutation(two([1, 3, 4], [0, 2, 5]), None, 2500, np.random.default_rng(3))
        assert mixed * 2501 == pytest.approx(round(mixed * 2501))

    @pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3, 1e6])
    def test_ties_count_as_ties(self, value: float) -> None:
        own = two([value] * 5, [value] * 7)
        assert p_permutation(own, None, 300, np.random.default_rng(4)) == (1.0, 1.0)

    def test_the_seed_decides(self) -> None:
        own = drawn(np.random.default_rng(5), 10, 10).unlearned
        first, same, other = (p_permutation(own, None, 500, np.random.default_rng(s)) for s in (1, 1, 2))
        assert first == same
        assert first != other

    @pytest.mark.parametrize("reference", SIDES.values(), ids=SIDES)
    @pytest.mark.parametrize("skewed", [False, True])
    def test_it_rejects_as_often_as_stated_under_its_null(self, reference: bool, skewed: bool) -> None:
        """Whatever the distribution: chance divides, and nothing else is assumed."""
        random = np.random.default_rng(6)
        n, rejected = 1500, np.zeros(2)
        for _ in range(n):
            hard, luck = random.standard_normal((2, 30))
            x = np.exp(2 * hard + luck) if skewed else hard + luck
            own, other = Two(forget=x[:12], holdout=x[12:]), Two(forget=hard[:12], holdout=hard[12:])
            p = p_permutation(own, other if reference else None, 249, random)
            rejected += np.array(p) <= 0.02
        for share in rejected / n:
            assert share == pytest.approx(0.02, abs=3.5 * math.sqrt(0.02 * 0.98 / n))


class TestResolution:
    def test_an_informative_reference_resolves_smaller_residues(self) -> None:
        random = np.random.default_rng(11)
        pairs = []
        for _ in range(50):
            found = drawn(random, 20, 20, reference=True)
            bare = Contrast(unlearned=found.unlearned, original=found.original, reference=None, floor=0.0)
            pairs.append((found.resolution(), bare.resolution()))
        narrowed = [informed < alone for informed, alone in pairs if informed is not None and alone is not None]
        assert len(narrowed) == 50
        assert np.mean(narrowed) > 0.9

    @pytest.mark.parametrize("reference", SIDES.values(), ids=SIDES)
    def test_the_unlearned_model_has_no_part_in_it(self, reference: bool) -> None:
        random = np.random.default_rng(12)
        found = drawn(random, 20, 15, reference=reference)
        others = [drawn(random, 20, 15, rho=rho).unlearned for rho in (0.0, 1.0, -3.0)]
        noisy = Two(forget=100 * others[0].forget, holdout=100 * others[0].holdout)
        values = {
            Contrast(unlearned=u, original=found.original, reference=found.reference, floor=0.01).resolution()
            for u in (*others, noisy)
        }
        assert len(values) == 1

    def test_it_is_what_limits_around_nothing_reach_up_to(self) -> None:
        """Limits are narrower by what both models find hard alike, of which the resolution knows nothing."""
        random = np.random.default_rng(13)
        reached, promised = [], []
        for _ in range(300):
            found = drawn(random, 30, 30)
            limits = found.limits()
            assert limits is not None
            reached.append(limits.high)
            promised.append(found.resolution())
        assert 0.75 < np.mean(reached) / np.mean(promised) < 1


class TestDegenerate:
    LIKE = two([1, 3, 2, 4], [2, 1, 4, 3])

    @pytest.mark.parametrize("original", [LIKE, two([0, 1, 0, 1], [3, 4, 3, 4])], ids=["as high", "below"])
    @pytest.mark.parametrize("reference", [None, two([4, 2, 3, 1], [2, 1, 3, 4])], ids=["without", "reference"])
    def test_no_limits_where_the_original_does_not_stand_above(self, original: Two, reference: Two | None) -> None:
        found = Contrast(unlearned=two([9, 8, 9, 8], [1, 2, 1, 2]), original=original, reference=reference, floor=0.01)
        assert found.m <= 0
        assert found.limits() is None
        assert found.resolution() is None

    def test_no_limits_where_the_noise_drowns_the_original(self) -> None:
        original = two([0, 9, 1, 8], [0, 8, 1, 7])
        found = Contrast(unlearned=self.LIKE, original=original, reference=None, floor=0.01)
        assert found.m > 0
        assert found.limits() is None
        resolution = found.resolution()
        assert resolution is not None
        assert resolution > 1

    @pytest.mark.parametrize("floor", [0.0, 0.01])
    @pytest.mark.parametrize("reference", [None, two([0.5] * 4, [0.5] * 5)], ids=["without", "flat reference"])
    def test_scores_that_are_all_equal(self, reference: Two | None, floor: float) -> None:
        flat, above = two([0.5] * 4, [0.5] * 5), two([1.0] * 4, [0.0] * 5)
        nothing = Contrast(unlearned=flat, original=flat, reference=reference, floor=floor)
        assert nothing.limits() is None
        assert nothing.resolution() is None
        assert nothing.p_above(0.0) == pytest.approx(0.5)
        found = Contrast(unlearned=flat, original=above, reference=reference, floor=floor)
        limits = found.limits()
        assert limits is not None
        assert limits.value == 0.0
        assert limits.high == pytest.approx(stats.t.ppf(0.95, found.degrees()) * floor)
        assert found.degrees() == 3
        # All of .25 away from nothing, and nothing varies but by the floor.
        assert found.p_above(0.25) > 0.99
        assert all(map(math.isfinite, (found.standard_error(), found.p_above(0.25))))


CASES = {
    "seed": st.integers(0, 10**6),
    "n": st.integers(4, 12),
    "m": st.integers(4, 12),
    "reference": st.booleans(),
}


def _numbers(found: Contrast) -> list[float]:
    limits, w = found.limits(), found.resolution()
    shown = [] if limits is None else [limits.value, limits.low, limits.high]
    return [*shown, *([] if w is None else [w]), found.p_above(0.25), found.degrees()]


def _like(found: Contrast) -> object:
    return pytest.approx(_numbers(found), rel=1e-5, abs=1e-7)


class TestInvariances:
    @given(**CASES)
    @settings(max_examples=50)
    def test_the_order_of_subjects_within_a_side(self, seed: int, n: int, m: int, reference: bool) -> None:
        random = np.random.default_rng(seed)
        found = drawn(random, n, m, rho=0.3, reference=reference)
        first, second = random.permutation(n), random.permutation(m)

        def shuffled(own: Two) -> Two:
            return Two(forget=own.forget[first], holdout=own.holdout[second])

        again = Contrast(
            unlearned=shuffled(found.unlearned),
            original=shuffled(found.original),
            reference=None if found.reference is None else shuffled(found.reference),
            floor=found.floor,
        )
        assert _numbers(again) == _like(found)

    @given(**CASES, shifts=st.tuples(*[st.floats(-50, 50)] * 3))
    @settings(max_examples=50)
    def test_a_constant_added_to_all_scores_of_a_model(
        self, seed: int, n: int, m: int, reference: bool, shifts: tuple[float, float, float]
    ) -> None:
        found = drawn(np.random.default_rng(seed), n, m, rho=0.3, reference=reference)

        def shifted(own: Two, by: float) -> Two:
            return Two(forget=own.forget + by, holdout=own.holdout + by)

        again = Contrast(
            unlearned=shifted(found.unlearned, shifts[0]),
            original=shifted(found.original, shifts[1]),
            reference=None if found.reference is None else shifted(found.reference, shifts[2]),
            floor=found.floor,
        )
        assert _numbers(again) == _like(found)

    @given(**CASES, unit=st.floats(0.01, 100), of_reference=st.floats(0.01, 100))
    @settings(max_examples=50)
    def test_the_unit_of_the_score(
        self, seed: int, n: int, m: int, reference: bool, unit: float, of_reference: float
    ) -> None:
        """The reference may have a unit of its own: what it predicts is found by a line."""
        found = drawn(np.random.default_rng(seed), n, m, rho=0.3, reference=reference)

        def scaled(own: Two, by: float) -> Two:
            return Two(forget=own.forget * by, holdout=own.holdout * by)

        def measured(by: float, by_reference: float, floor: float) -> Contrast:
            other = None if found.reference is None else scaled(found.reference, by_reference)
            return Contrast(
                unlearned=scaled(found.unlearned, by), original=scaled(found.original, by), reference=other, floor=floor
            )

        assert _numbers(measured(unit, of_reference, 0.05 * unit)) == _like(measured(1.0, 1.0, 0.05))

    @given(seed=st.integers(0, 10**6), n=st.integers(4, 12), m=st.integers(4, 12), by=st.floats(-5, 5))
    @settings(max_examples=30)
    def test_what_the_reference_knows_is_taken_off_whatever_its_share(
        self, seed: int, n: int, m: int, by: float
    ) -> None:
        found = drawn(np.random.default_rng(seed), n, m, rho=0.3, reference=True)
        assert found.reference is not None
        moved = found.unlearned.less(found.reference, by)
        assert adjusted(moved, found.reference) == pytest.approx(found.n, abs=1e-6)
        assert slope(moved, found.reference) == pytest.approx(slope(found.unlearned, found.reference) - by, abs=1e-6)

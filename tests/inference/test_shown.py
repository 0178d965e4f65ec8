"""A limit is counted by what its check reads of a fully suppressed copy: half of that is the bar, not half of 1."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.inference.verdict import decide
from auditor.records.evidence import DecoyResult, Evidence, Interval
from tests.made_records import clean, evidence, plan


def decoy(value: float, *, detected: bool = True) -> DecoyResult:
    return DecoyResult(rho=Interval(value=value, low=value - 0.1, high=value + 0.1), p_value=1e-4, detected=detected)


def reading(e: Evidence, *values: float) -> Evidence:
    """The check with decoys assigned to it that it reads so."""
    decoys = {f"decoy {i}": decoy(value) for i, value in enumerate(values)}
    return e.model_copy(update={"decoys": decoys, "assigned_decoys": tuple(decoys)})


def with_relearning(rho: tuple[float, float, float], *values: float) -> list[Evidence]:
    found = reading(evidence("relearning", rho), *values)
    return [found if e.check == "relearning" else e for e in clean()]


class TestShows:
    def test_the_weakest_of_the_decoys_that_it_has_to_see_through(self) -> None:
        e = reading(evidence("relearning", (0.05, -0.1, 0.2)), 0.4, 0.9)
        assert (e.shows, e.bound) == (0.4, 0.5)

    def test_decoys_of_other_checks_and_missed_ones_say_nothing_of_it(self) -> None:
        e = reading(evidence("relearning", (0.05, -0.1, 0.2)), 0.8)
        others = {**e.decoys, "of another check": decoy(0.1)}
        assert e.model_copy(update={"decoys": others}).shows == 0.8
        missed = {"decoy 0": decoy(0.8, detected=False)}
        assert e.model_copy(update={"decoys": missed}).shows == 1.0

    def test_without_decoys_or_with_one_that_reads_more_than_the_original_it_is_the_original(self) -> None:
        e = evidence("few_shot", (0.05, -0.1, 0.2))
        assert (e.shows, e.bound) == (1.0, 0.2)
        assert reading(e, 1.64).shows == 1.0

    @given(high=st.floats(-0.5, 3), values=st.lists(st.floats(0.01, 2), max_size=4))
    def test_counting_by_decoys_never_lowers_a_bound_above_nothing(self, high: float, values: list[float]) -> None:
        e = reading(evidence("relearning", (high - 0.1, high - 0.2, high)), *values)
        assert e.bound is not None
        assert e.bound >= high or high < 0


class TestVerdict:
    @pytest.mark.parametrize(("shown", "outcome"), [(0.9, "DELETED"), (0.62, "DELETED"), (0.6, "INCONCLUSIVE")])
    def test_an_upper_limit_above_half_of_a_suppressed_copy_clears_nothing(self, shown: float, outcome: str) -> None:
        """[.05, .30] lies below .5, and is all of what a check that reads .3 of suppressed copies could show."""
        verdict = decide(plan(), with_relearning((0.15, 0.05, 0.30), shown))
        assert verdict.outcome == outcome
        said = [r for r in verdict.reasons if r.check == "relearning" and r.kind == "upper limit too high"]
        assert (said == []) == (outcome == "DELETED")

    def test_the_reason_names_what_the_check_reads_of_a_suppressed_copy(self) -> None:
        (said,) = [r for r in decide(plan(), with_relearning((0.1, 0.0, 0.2), 0.3)).reasons if r.check == "relearning"]
        assert said.sentence == (
            "relearning: ρ = 0.10 [0.00, 0.20], its upper limit does not lie below 0.145, by what it reads of a fully "
            "suppressed copy, 0.30"
        )

    def test_the_bound_is_counted_so_too(self) -> None:
        verdict = decide(plan(), with_relearning((0.0, -0.1, 0.15), 0.5, 0.8))
        assert verdict.outcome == "DELETED"
        assert verdict.bound == pytest.approx(0.3)
        (said,) = [r for r in verdict.reasons if r.check == "relearning"]
        assert "below 0.5 of the 0.50 that it reads of a suppressed copy" in said.sentence

    def test_a_check_beside_the_primaries_is_held_to_it_as_well(self) -> None:
        depth = evidence("depth", (0.1, 0.0, 0.3))
        assert decide(plan(), [*clean(), depth]).outcome == "DELETED"
        assert decide(plan(), [*clean(), reading(depth, 0.5)]).outcome == "INCONCLUSIVE"

    def test_none_beside_the_primaries_is_let_off_for_seeing_little(self) -> None:
        depth = evidence("depth", (0.3, 0.0, 0.6)).model_copy(update={"resolution": 0.3})
        for values in ((), (0.5,)):
            assert decide(plan(), [*clean(), reading(depth, *values)]).outcome == "INCONCLUSIVE"

    def test_accusing_is_as_it_was(self) -> None:
        for values in ((), (0.4,)):
            verdict = decide(plan(), with_relearning((0.5, 0.3, 0.7), *values))
            assert (verdict.outcome, verdict.accusers) == ("SUPPRESSED", ("relearning",))


def test_half_of_what_a_suppressed_copy_shows_is_rarely_cleared() -> None:
    """Size of the rule: true share .5 of a decoy's reading, whatever the reading, is cleared in about 5 % at most."""
    random = np.random.default_rng(0)
    for shown in (0.3, 0.6, 1.0):
        spread, cleared, n = 0.05, 0, 400
        for value in random.normal(0.5 * shown, spread, n):
            rho = (value, value - 1.645 * spread, value + 1.645 * spread)
            e = reading(evidence("relearning", rho), shown)
            assert e.bound is not None
            cleared += e.bound < 0.5
        assert cleared / n <= 0.05 + 2 * (0.05 * 0.95 / n) ** 0.5

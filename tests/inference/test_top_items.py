"""Single items that are kept behind a mean that looks forgotten: the test of the highest values."""

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import stats

from auditor.attacks.feature_membership import FeatureMembership
from auditor.attacks.membership.images import ATTACK, Membership
from auditor.attacks.membership.readings import HOLDOUT, MARGIN, MembershipSettings
from auditor.inference.combine import combine
from auditor.inference.compared import CheckScores
from auditor.inference.top_items import (
    TOPS,
    corrected,
    forget_among_top,
    holdout_lack,
    item_test,
    smallest_visible,
    standing_out,
    top_p_value,
    top_test,
)
from auditor.inference.verdict import decide
from auditor.records.policy import load_policy
from auditor.records.score import Items, Reading, Score
from auditor.reports import text
from tests import made_records
from tests.made_records import NULLS

ALPHA = 0.02
POLICY = load_policy("default")
K = 5


def score(forget: np.ndarray, holdout: np.ndarray, about: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())) -> Score:
    """Of a membership check, with the mean of the first half as its reading."""
    own = forget[: len(forget) // 2]
    values = {MARGIN: own - holdout.mean(), ATTACK: forget[len(own) :], HOLDOUT: holdout}
    return Score(
        check="membership",
        readings={name: Reading(value=float(v.mean()), examples=tuple(v.tolist())) for name, v in values.items()},
        n_examples=len(own),
        items=Items(
            forget=tuple(forget.tolist()),
            holdout=tuple(holdout.tolist()),
            forget_about=about[0],
            holdout_about=about[1],
            tops=TOPS,
        ),
    )


# --- known answers -------------------------------------------------------------------------------------------


def test_counts_by_hand() -> None:
    forget, holdout = np.array([9.0, 1.0, 7.0]), np.array([8.0, 6.0])
    assert forget_among_top(forget, holdout, (1, 2, 3, 4, 5)) == (1, 1, 2, 2, 3)
    assert top_p_value(2, 3, 2, 2) == pytest.approx(3 / 10)
    assert top_p_value(0, 3, 2, 2) == 1.0


def test_ties_count_for_the_holdout() -> None:
    assert forget_among_top(np.zeros(3), np.zeros(4), (1, 4, 5)) == (0, 0, 1)
    rows, p = top_test(np.zeros(3), np.zeros(4), TOPS)
    assert [row.top for row in rows] == [1, 2, 3, 4]
    assert p == pytest.approx(1.0)


@pytest.mark.parametrize(("n", "m", "tops"), [(3, 5, (1, 2, 3)), (4, 4, (1, 2, 4, 8)), (2, 7, (2, 5)), (5, 3, (3, 8))])
def test_the_correction_is_what_counting_all_arrangements_gives(n: int, m: int, tops: tuple[int, ...]) -> None:
    smallest = []
    for places in combinations(range(n + m), n):
        counts = np.cumsum(np.isin(np.arange(n + m), places))
        smallest.append(min(top_p_value(int(counts[j - 1]), n, m, j) for j in tops))
    for p in set(smallest):
        assert corrected(p, n, m, tops) == pytest.approx(np.mean([other <= p * (1 + 1e-9) for other in smallest]))


def test_what_can_be_seen() -> None:
    """One kept item takes a hundred holdout items for each; no test of exchangeable items sees two of 80 in 400."""
    assert smallest_visible(80, 8000, TOPS, ALPHA) == 1
    assert top_p_value(2, 80, 320, 2) > ALPHA
    assert [smallest_visible(80, m, TOPS, ALPHA) for m in (720, 320, 80, 2)] == [2, 3, 8, None]


def test_a_holdout_that_is_too_small_is_named_with_what_is_needed() -> None:
    assert holdout_lack(60, 240) is None
    assert holdout_lack(60, 239) == (
        "data.holdout holds 239 examples and the test of single items needs 240, 4 for each of 60 forget examples: "
        "give more"
    )


# --- size ----------------------------------------------------------------------------------------------------


def rate(draw: Callable[[np.random.Generator], float], trials: int, seed: int) -> float:
    random = np.random.default_rng(seed)
    return float(np.mean([draw(random) < ALPHA for _ in range(trials)]))


def at_most(level: float, trials: int) -> float:
    return level + 3 * (level * (1 - level) / trials) ** 0.5


@pytest.mark.parametrize(("n", "m"), [(80, 320), (100, 100), (10, 400), (40, 12)])
def test_items_of_one_distribution_are_named_no_more_often_than_stated(n: int, m: int) -> None:
    found = rate(lambda random: top_test(random.standard_t(2, n), random.standard_t(2, m), TOPS)[1], 1000, 1)
    assert found <= at_most(ALPHA, 1000)


def test_a_retrain_is_named_no_more_often_than_stated_where_items_differ_in_hardness_and_spread() -> None:
    """Each item has a level and a spread of its own, and each model a level: the references take out the first."""

    def trial(random: np.random.Generator) -> float:
        level, spread = random.normal(0, 5, 300), random.lognormal(0, 1, 300)
        models = [random.normal() + level + spread * random.standard_normal(300) for _ in range(K + 1)]
        own, *references = (score(values[:60], values[60:]) for values in models)
        found = item_test(own, {f"reference {i}": r for i, r in enumerate(references)}, ALPHA)
        assert found is not None
        return found.p_value

    assert rate(trial, 600, 2) <= at_most(ALPHA, 600)


def test_facts_of_one_subject_count_as_one_item() -> None:
    """Facts move together with their subject; counted one by one they would name true retrains."""
    about = tuple(f"f{i // 4}" for i in range(80)), tuple(f"h{i // 4}" for i in range(320))

    def trial(random: np.random.Generator, grouped: bool) -> float:
        values = random.standard_normal(100).repeat(4) + 0.2 * random.standard_normal(400)
        found = item_test(score(values[:80], values[80:], about if grouped else ((), ())), {}, ALPHA)
        assert found is not None
        assert (found.n_forget, found.n_holdout) == ((20, 80) if grouped else (80, 320))
        return found.p_value

    assert rate(lambda random: trial(random, True), 600, 3) <= at_most(ALPHA, 600)
    assert rate(lambda random: trial(random, False), 600, 3) > 2 * ALPHA


# --- power ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("m", "low", "high"), [(100, 0.0, 0.2), (400, 0.93, 1.0), (900, 0.99, 1.0)])
def test_four_of_a_hundred_kept(m: int, low: float, high: float) -> None:
    """Kept items stand five spreads above; a t-test of the means sees them in a third of the cases."""

    def drawn(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        forget = random.standard_normal(100)
        forget[:4] += 5
        return forget, random.standard_normal(m)

    power = rate(lambda random: top_test(*drawn(random), TOPS)[1], 400, 4)
    assert low <= power <= high
    assert rate(lambda random: stats.ttest_ind(*drawn(random), alternative="greater").pvalue, 400, 4) < 0.5


KEPT, PUSHED, ORIGINAL = 8.0, -8.0, 8.0


def world(seed: int, n: int, m: int) -> Callable[[np.ndarray], Score]:
    """Makes a model of one hardness of every item from what it adds to it on the forget items."""
    random = np.random.default_rng(seed)
    hardness = random.normal(0, 1, n + m)

    def model(added: np.ndarray) -> Score:
        values = hardness + random.normal(0, 1, n + m)
        return score(values[:n] + added, values[n:])

    return model


@pytest.mark.parametrize("m", [120, 60])
def test_a_model_that_kept_every_second_example_is_named(m: int) -> None:
    """Its mean is that of a retrain, the others being pushed far down; even a small holdout tells."""
    model = world(0, 60, m)
    references = {f"reference {i}": model(np.zeros(60)) for i in range(K)}
    half = model(np.where(np.arange(60) % 2, KEPT, PUSHED))
    assert abs(half.readings[MARGIN].value) < 1, "the mean looks forgotten"
    found = item_test(half, references, ALPHA)
    assert found is not None
    assert found.p_value < 1e-6
    like = item_test(model(np.zeros(60)), references, ALPHA)
    assert like is not None
    assert like.p_value > ALPHA


# --- invariances ---------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 10_000), n=st.integers(2, 30), m=st.integers(2, 60))
def test_what_is_added_to_an_item_in_all_models_alike_and_a_common_scale_change_nothing(
    seed: int, n: int, m: int
) -> None:
    random = np.random.default_rng(seed)
    models = random.standard_normal((4, n + m))
    moved = 3 * (models + random.normal(0, 9, n + m))
    order = np.concatenate([random.permutation(n), n + random.permutation(m)])
    found = []
    for values in (models, moved, models[:, order]):
        own, *references = (score(v[:n], v[n:]) for v in values)
        found.append(item_test(own, {f"reference {i}": r for i, r in enumerate(references)}, ALPHA))
    assert found[0] == found[1] == found[2]


@given(
    n=st.integers(1, 60), m=st.integers(1, 300), seed=st.integers(0, 1000), tops=st.sets(st.integers(1, 40), min_size=1)
)
def test_the_corrected_p_value_lies_between_the_smallest_and_bonferronis(
    n: int, m: int, seed: int, tops: set[int]
) -> None:
    random = np.random.default_rng(seed)
    ordered = tuple(sorted({1, *tops}))
    rows, p = top_test(random.standard_normal(n), random.standard_normal(m), ordered)
    smallest = min(row.p_value for row in rows)
    assert smallest * (1 - 1e-6) <= p <= min(1.0, len(rows) * smallest) * (1 + 1e-6)


@given(n=st.integers(2, 60), m=st.integers(1, 300), seed=st.integers(0, 1000))
def test_the_smallest_visible_number_is_seen_wherever_it_stands_above_all(n: int, m: int, seed: int) -> None:
    kept = smallest_visible(n, m, TOPS, ALPHA)
    if kept is None:
        return
    random = np.random.default_rng(seed)
    forget = random.standard_normal(n)
    forget[:kept] += 100
    assert top_test(forget, random.standard_normal(m), TOPS)[1] < ALPHA


# --- evidence and verdict ------------------------------------------------------------------------------------


def kept(n_kept: int, n: int, m: int, check: Membership | FeatureMembership | None = None) -> made_records.Evidence:
    """Evidence of a membership check on a model that kept so many of n items, 15 nats above what references give."""
    check = check or Membership()
    model = world(7, n, m)
    own = np.zeros(n)
    own[:n_kept] = 15
    lineup = CheckScores(
        original=model(np.full(n, 15.0)),
        references={f"reference {i}": model(np.zeros(n)) for i in range(K)},
        unlearned=model(own),
        drawn={},
        perturbed={},
        decoys=dict.fromkeys(check.decoys, model(np.full(n, 15.0))),
    )
    return combine(check, lineup, POLICY, NULLS, population=False)


def decided(*found: made_records.Evidence, request: str = "sample") -> made_records.Any:
    plan = made_records.plan(
        request=request, policy=POLICY.model_copy(update={"primaries": {request: {e.check: (e.check,) for e in found}}})
    )
    return decide(plan, [made_records.forgotten(), *(e.model_copy(update={"primary": True}) for e in found)])


@pytest.mark.parametrize(("n_kept", "m"), [(2, 720), (4, 320), (40, 320)])
@pytest.mark.parametrize("check", [Membership(), FeatureMembership()], ids=lambda check: check.name)
def test_a_retrain_that_kept_few_samples_is_not_deleted(
    n_kept: int, m: int, check: Membership | FeatureMembership
) -> None:
    """Two and four of 80 mislabelled samples were, by the means alone."""
    found = kept(n_kept, 80, m, check)
    assert found.powered
    if n_kept < 40:
        assert found.rho is not None
        assert found.rho.high < 0.2, "the mean clears it"
    verdict = decided(found)
    assert verdict.outcome != "DELETED"
    if n_kept < 40:
        assert any(f"{check.name}: single items were kept: of the {n_kept} highest" in r for r in verdict.sentences)


def test_a_retrain_is_deleted_and_what_could_not_be_seen_is_said() -> None:
    verdict = decided(kept(0, 80, 320))
    assert verdict.outcome == "DELETED"
    assert (
        "membership: 3 kept examples of 80 would have been seen where they stand above all others, fewer not"
        in verdict.sentences
    )


def test_listed_samples_need_a_holdout_four_times_as_large_and_a_class_does_not() -> None:
    found = kept(0, 80, 120)
    verdict = decided(found)
    assert verdict.outcome == "INCONCLUSIVE"
    assert verdict.sentences == (f"membership: {holdout_lack(80, 120)}",)
    assert decided(found, request="class").outcome == "DELETED"


def test_a_class_that_kept_some_examples_is_not_deleted_either() -> None:
    verdict = decided(kept(9, 80, 120), request="class")
    assert verdict.outcome == "INCONCLUSIVE"
    assert any(reason.startswith("membership: single items were kept") for reason in verdict.sentences)


def test_sets_that_differ_in_the_references_too_are_named() -> None:
    """Forget items that vary more between models than holdout items do stand at both ends in every model."""
    random = np.random.default_rng(3)
    models = [score(9 * random.standard_normal(60), random.standard_normal(240)) for _ in range(K + 1)]
    found = item_test(models[0], {f"reference {i}": r for i, r in enumerate(models[1:])}, ALPHA)
    assert found is not None
    assert "so it is in 5 of 5 references, which never saw them: give a holdout that is distributed like" in (
        standing_out(found, ALPHA)
    )


def test_a_check_without_single_items_has_no_such_test() -> None:
    bare = score(np.zeros(4), np.zeros(4)).model_copy(update={"items": None})
    assert item_test(bare, {}, ALPHA) is None


@pytest.mark.parametrize("tops", [(), (0, 1), (2, 1), (1, 1)])
def test_numbers_of_highest_that_make_no_sense_are_refused(tops: tuple[int, ...]) -> None:
    with pytest.raises(ValidationError, match="tops"):
        MembershipSettings(tops=tops)


def test_fewer_permutations_than_the_plan_allows_are_refused() -> None:
    with pytest.raises(ValidationError, match="9999"):
        MembershipSettings(n_permutations=499)


# --- report --------------------------------------------------------------------------------------------------


def test_the_report_says_what_was_found_and_what_could_have_been_seen() -> None:
    found = kept(4, 80, 320).items
    assert found is not None
    assert text.single_items(found) == (
        "of the 4 highest of 80 forget and 320 holdout examples, 4 are forget ones (p = 0.0042); "
        "3 kept ones or more would be seen where they stand above all others, fewer not"
    )
    small = item_test(score(np.array([3.0, 1.0, 0.5, 0.2]), np.zeros(1)), {}, ALPHA)
    assert small is not None
    assert text.single_items(small).endswith("with so small a holdout no number of kept ones can be seen")

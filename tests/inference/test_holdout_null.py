"""Holdout subjects as the null: scores by subject into evidence."""

import dataclasses

import numpy as np
import pytest

from auditor.inference.combine import combine
from auditor.inference.compared import CheckScores
from auditor.inference.contrast import Contrast, Two, p_permutation, slope
from auditor.inference.nulls import holdout, references
from auditor.probes.outputs.images import Outputs
from auditor.randomness import generator
from auditor.records.evidence import Evidence
from auditor.records.plan import PlannedAssignment
from auditor.records.policy import load_policy
from auditor.records.score import Reading, Score, Sides
from tests.made_records import NULLS

POLICY = load_policy("default")
DRAWN = PlannedAssignment(kind="random", n_forget=24, n_holdout=30)
N, M = 24, 30
# How hard each subject is for every model.
HARD = np.random.default_rng(0).normal(0, 0.1, N + M)


class Assigned(Outputs):
    decoys = ("head_row_zeroed",)


def score(
    taught: float,
    luck: int,
    *,
    own: float = 0.03,
    hard: float = 1.0,
    divided: int | None = None,
    sides: bool = True,
    **extra: object,
) -> Score:
    """Of a model that was taught the forget subjects so much, with luck of its own on every subject."""
    known = HARD if divided is None else np.random.default_rng(divided).permutation(HARD)
    x = 0.2 + hard * known + own * np.random.default_rng([luck, 1]).standard_normal(N + M)
    both = Sides(forget=tuple((x[:N] + taught).tolist()), holdout=tuple(x[N:].tolist()))
    # T is of the eval half, and need not be the mean over all subjects.
    reading = Reading(value=float(x[: N // 2].mean()) + taught, sides=both if sides else None)
    return Score.model_validate({"check": "outputs", "readings": {"it": reading}, "n_examples": 200, **extra})


def lineup(unlearned: Score, **parts: object) -> CheckScores:
    made = CheckScores(original=score(0.6, 1), unlearned=unlearned, references={}, drawn={}, perturbed={}, decoys={})
    return dataclasses.replace(made, **parts)  # type: ignore[arg-type]


def held(unlearned: Score, *, check: Outputs | None = None, seed: int = 0, **parts: object) -> Evidence:
    return combine(check or Outputs(), lineup(unlearned, **parts), POLICY, NULLS, population=True, seed=seed)


def two(made: Score) -> Two:
    both = made.sides(("it",))
    assert both is not None
    return Two(forget=np.array(both.forget), holdout=np.array(both.holdout))


class TestSides:
    def test_they_are_the_means_of_the_chosen_readings(self) -> None:
        first = Reading(value=0, sides=Sides(forget=(1, 2), holdout=(0, 1, 2)))
        second = Reading(value=0, sides=Sides(forget=(3, 6), holdout=(4, 1, 0)))
        made = Score(check="x", readings={"a": first, "b": second, "c": Reading(value=0)}, n_examples=4)
        assert made.sides(("a",)) == first.sides
        assert made.sides(("a", "b")) == Sides(forget=(2, 4), holdout=(2, 1, 1))
        assert made.sides(("a", "c")) is None
        assert made.sides(("c",)) is None

    def test_one_subject_alone_is_no_side(self) -> None:
        with pytest.raises(ValueError, match="at least 2 items"):
            Sides(forget=(1.0,), holdout=(1.0, 2.0))

    def test_a_score_that_is_read_back_has_them(self) -> None:
        made = score(0.1, 3)
        assert Score.model_validate_json(made.model_dump_json()).sides(("it",)) == made.sides(("it",))


class TestRho:
    @pytest.mark.parametrize("luck", [11, 12, 13])
    def test_a_model_that_was_never_taught_scores_both_alike(self, luck: int) -> None:
        found = held(score(0.0, luck))
        assert (found.null_kind, found.null_words) == ("holdout", holdout.WORDS)
        assert found.rho is not None
        assert abs(found.rho.value) < 0.12
        assert found.rho.high < POLICY.thresholds.deleted
        assert (found.sighted, found.powered, found.powerless_because) == (True, True, None)
        assert found.p_value is not None
        assert found.p_value > 0.9

    def test_the_original_is_all_there(self) -> None:
        found = held(score(0.6, 1))
        assert found.rho is not None
        assert found.rho.value == pytest.approx(1.0)
        assert found.p_value is not None
        assert found.p_value < 1e-6
        assert found.p_trace == pytest.approx(1e-4)

    def test_a_part_of_it(self) -> None:
        found = held(score(0.3, 14))
        assert found.rho is not None
        assert found.rho.value == pytest.approx(0.5, abs=0.12)
        assert found.p_value is not None
        assert found.p_value < 0.01

    def test_numbers_are_those_of_the_contrast(self) -> None:
        subject, original = score(0.1, 15), score(0.6, 1)
        found = held(subject)
        own = Contrast(unlearned=two(subject), original=two(original), reference=None, floor=1 / 200)
        limits = own.limits()
        assert limits is not None
        assert found.rho is not None
        assert (found.rho.value, found.rho.low, found.rho.high) == (limits.value, limits.low, limits.high)
        assert found.resolution == own.resolution()
        assert found.p_value == own.p_above(0.25 + POLICY.thresholds.tolerance)
        assert found.spread is not None
        assert (found.spread.value, found.spread.degrees) == (own.standard_error(), own.degrees())
        assert (found.spread.n_references, found.spread.floor) == (0, 1 / 200)
        assert found.p_trace is not None
        shifted = two(subject).less(two(original), POLICY.thresholds.tolerance)
        wanted, _ = p_permutation(shifted, None, holdout.DRAWS, generator(0, "assignment", "unlearned"))
        assert found.p_trace == wanted

    def test_scores_are_of_all_forget_subjects_and_the_null_of_all_holdout_subjects(self) -> None:
        subject = score(0.1, 15)
        found = held(subject, decoys={"head_row_zeroed": score(0.5, 16)})
        assert found.scores is not None
        assert found.scores.unlearned == pytest.approx(two(subject).forget.mean())
        assert found.scores.unlearned != pytest.approx(subject.total(("it",)))
        assert found.scores.decoys["head_row_zeroed"] == pytest.approx(two(score(0.5, 16)).forget.mean())
        assert found.scores.null == pytest.approx(two(subject).holdout.mean())


class TestTraceAndDeficit:
    def test_a_small_certain_residue_leaves_a_trace_and_no_accusation(self) -> None:
        found = held(score(0.1, 17, own=0.01, hard=0.1), original=score(0.6, 1, own=0.01, hard=0.1))
        assert found.p_value is not None
        assert found.p_trace is not None
        assert found.p_deficit is not None
        assert found.p_value > 0.5
        assert found.p_trace < 0.001
        assert found.p_deficit > 0.99

    def test_less_than_nothing_is_a_deficit(self) -> None:
        found = held(score(-0.1, 17, own=0.01, hard=0.1), original=score(0.6, 1, own=0.01, hard=0.1))
        assert found.p_trace is not None
        assert found.p_deficit is not None
        assert found.p_trace > 0.99
        assert found.p_deficit < 0.001

    def test_what_machines_differ_by_is_no_trace(self) -> None:
        """ρ of .002 on subjects that hardly vary: certain, and below the tolerance of .005."""
        exact = {"own": 1e-6, "hard": 0.0}
        found = held(score(0.0012, 18, **exact), original=score(0.6, 1, **exact))
        assert found.p_trace is not None
        assert found.p_deficit is not None
        assert min(found.p_trace, found.p_deficit) > 0.9

    def test_a_model_that_was_never_taught_leaves_a_trace_as_rarely_as_stated(self) -> None:
        """Over assignments: which subjects are hard is the same in all of them, which were taught is not."""
        found = [held(score(0.0, 100 + i, divided=i), original=score(0.6, 1, divided=i)) for i in range(60)]
        traces = np.array([(e.p_trace, e.p_deficit) for e in found], dtype=np.float64)
        # Of 60 at .05 more than nine by chance once in two thousand times.
        assert (traces < 0.05).sum(axis=0).max() <= 9
        assert traces.min() > 1e-4

    def test_the_seed_of_the_audit_decides_the_draws(self) -> None:
        first, same, other = (held(score(0.02, 19), seed=seed) for seed in (1, 1, 2))
        assert first == same
        assert first.p_trace != other.p_trace
        assert first.rho == other.rho


class TestDecoys:
    def test_one_that_knows_is_seen_through(self) -> None:
        found = held(score(0.0, 11), check=Assigned(), decoys={"head_row_zeroed": score(0.5, 20)})
        decoy = found.decoys["head_row_zeroed"]
        assert decoy.detected
        assert decoy.rho is not None
        assert decoy.rho.value == pytest.approx(0.5 / 0.6, abs=0.15)
        assert decoy.p_value == pytest.approx(1e-4)
        assert found.powered
        assert found.assigned_decoys == ("head_row_zeroed",)

    def test_one_that_shows_nothing_costs_the_power(self) -> None:
        found = held(score(0.0, 11), check=Assigned(), decoys={"head_row_zeroed": score(0.0, 21)})
        assert not found.decoys["head_row_zeroed"].detected
        assert (found.sighted, found.powered) == (False, False)
        assert found.powerless_because == "it did not see through the decoy head_row_zeroed"

    def test_where_the_original_does_not_stand_above_none_is(self) -> None:
        found = held(score(0.0, 11), original=score(0.0, 22), decoys={"head_row_zeroed": score(0.5, 20)})
        assert found.decoys["head_row_zeroed"].model_dump() == {"rho": None, "p_value": None, "detected": False}


class TestPower:
    def test_an_original_that_scores_both_alike_has_no_gap(self) -> None:
        found = held(score(0.0, 11), original=score(-0.3, 1))
        assert (found.null_kind, found.rho, found.resolution, found.powered) == ("holdout", None, None, False)
        assert (found.p_value, found.p_trace, found.p_deficit) == (None, None, None)
        assert "the original does not score above its holdout subjects" in (found.powerless_because or "")

    def test_subjects_that_differ_too_much_resolve_too_little(self) -> None:
        found = held(score(0.0, 11, hard=12), original=score(0.6, 1, hard=12))
        assert found.resolution is not None
        assert found.resolution > POLICY.thresholds.deleted
        assert not found.powered
        assert "would be lost in the spread of its holdout subjects" in (found.powerless_because or "")

    def test_the_unlearned_model_has_no_part_in_it(self) -> None:
        values = {held(s).resolution for s in (score(0.0, 11), score(0.6, 12), score(0.0, 13, own=3))}
        assert len(values) == 1


class TestReference:
    def test_it_narrows_what_can_be_resolved(self) -> None:
        alone, beside = held(score(0.0, 11)), held(score(0.0, 11), references={"base": score(0.0, 23)})
        assert beside.null_kind == "holdout"
        assert beside.powered
        assert alone.resolution is not None
        assert beside.resolution is not None
        assert beside.resolution < 0.6 * alone.resolution
        assert beside.spread is not None
        assert beside.spread.n_references == 1

    def test_of_several_the_mean_is_taken(self) -> None:
        first, second = score(0.0, 23), score(0.0, 24)
        mean = score(0.0, 23)
        both = Sides(
            forget=tuple(((two(first).forget + two(second).forget) / 2).tolist()),
            holdout=tuple(((two(first).holdout + two(second).holdout) / 2).tolist()),
        )
        mean = mean.model_copy(update={"readings": {"it": Reading(value=0.0, sides=both)}})
        several = held(score(0.1, 11), references={"a": first, "b": second})
        one = held(score(0.1, 11), references={"mean": mean})
        assert several.rho is not None
        assert one.rho is not None
        assert several.rho.model_dump() == pytest.approx(one.rho.model_dump())
        assert (several.resolution, several.p_trace) == pytest.approx((one.resolution, one.p_trace))

    def test_one_that_was_trained_otherwise_biases_nothing(self) -> None:
        """Its scores lie elsewhere and on another scale; a reference by the original's recipe is not asked for."""
        plain = score(0.0, 23)
        other = Sides(
            forget=tuple((7 - 3 * two(plain).forget).tolist()), holdout=tuple((7 - 3 * two(plain).holdout).tolist())
        )
        cheap = plain.model_copy(update={"readings": {"it": Reading(value=0.0, sides=other)}})
        wanted, found = (held(score(0.1, 11), references={"r": r}) for r in (plain, cheap))
        assert wanted.rho is not None
        assert found.rho is not None
        assert found.rho.model_dump() == pytest.approx(wanted.rho.model_dump())

    def test_one_that_tells_forget_from_holdout_speaks_against_the_assignment(self) -> None:
        found = held(score(0.0, 11), references={"r": score(0.3, 25)})
        assert (found.sighted, found.powered) == (False, False)
        assert "the model that saw neither tells forget from holdout (p = 0.0002)" in (found.powerless_because or "")
        below = held(score(0.0, 11), references={"r": score(-0.3, 25)})
        assert not below.powered

    def test_one_that_does_not_is_believed(self) -> None:
        because = [held(score(0.0, 11), references={"r": score(0.0, luck)}).powerless_because for luck in range(30, 40)]
        assert because == [None] * 10


class TestRows:
    def test_every_model_has_one(self) -> None:
        models = {"drawn": {"floor": score(0.0, 26)}, "decoys": {"head_row_zeroed": score(0.5, 20)}}
        found = held(score(0.1, 11), **models)
        assert [row.model for row in found.contrast] == ["original", "unlearned", "floor", "head_row_zeroed"]
        own = two(score(0.1, 11))
        row = found.contrast[1]
        assert (row.forget, row.holdout) == pytest.approx((own.forget.mean(), own.holdout.mean()))
        assert row.difference == pytest.approx(own.difference)
        assert row.slope is None

    def test_with_a_reference_they_hold_what_it_does_not_predict(self) -> None:
        reference = score(0.0, 23)
        found = held(score(0.1, 11), references={"base": reference})
        rows = {row.model: row for row in found.contrast}
        own, other = two(score(0.1, 11)), two(reference)
        by = slope(own, other)
        assert rows["unlearned"].slope == pytest.approx(by)
        assert rows["unlearned"].difference == pytest.approx(own.difference - by * other.difference)
        assert rows["base"].slope == pytest.approx(1.0)
        assert rows["base"].difference == pytest.approx(0.0, abs=1e-12)
        assert found.rho is not None
        assert found.rho.value == pytest.approx(rows["unlearned"].difference / rows["original"].difference)


REFERENCES = {f"reference {i}": score(0.0, 40 + i) for i in range(5)}


class TestOtherNulls:
    def test_it_is_asked_before_the_references(self) -> None:
        assert holdout.RANK < references.RANK
        assert held(score(0.0, 11), references=REFERENCES).null_kind == "holdout"

    def test_without_sides_the_references_are_the_null(self) -> None:
        bare = {name: score(0.0, 40 + i, sides=False) for i, name in enumerate(REFERENCES)}
        found = held(score(0.0, 11, sides=False), original=score(0.6, 1, sides=False), references=bare)
        assert (found.null_kind, found.contrast) == ("references", ())
        assert found.rho is not None

    def test_without_sides_and_references_the_check_has_its_own_null_or_nothing(self) -> None:
        null = {"sides": False, "null": tuple(np.random.default_rng(1).normal(0.2, 0.01, 99).tolist())}
        own = held(score(0.0, 11, **null), original=score(0.6, 1, **null))  # type: ignore[arg-type]
        assert (own.null_kind, own.powered) == ("internal", False)
        nothing = held(score(0.0, 11, sides=False), original=score(0.6, 1, sides=False))
        assert nothing.rho is None
        assert "no references" in (nothing.powerless_because or "")

    @pytest.mark.parametrize("part", ["original", "unlearned", "references", "decoys"])
    def test_one_model_without_them_is_enough(self, part: str) -> None:
        bare = score(0.6, 1, sides=False)
        parts = {
            "original": {"original": bare},
            "unlearned": {},
            "references": {"references": {**REFERENCES, "reference 5": bare}},
            "decoys": {"decoys": {"head_row_zeroed": bare}},
        }[part]
        found = held(bare if part == "unlearned" else score(0.0, 11), **{"references": REFERENCES, **parts})
        assert found.null_kind == "references"

    def test_references_are_not_held_to_be_retrains_where_chance_decided(self) -> None:
        models = {f"reference-{i}": score(0.0, 10 + i, sides=False) for i in range(3)}
        subject = score(0.6, 2, sides=False)
        parts = lineup(subject, references=models)
        found = combine(Outputs(), parts, POLICY, NULLS, population=True, assignment=DRAWN)
        assert (found.null_kind, found.p_value) == ("none", None)
        assert combine(Outputs(), parts, POLICY, NULLS, population=True).null_kind == "references"


class TestSubjectsThatWereNotHeldOut:
    def test_a_model_that_was_taught_them_clears_nothing(self) -> None:
        """Both sides are known alike, which would otherwise pass for a deletion."""
        subject = score(0.0, 2)
        both = two(subject)
        taught = Sides(forget=tuple(both.forget + 0.3), holdout=tuple(both.holdout + 0.3))
        found = held(with_sides(subject, taught))
        assert found.rho is not None
        assert found.rho.high < 0.2
        assert found.sighted
        assert not found.powered
        assert "it was taught what nobody was to see" in (found.powerless_because or "")
        assert held(subject).powered

    def test_equal_gains_are_no_chance(self) -> None:
        original = two(score(0.6, 1))
        subject = Sides(forget=tuple(original.forget - 0.2), holdout=tuple(original.holdout + 0.4))
        assert not held(with_sides(score(0.0, 2), subject)).powered

    def test_few_that_were_measured_clear_nothing(self) -> None:
        def few(made: Score) -> Score:
            both = two(made)
            return with_sides(made, Sides(forget=tuple(both.forget[:12]), holdout=tuple(both.holdout)))

        found = held(few(score(0.0, 2)), original=few(score(0.6, 1)))
        assert found.powerless_because == "12 forget and 30 holdout subjects, DELETED needs 20 of either"
        assert found.rho is not None


class TestAReferenceThatSaysNothing:
    @pytest.mark.parametrize("value", [0.1, 1 / 3, 0.7, 0.0, 0.125])
    def test_one_that_scores_all_alike_changes_nothing(self, value: float) -> None:
        """A mean of equal numbers is off in the last digit, of which no slope may be made."""
        own, other = two(score(0.0, 2)), two(score(0.6, 1))
        flat = Two(forget=np.full(N, value), holdout=np.full(M, value))
        assert slope(own, flat) == 0.0
        with_it, without = (
            Contrast(unlearned=own, original=other, reference=reference, floor=0.01) for reference in (flat, None)
        )
        assert (with_it.n, with_it.m) == pytest.approx((without.n, without.m))
        permuted = [p_permutation(own, reference, 999, generator(0, "draws")) for reference in (flat, None)]
        assert permuted[0] == permuted[1]

    def test_two_holdout_subjects_leave_nothing_for_a_slope(self) -> None:
        def few(made: Score) -> Score:
            both = two(made)
            return with_sides(made, Sides(forget=tuple(both.forget), holdout=tuple(both.holdout[:2])))

        found = held(few(score(0.0, 2)), original=few(score(0.6, 1)), references={"base": few(score(0.0, 3))})
        assert all(row.slope is None for row in found.contrast)


def with_sides(made: Score, sides: Sides) -> Score:
    readings = {name: reading.model_copy(update={"sides": sides}) for name, reading in made.readings.items()}
    return made.model_copy(update={"readings": readings})

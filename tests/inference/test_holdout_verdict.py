"""The rules where chance divided forget and holdout: what clears without references, and what does not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.inference.assurance import SUBJECTS_FOR_A3R, assurance_level, recipe_mismatch, subjects_lack
from auditor.inference.nulls import holdout
from auditor.inference.verdict import decide
from auditor.records.evidence import Evidence
from auditor.records.plan import Plan, PlannedAssignment
from tests import made_records
from tests.made_records import evidence, utility

BY_CHANCE = {"null_kind": "holdout", "null_words": holdout.WORDS}


def divided(n_forget: int = 24, n_holdout: int = 24) -> PlannedAssignment:
    return PlannedAssignment(kind="random", n_forget=n_forget, n_holdout=n_holdout, commitment="4" * 64)


def plan(n_forget: int = 24, n_holdout: int = 24, *, n_references: int = 0, **changes: object) -> Plan:
    return made_records.plan(n_references=n_references, assignment=divided(n_forget, n_holdout), **changes)


def clean(*changed: Evidence) -> list[Evidence]:
    """Evidence of a model that was never taught the forget subjects, held against the holdout subjects."""
    found = {e.check: e.model_copy(update={**BY_CHANCE, "utility": kept(e)}) for e in made_records.clean()}
    return list({**found, **{e.check: e for e in changed}}.values())


def kept(e: Evidence) -> object:
    return None if e.utility is None else utility(0.98, references=())


def kinds(plan: Plan, found: list[Evidence]) -> set[str]:
    return {reason.kind for reason in decide(plan, found).reasons}


class TestClearing:
    def test_without_any_reference_a_model_can_be_deleted(self) -> None:
        verdict = decide(plan(), clean())
        assert (verdict.outcome, verdict.assurance, verdict.bound) == ("DELETED", "A3r", 0.2)
        assert kinds(plan(), clean()) == {"outputs forgotten", "clears"}

    def test_the_same_evidence_without_an_assignment_is_not_enough(self) -> None:
        verdict = decide(made_records.plan(n_references=0), clean())
        assert (verdict.outcome, verdict.assurance) == ("INCONCLUSIVE", "A1")
        assert "too few references" in kinds(made_records.plan(n_references=0), clean())

    @pytest.mark.parametrize(("sizes", "named"), [((19, 40), "19 forget and 40"), ((40, 19), "40 forget and 19")])
    @pytest.mark.parametrize("n_references", [0, 5])
    def test_fewer_than_twenty_subjects_on_a_side_clear_nothing(
        self, sizes: tuple[int, int], named: str, n_references: int
    ) -> None:
        few = plan(*sizes, n_references=n_references)
        verdict = decide(few, clean())
        assert (verdict.outcome, verdict.assurance, verdict.bound) == ("INCONCLUSIVE", "A1", None)
        assert verdict.reasons[0].kind == "too few subjects"
        assert verdict.reasons[0].sentence == (
            f"assurance A1: {named} holdout subjects, DELETED needs {SUBJECTS_FOR_A3R} of either"
        )

    def test_twenty_are_enough(self) -> None:
        assert subjects_lack(divided(20, 20)) is None
        assert assurance_level(plan(20, 20)) == "A3r"
        assert decide(plan(20, 20), clean()).outcome == "DELETED"

    def test_fewer_may_accuse(self) -> None:
        loud = evidence("relearning", (0.9, 0.8, 1.0), **BY_CHANCE)
        verdict = decide(plan(6, 6), clean(loud))
        assert (verdict.outcome, verdict.accusers) == ("SUPPRESSED", ("relearning",))

    @pytest.mark.parametrize("check", ["few_shot", "relearning", "slow_relearning"])
    @pytest.mark.parametrize("kind", ["references", "controls"])
    def test_a_primary_held_against_anything_else_clears_nothing(self, check: str, kind: str) -> None:
        other = evidence(check, (0.0, -0.1, 0.1), null_kind=kind, null_words="the mean of the references")
        verdict = decide(plan(n_references=5), clean(other))
        assert verdict.outcome == "INCONCLUSIVE"
        assert verdict.sentences == (
            f"{check}: held against the mean of the references, not against the subjects that were held out",
        )

    def test_a_primary_without_power_is_named_once(self) -> None:
        blind = evidence(
            "relearning", None, null_kind="internal", null_words="its own", powerless_because="it cannot clear"
        )
        verdict = decide(plan(), clean(blind))
        assert verdict.outcome == "INCONCLUSIVE"
        assert verdict.sentences == ("relearning: no power to clear: it cannot clear",)

    @pytest.mark.parametrize(
        ("changed", "kind"),
        [
            (evidence("few_shot", (0.3, 0.1, 0.55), **BY_CHANCE), "upper limit too high"),
            (evidence("few_shot", (-0.5, -0.9, -0.1), **BY_CHANCE), "lower limit too low"),
            (evidence("few_shot", (0.1, 0.05, 0.15), p_trace=1e-4, **BY_CHANCE), "trace"),
            (evidence("few_shot", (-0.1, -0.15, -0.05), p_deficit=1e-4, **BY_CHANCE), "deficit"),
            (made_records.failure("few_shot"), "could not run"),
        ],
    )
    def test_every_other_rule_holds_as_with_references(self, changed: Evidence, kind: str) -> None:
        verdict = decide(plan(), clean(changed))
        assert verdict.outcome == "INCONCLUSIVE"
        assert {reason.kind for reason in verdict.reasons} == {kind}

    def test_outputs_and_accusations_come_first(self) -> None:
        shown = evidence("outputs", (0.9, 0.8, 1.0), utility=utility(0.98, ()), **BY_CHANCE)
        assert decide(plan(), clean(shown)).outcome == "NOT_FORGOTTEN"
        loud = evidence("few_shot", (0.9, 0.8, 1.0), **BY_CHANCE)
        verdict = decide(plan(), clean(loud))
        assert (verdict.outcome, verdict.assurance) == ("SUPPRESSED", "A3r")

    def test_goal_concept_is_not_answered_by_subjects_held_out(self) -> None:
        assert decide(plan(goal="concept"), clean()).outcome == "INCONCLUSIVE"
        assert "no control concepts" in kinds(plan(goal="concept"), clean())


class TestReferences:
    """They say how hard a subject is, and may be of any recipe: nothing else is taken from them."""

    CHEAP = (0.5, 0.6)

    def test_a_model_that_keeps_more_than_they_do_is_no_mismatch(self) -> None:
        outputs = evidence("outputs", (0.0, -0.02, 0.03), utility=utility(0.98, self.CHEAP), **BY_CHANCE)
        assert recipe_mismatch(made_records.plan(n_references=2), outputs) is not None
        assert recipe_mismatch(plan(n_references=2), outputs) is None
        assert decide(plan(n_references=2), clean(outputs)).outcome == "DELETED"

    def test_damage_is_measured_by_the_original(self) -> None:
        outputs = evidence("outputs", (0.0, -0.02, 0.03), utility=utility(0.9, self.CHEAP), **BY_CHANCE)
        verdict = decide(plan(n_references=2), clean(outputs))
        assert (verdict.outcome, verdict.flags) == ("INCONCLUSIVE", ("DAMAGED",))
        assert any("retain accuracy 90.0 %, the original 99.0 %" in words for words in verdict.sentences)
        assert not decide(made_records.plan(n_references=2), clean(outputs)).flags

    def test_a_model_within_tolerance_of_the_original_is_not_damaged(self) -> None:
        best = (1.0, 1.0)
        outputs = evidence("outputs", (0.0, -0.02, 0.03), utility=utility(0.945, best), **BY_CHANCE)
        assert decide(plan(n_references=2), clean(outputs)).outcome == "DELETED"
        assert decide(made_records.plan(n_references=2), clean(outputs)).flags == ("DAMAGED",)

    def test_their_number_decides_nothing(self) -> None:
        assert {assurance_level(plan(n_references=k)) for k in (0, 1, 5)} == {"A3r"}
        assert {assurance_level(plan(19, 24, n_references=k)) for k in (0, 1, 5)} == {"A1"}


# About as often inside the bars as outside, or next to nothing would be deleted.
limits = st.tuples(st.floats(-0.3, 0.2), st.floats(0, 0.5), st.floats(0, 0.35)).map(
    lambda t: (t[0], t[0] - t[1], t[0] + t[2])
)


@given(
    rhos=st.tuples(limits, limits, limits, limits),
    sizes=st.tuples(st.integers(17, 40), st.integers(17, 40)),
    nulls=st.tuples(*[st.sampled_from(["holdout"] * 6 + ["references", "internal"])] * 3),
    left=st.floats(0.9, 1.0),
)
def test_deleted_needs_all_of_its_conditions(
    rhos: tuple[tuple[float, float, float], ...], sizes: tuple[int, int], nulls: tuple[str, ...], left: float
) -> None:
    names = ("few_shot", "relearning", "slow_relearning")
    found = [evidence("outputs", rhos[0], utility=utility(left, ()), **BY_CHANCE)]
    found += [evidence(name, rho, null_kind=kind) for name, rho, kind in zip(names, rhos[1:], nulls, strict=True)]
    verdict = decide(plan(*sizes), found)
    if verdict.outcome == "DELETED":
        assert min(sizes) >= 20
        assert set(nulls) == {"holdout"}
        assert max(rho[2] for rho in rhos[1:]) < 0.5
        assert left >= 0.94
        assert verdict.assurance == "A3r"

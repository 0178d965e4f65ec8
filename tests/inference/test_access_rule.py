"""What is seen from outside alone never ends in DELETED, whatever else the rules would say."""

import pytest

from auditor.inference.verdict import decide
from auditor.records.access import LEVELS, Access, allows, from_outside
from auditor.records.plan import Plan
from tests.made_records import clean, evidence, plan


def with_access(*access: Access) -> Plan:
    """A plan whose primaries need so much, in their order."""
    made = plan()
    pairs = zip(made.checks, access, strict=True)
    return made.model_copy(update={"checks": tuple(c.model_copy(update={"access": a}) for c, a in pairs)})


def test_levels_hold_those_before_them() -> None:
    assert [[allows(held, needed) for needed in LEVELS] for held in LEVELS] == [
        [True, False, False, False],
        [True, True, False, False],
        [True, True, True, False],
        [True, True, True, True],
    ]
    assert [level for level in LEVELS if from_outside(level)] == ["samples", "logits"]


def test_a_retrains_evidence_is_deleted_where_primaries_look_inside() -> None:
    assert decide(plan(), clean()).outcome == "DELETED"
    assert decide(with_access("weights", "logits", "samples"), clean()).outcome == "DELETED"


@pytest.mark.parametrize("level", ["samples", "logits"])
def test_the_same_evidence_seen_from_outside_is_not(level: Access) -> None:
    """By a policy of its own, or packages that call outside checks primaries: every other rule is met."""
    verdict = decide(with_access(level, level, level), clean())
    assert (verdict.outcome, verdict.bound) == ("INCONCLUSIVE", None)
    assert [reason.kind for reason in verdict.reasons] == ["too little access"]
    assert "can make to look like anything" in verdict.sentences[0]


def test_without_any_primary_it_is_said_which_are_missing() -> None:
    verdict = decide(plan(), [clean()[0]])
    assert verdict.outcome == "INCONCLUSIVE"
    assert {reason.kind for reason in verdict.reasons} == {"not planned"}


def test_a_check_that_may_only_accuse_clears_nothing_whatever_a_policy_calls_it() -> None:
    found = [e.model_copy(update={"may": "accuse"}) if e.primary else e for e in clean()]
    verdict = decide(plan(), found)
    assert verdict.outcome == "INCONCLUSIVE"
    assert all("may accuse and never clears" in sentence for sentence in verdict.sentences)


def test_what_the_plan_says_to_be_out_of_reach_is_not_reached() -> None:
    """By a policy of its own, whose primaries all clear: of this kind of model nobody knows yet how to clear one."""
    made, lack = plan(), "a way to clear such models that is known to be safe"
    reach = made.feasibility.model_copy(update={"deleted_in_reach": False, "obstacles": (lack,)})
    verdict = decide(made.model_copy(update={"feasibility": reach}), clean())
    assert (verdict.outcome, verdict.bound) == ("INCONCLUSIVE", None)
    assert verdict.sentences == (f"out of this plan's reach: {lack}",)


def test_from_outside_it_may_still_accuse() -> None:
    found = [clean()[0], evidence("few_shot", (0.9, 0.8, 1.0)), *clean()[2:]]
    assert decide(with_access("logits", "logits", "logits"), found).outcome == "SUPPRESSED"

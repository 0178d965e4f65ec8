"""Which candidate is the primary: by original, references and decoys, never by the unlearned model."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.inference.primaries import choose, marked
from auditor.records.evidence import Evidence, Interval
from auditor.records.plan import Plan, PlannedCheck
from auditor.records.policy import Policy, load_policy
from tests.made_records import evidence, failure, plan


def planned(*names: str, **changes: object) -> Plan:
    families = load_policy("default").primaries["class"]
    return plan(
        checks=tuple(
            PlannedCheck(
                name=name,
                role="outputs" if name == "outputs" else "evidence",
                provider="x 1",
                family="representation",
                may="clear",
                primary_for=next((f for f, names in families.items() if name in names), None),
                settings={},
                seed=0,
            )
            for name in names
        ),
        **changes,
    )


def candidate(name: str, w: float | None, *, sighted: bool = True, **changes: object) -> Evidence:
    return evidence(name, (0.0, -0.1, 0.1), resolution=w, sighted=sighted, **changes)


@pytest.mark.parametrize(
    ("few_shot", "depth", "chosen"),
    [
        (candidate("few_shot", 0.3), candidate("depth", 0.2), "depth"),
        (candidate("few_shot", 0.2), candidate("depth", 0.3), "few_shot"),
        # Of equals, the first in the policy.
        (candidate("few_shot", 0.2), candidate("depth", 0.2), "few_shot"),
        # One that misses its decoys comes after one that sees through them.
        (candidate("few_shot", 0.3), candidate("depth", 0.2, sighted=False), "few_shot"),
        (candidate("few_shot", None, sighted=False), candidate("depth", 0.4), "depth"),
        (failure("few_shot"), candidate("depth", 0.4), "depth"),
    ],
)
def test_the_finer_of_two_is_chosen(few_shot: Evidence, depth: Evidence, chosen: str) -> None:
    found = choose(planned("few_shot", "depth", "relearning"), [few_shot, depth, candidate("relearning", 0.1)])
    assert {choice.family: choice.check for choice in found} == {"representation": chosen, "tampering": "relearning"}
    assert found[0].resolutions == {"few_shot": few_shot.resolution, "depth": depth.resolution}
    assert [e.primary for e in marked([few_shot, depth], found)] == [chosen == "few_shot", chosen == "depth"]


def test_a_family_without_a_planned_candidate_has_no_primary() -> None:
    found = choose(planned("relearning"), [candidate("relearning", 0.1)])
    assert [choice.family for choice in found] == ["tampering"]


def test_under_goal_concept_the_one_that_was_held_against_control_concepts_comes_first() -> None:
    few_shot = candidate("few_shot", 0.6, sighted=False, null_kind="controls")
    found = choose(planned("few_shot", "depth", goal="concept"), [few_shot, candidate("depth", 0.1)])
    assert [choice.check for choice in found] == ["few_shot"]


@given(rho=st.floats(-2, 2), powered=st.booleans(), p=st.floats(0, 1))
def test_what_the_unlearned_model_scored_changes_nothing(rho: float, powered: bool, p: float) -> None:
    pair = [candidate("few_shot", 0.3), candidate("depth", 0.2)]
    changed = [
        e.model_copy(
            update={
                "rho": Interval(value=rho, low=rho - 0.1, high=rho + 0.1),
                "powered": powered,
                "powerless_because": None if powered else "it is blind on this model",
                "p_value": p,
                "p_trace": p,
            }
        )
        for e in pair
    ]
    assert choose(planned("few_shot", "depth"), changed) == choose(planned("few_shot", "depth"), pair)


def test_families_stand_in_one_order_however_the_policy_was_read() -> None:
    """A verdict recomputed from a file of results named its obstacles in another order, and did not verify."""
    policy = load_policy("default")
    again = Policy.model_validate_json(json.dumps(policy.model_dump(mode="json"), sort_keys=True))
    assert (
        list(policy.primaries["class"]) == list(again.primaries["class"]) == ["patience", "representation", "tampering"]
    )

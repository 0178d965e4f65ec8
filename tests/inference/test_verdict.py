"""The rules, one by one and in order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.errors import SpecError
from auditor.inference.assurance import assurance_level, recipe_mismatch
from auditor.inference.verdict import decide
from auditor.records.evidence import DecoyResult, Evidence, Interval
from auditor.records.plan import PlannedCheck
from auditor.records.policy import load_policy
from tests import made_records
from tests.made_records import DOMAIN, clean, evidence, forgotten, plan, utility


def replaced(new: Evidence) -> list[Evidence]:
    return [new if e.check == new.check else e for e in clean()]


def test_a_clean_retrain_is_deleted_with_the_largest_upper_limit_as_bound() -> None:
    verdict = decide(plan(), clean())
    assert verdict.outcome == "DELETED"
    assert verdict.bound == 0.2
    assert verdict.assurance == "A3"


def test_rule_1_outputs_that_show_the_knowledge() -> None:
    verdict = decide(plan(), replaced(evidence("outputs", (1.0, 0.95, 1.05), utility=utility(0.98))))
    assert verdict.outcome == "NOT_FORGOTTEN"
    assert "ρ = 1.00 [0.95, 1.05]" in verdict.sentences[0]


def test_answers_that_were_given_elsewhere_delete_nothing() -> None:
    """Everything a deletion asks for, and no layer: no model was run."""
    told = PlannedCheck(
        name="outputs",
        role="outputs",
        provider="x 1",
        family="behaviour",
        may="clear",
        primary_for=None,
        settings={},
        seed=0,
    )
    logs = plan(layers=(), checks=(told, *plan().checks))
    assert logs.answers_only
    verdict = decide(logs, clean())
    assert (verdict.outcome, verdict.bound) == ("INCONCLUSIVE", None)
    assert verdict.sentences == (
        "no model was run: this audit saw what the models answered, and nothing of what their weights hold",
    )
    # Bare weights have no outputs, and models that were run have layers.
    assert not plan(layers=()).answers_only
    assert not plan(checks=(told,)).answers_only


BETWEEN = [
    pytest.param((0.1, 0.05, 0.15), "the estimate does not lie below 0.1", id="the estimate"),
    pytest.param((0.05, -0.2, 0.3), "the upper limit does not lie below 0.25", id="the upper limit"),
]


@pytest.mark.parametrize(("rho", "words"), BETWEEN)
def test_rule_1_outputs_in_between_are_no_deletion(rho: tuple[float, float, float], words: str) -> None:
    verdict = decide(plan(), replaced(evidence("outputs", rho, utility=utility(0.98))))
    assert (verdict.outcome, verdict.accusers) == ("INCONCLUSIVE", ())
    assert {reason.kind for reason in verdict.reasons} >= {"outputs between thresholds"}
    assert words in verdict.sentences[0]


@pytest.mark.parametrize(("rho", "words"), BETWEEN)
def test_rule_3_with_outputs_in_between_an_accused_model_is_not_deleted(
    rho: tuple[float, float, float], words: str
) -> None:
    """Relearning .79 [.67, .90] was called inconclusive, exit code 3, since the outputs straddled a bar."""
    outputs = evidence("outputs", rho, utility=utility(0.98))
    verdict = decide(plan(), [outputs, clean()[1], evidence("relearning", (0.79, 0.67, 0.90))])
    assert (verdict.outcome, verdict.accusers) == ("NOT_DELETED", ("relearning",))
    assert verdict.sentences[0] == "relearning: ρ = 0.79 [0.67, 0.90], above 0.25"
    assert words in verdict.sentences[1]


def test_rule_1_outputs_whose_upper_limit_lies_between_the_bars_are_forgotten() -> None:
    """A retrain whose outputs resolve .1 passed only half of the time while the upper limit was held against .1."""
    outputs = evidence("outputs", (0.04, -0.1, 0.18), utility=utility(0.98))
    assert decide(plan(), replaced(outputs)).outcome == "DELETED"


def test_rule_2_damage_silences_tampering_checks() -> None:
    broken = evidence("outputs", (0.0, -0.02, 0.03), utility=utility(0.5))
    verdict = decide(plan(), [broken, clean()[1], evidence("relearning", (0.9, 0.8, 1.0))])
    assert verdict.outcome == "INCONCLUSIVE"
    assert verdict.flags == ("DAMAGED",)


def test_rule_2_damage_lets_checks_that_read_accuse_and_forbids_deleted() -> None:
    broken = evidence("outputs", (0.0, -0.02, 0.03), utility=utility(0.5))
    assert decide(plan(), [broken, *clean()[1:]]).outcome == "INCONCLUSIVE"
    verdict = decide(plan(), [broken, evidence("few_shot", (0.9, 0.8, 1.0)), clean()[2]])
    assert verdict.outcome == "SUPPRESSED"
    assert verdict.flags == ("DAMAGED",)


def test_rule_2_of_a_wreck_nothing_is_said() -> None:
    wreck = evidence("outputs", (0.0, -0.02, 0.03), utility=utility(0.2))
    verdict = decide(plan(), [wreck, evidence("few_shot", (0.7, 0.6, 0.8)), clean()[2]])
    assert verdict.outcome == "INCONCLUSIVE"
    assert verdict.flags == ("DAMAGED",)


def test_rule_2_unchanged_weights_behind_a_filter_that_refuses_everything_are_no_wreck() -> None:
    filtered = evidence("outputs", (0.0, -0.02, 0.03), utility=utility(0.0))
    same = evidence("weight_delta", None, may="inform", conclusive="the weights are identical")
    verdict = decide(plan(), [filtered, evidence("few_shot", (0.7, 0.6, 0.8)), clean()[2], same])
    assert (verdict.outcome, verdict.flags) == ("SUPPRESSED", ("DAMAGED",))
    assert verdict.sentences[0] == "weight_delta: the weights are identical"
    assert not any("few_shot" in reason for reason in verdict.sentences)


def test_rule_2_a_wreck_that_names_the_class_by_chance_has_not_kept_it() -> None:
    wreck = evidence("outputs", (0.4, 0.3, 0.5), utility=utility(0.2))
    verdict = decide(plan(), replaced(wreck))
    assert (verdict.outcome, verdict.flags) == ("INCONCLUSIVE", ("DAMAGED",))
    assert "no longer works" in verdict.sentences[0]
    working = evidence("outputs", (0.4, 0.3, 0.5), utility=utility(0.5))
    assert decide(plan(), replaced(working)).outcome == "NOT_FORGOTTEN"


def test_rule_3_one_primary_is_enough_and_is_named() -> None:
    verdict = decide(plan(), replaced(evidence("few_shot", (0.91, 0.84, 0.97))))
    assert verdict.outcome == "SUPPRESSED"
    assert verdict.sentences == ("few_shot: ρ = 0.91 [0.84, 0.97], above 0.25",)


def test_rule_3_other_checks_share_a_stricter_level() -> None:
    many = [evidence(f"other_{i}", (0.9, 0.5, 1.3), p_value=0.005, resolution=0.4) for i in range(5)]
    assert decide(plan(), [*clean(), *many]).outcome == "DELETED"
    sharp = evidence("other_0", (0.9, 0.8, 1.0), p_value=0.001)
    assert decide(plan(), [*clean(), sharp, *many[1:]]).outcome == "SUPPRESSED"


@pytest.mark.parametrize(("check", "outcome"), [("depth", "SUPPRESSED"), ("other_0", "DELETED")])
def test_rule_3_the_level_of_the_others_is_shared_out_unequally(check: str, outcome: str) -> None:
    """depth has eight shares of twelve, a check that the policy does not name one."""
    names = ["depth", *(f"other_{i}" for i in range(4))]
    found = [evidence(n, (0.6, 0.2, 1.0), p_value=0.005 if n == check else 0.9, resolution=0.4) for n in names]
    assert decide(plan(), [*clean(), *found]).outcome == outcome


def test_rule_3_a_failed_check_stays_in_the_family() -> None:
    one = evidence("other", (0.9, 0.5, 1.3), p_value=0.006)
    assert decide(plan(), [*clean(), one]).outcome == "SUPPRESSED"
    assert decide(plan(), [*clean(), one, made_records.failure("broken")]).outcome != "SUPPRESSED"


def test_rule_4_a_check_that_could_not_run_never_counts_as_passed() -> None:
    verdict = decide(plan(), [*clean(), made_records.failure("other")])
    assert verdict.outcome == "INCONCLUSIVE"
    assert any("other: could not run (it broke)" in reason for reason in verdict.sentences)
    assert "fix other: it broke" in verdict.to_decide


def test_rule_3_identical_weights_accuse_by_themselves() -> None:
    same = evidence("weight_delta", None, may="inform", conclusive="the weights are identical")
    assert decide(plan(), [*clean(), same]).outcome == "SUPPRESSED"


def test_identical_weights_are_named_where_the_outputs_leave_it_open() -> None:
    same = evidence("weight_delta", None, may="inform", conclusive="the weights are identical")
    verdict = decide(plan(), [*replaced(evidence("outputs", (0.15, -0.01, 0.2))), same])
    assert (verdict.outcome, verdict.accusers) == ("NOT_DELETED", ("weight_delta",))
    assert verdict.sentences[0] == "weight_delta: the weights are identical"


def test_identical_weights_are_not_deleted_where_the_outputs_are_unknown() -> None:
    same = evidence("weight_delta", None, may="inform", conclusive="the weights are identical")
    assert decide(plan(), [same]).outcome == "NOT_DELETED"


def test_an_informing_check_never_accuses() -> None:
    loud = evidence("cka", (1.0, 0.99, 1.01), may="inform", p_value=1e-9)
    assert decide(plan(), [*clean(), loud]).outcome == "DELETED"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (evidence("few_shot", (0.02, -0.1, 0.2), powered=False, powerless_because="too coarse"), "too coarse"),
        (evidence("few_shot", (0.3, 0.1, 0.55)), "upper limit"),
        (evidence("few_shot", (-0.5, -0.9, -0.1)), "lower limit"),
        (made_records.failure("few_shot"), "it broke"),
    ],
)
def test_rule_4_every_primary_must_clear(change: Evidence, words: str) -> None:
    verdict = decide(plan(), replaced(change))
    assert verdict.outcome == "INCONCLUSIVE"
    assert any(words in reason for reason in verdict.sentences)
    assert verdict.to_decide


def test_rule_4_a_check_that_resolves_well_has_to_lie_below_the_bound_primary_or_not() -> None:
    """Two adaptive subjects were cleared while depth read up to .71."""
    loud = evidence("depth", (0.4, 0.1, 0.71), resolution=0.35)
    verdict = decide(plan(), [*clean(), loud])
    assert verdict.outcome == "INCONCLUSIVE"
    assert any(words.startswith("depth:") and "it resolves 0.35" in words for words in verdict.sentences)
    coarse = loud.model_copy(update={"resolution": 0.36})
    assert decide(plan(), [*clean(), coarse]).outcome == "DELETED"


def test_the_bound_is_the_largest_upper_limit_of_all_that_resolve_well() -> None:
    wide = decide(plan(), [*clean(), evidence("depth", (0.1, -0.1, 0.31), resolution=0.2)])
    assert wide.bound == 0.31
    assert wide.sentences[-1] == "depth: ρ = 0.10 [-0.10, 0.31], the highest upper limit, which is the bound"
    assert decide(plan(), [*clean(), evidence("depth", (0.1, -0.1, 0.31), resolution=0.4)]).bound == 0.2


@pytest.mark.parametrize(("p", "outcome"), [(0.0066, "INCONCLUSIVE"), (0.0067, "DELETED")])
def test_rule_4_a_primary_below_what_references_show_is_no_deletion(p: float, outcome: str) -> None:
    overshot = evidence("few_shot", (-0.25, -0.46, -0.06), p_deficit=p)
    assert decide(plan(), replaced(overshot)).outcome == outcome
    beside = evidence("other", (-0.25, -0.46, -0.06), p_deficit=1e-9)
    assert decide(plan(), [*clean(), beside]).outcome == "DELETED"


def test_rule_4_a_candidate_that_is_no_primary_is_asked_for_a_deficit_too() -> None:
    """few_shot at −.30 [−.46, −.15] of an unlearner who pressed on it was cleared: depth resolved better there."""
    pressed = evidence("depth", (-0.30, -0.46, -0.15), p_deficit=0.0037)
    verdict = decide(plan(), [*clean(), pressed])
    assert verdict.outcome == "INCONCLUSIVE"
    assert any(words.startswith("depth: ρ = -0.30") for words in verdict.sentences)


@pytest.mark.parametrize(
    ("e", "outcome"),
    [
        (evidence("few_shot", (0.2, 0.1, 0.3), p_trace=0.0133), "INCONCLUSIVE"),
        (evidence("few_shot", (0.2, 0.0, 0.4), p_trace=0.0134), "DELETED"),
        (evidence("other", (0.2, 0.1, 0.3), p_trace=0.004), "INCONCLUSIVE"),
        (evidence("outputs", (0.04, 0.01, 0.07), p_trace=0.004, utility=utility(0.98)), "INCONCLUSIVE"),
        (evidence("other", (0.2, 0.0, 0.4), p_trace=0.011), "DELETED"),
        (evidence("other", (0.2, 0.1, 0.3), p_trace=1e-9, may="inform"), "DELETED"),
    ],
)
def test_rule_4_a_residue_too_small_to_accuse_is_no_deletion(e: Evidence, outcome: str) -> None:
    verdict = decide(plan(), [*replaced(e), *([e] if e.check == "other" else [])])
    assert verdict.outcome == outcome
    assert (outcome == "DELETED") != any("too little to accuse" in reason for reason in verdict.sentences)


def test_rule_4_a_missing_primary_is_not_dropped() -> None:
    verdict = decide(plan(), [e for e in clean() if e.check != "relearning"])
    assert verdict.outcome == "INCONCLUSIVE"
    assert any("relearning" in reason for reason in verdict.sentences)


def test_rule_4_primaries_together_must_see_every_decoy() -> None:
    def blind(e: Evidence, names: set[str]) -> Evidence:
        hidden = {n: d.model_copy(update={"detected": n not in names}) for n, d in e.decoys.items()}
        return e.model_copy(update={"decoys": hidden})

    outputs, few_shot, *tampering = clean()
    complementary = [outputs, blind(few_shot, {"gradient_ascent"}), *(blind(e, {"head_row_zeroed"}) for e in tampering)]
    assert decide(plan(), complementary).outcome == "DELETED"
    shared = [outputs, *(blind(e, {"gradient_ascent"}) for e in (few_shot, *tampering))]
    assert decide(plan(), shared).outcome == "INCONCLUSIVE"


@pytest.mark.parametrize(("n", "level"), [(0, "A1"), (1, "A1"), (2, "A2"), (3, "A2"), (4, "A3"), (5, "A3")])
def test_assurance_outside_the_calibrated_domain(n: int, level: str) -> None:
    assert assurance_level(plan(n_references=n)) == level
    assert (decide(plan(n_references=n), clean()).outcome == "DELETED") == (level == "A3")


@pytest.mark.parametrize(("n", "level"), [(0, "A1"), (1, "A2"), (2, "A2"), (3, "A3"), (5, "A3")])
def test_assurance_inside_the_calibrated_domain(n: int, level: str) -> None:
    inside = plan(n_references=n).model_copy(update={"domain": DOMAIN})
    assert assurance_level(inside) == level
    assert (decide(inside, clean()).outcome == "DELETED") == (n >= 1)


def test_measured_error_rates_alone_do_not_replace_references() -> None:
    rates_only = plan(n_references=3).model_copy(update={"domain": DOMAIN.model_copy(update={"spread": {}})})
    assert assurance_level(rates_only) == "A2"
    assert decide(rates_only, clean()).outcome == "INCONCLUSIVE"


def test_assurance_of_a_bare_pair() -> None:
    assert assurance_level(plan(n_references=0, holdout=False)) == "A0"


def test_goal_concept_is_never_deleted() -> None:
    assert decide(plan(goal="concept"), clean()).outcome == "INCONCLUSIVE"


def test_over_unlearned_is_flagged_and_not_deleted() -> None:
    verdict = decide(plan(), replaced(evidence("few_shot", (-1.5, -1.8, -1.2))))
    assert verdict.flags == ("OVER_UNLEARNED",)
    assert verdict.outcome == "INCONCLUSIVE"


def test_references_of_a_weaker_recipe_do_not_count() -> None:
    outputs = evidence("outputs", (0.0, -0.02, 0.03), utility=utility(0.98, references=(0.8, 0.85)))
    reason = recipe_mismatch(plan(), outputs)
    assert reason is not None
    assert "recipe" in reason
    assert assurance_level(plan(), reason) == "A1"
    assert recipe_mismatch(plan(), forgotten()) is None


def test_without_outputs_nothing_is_decided() -> None:
    verdict = decide(plan(), [evidence("few_shot", (0.9, 0.8, 1.0))])
    assert verdict.outcome == "INCONCLUSIVE"


limits = st.tuples(*[st.floats(-2, 2)] * 3).map(lambda t: tuple(sorted(t))).map(lambda t: (t[1], t[0], t[2]))


@given(outputs=limits, few_shot=limits, relearning=limits, slow=limits, kept=st.floats(0.5, 1.0), k=st.integers(0, 6))
def test_deleted_needs_all_of_its_conditions(
    outputs: tuple[float, float, float],
    few_shot: tuple[float, float, float],
    relearning: tuple[float, float, float],
    slow: tuple[float, float, float],
    kept: float,
    k: int,
) -> None:
    found = [
        evidence("outputs", outputs, utility=utility(kept)),
        evidence("few_shot", few_shot),
        evidence("relearning", relearning),
        evidence("slow_relearning", slow),
    ]
    verdict = decide(plan(n_references=k), found)
    if verdict.outcome == "DELETED":
        assert k >= 4
        assert outputs[0] < 0.1
        assert outputs[2] < 0.25
        assert max(few_shot[2], relearning[2], slow[2]) < 0.5
        assert min(few_shot[1], relearning[1], slow[1]) > -0.75
        assert not verdict.flags
    assert decide(plan(n_references=k), found) == verdict


INSIDE = ("classification", "class", "data", 100_000, 50)


def test_the_calibrated_domain_is_the_declared_one() -> None:
    policy = load_policy("default").model_copy(update={"domains": (DOMAIN,)})
    assert policy.domain_of("made-up", *INSIDE) == DOMAIN
    assert policy.domain_of(None, *INSIDE) is None, "similar size says nothing of the data"


@pytest.mark.parametrize(
    ("declared", "asked", "words"),
    [
        (
            "made-up",
            ("classification", "class", "data", 100_001, 50),
            "holds up to 100,000 weights, and the original has",
        ),
        (
            "made-up",
            ("classification", "class", "data", 100_000, 49),
            "takes 50 forget examples or more, and there are 49",
        ),
        (
            "made-up",
            ("classification", "sample", "data", 100_000, 50),
            "is about classification, request class, goal data",
        ),
        ("made-up", ("causal-lm", "class", "data", 100_000, 50), "and this is causal-lm, class, data"),
        ("made-up", ("classification", "class", "concept", 100_000, 50), "and this is classification, class, concept"),
        ("cifar", INSIDE, "is none of its domains"),
    ],
)
def test_a_declared_domain_that_does_not_fit_is_refused_with_the_list(
    declared: str, asked: tuple[str, str, str, int, int], words: str
) -> None:
    policy = load_policy("default").model_copy(update={"domains": (DOMAIN,)})
    with pytest.raises(SpecError, match=words) as raised:
        policy.domain_of(declared, *asked)
    assert str(raised.value).endswith("name one of default: made-up (made up for the tests)")


def test_rule_4_an_informing_check_that_could_not_run_forbids_it_too() -> None:
    """It may have had something conclusive to say."""
    broken = made_records.failure("weight_delta").model_copy(update={"may": "inform"})
    verdict = decide(plan(), [*clean(), broken])
    assert verdict.outcome == "INCONCLUSIVE"
    assert any("weight_delta: could not run (it broke)" in reason for reason in verdict.sentences)


@pytest.mark.parametrize(
    ("shown", "seen", "deleted"),
    [
        ((0.0, -0.02, 0.03), (0.9, 0.8, 1.0), True),
        # It still answers a little, and the check finds much more.
        ((0.3, 0.25, 0.35), (0.9, 0.8, 1.0), True),
        # It was never suppressed, and then everything sees through it.
        ((1.0, 0.9, 1.1), (1.0, 0.9, 1.1), False),
    ],
)
def test_rule_4_a_decoy_shows_something_only_behind_its_outputs(
    shown: tuple[float, float, float], seen: tuple[float, float, float], deleted: bool
) -> None:
    def decoy(rho: tuple[float, float, float]) -> dict[str, DecoyResult]:
        value, low, high = rho
        return {
            "head_relabelling": DecoyResult(rho=Interval(value=value, low=low, high=high), p_value=0, detected=True)
        }

    outputs, few_shot, *tampering = clean()
    few_shot = few_shot.model_copy(update={"decoys": decoy(seen), "assigned_decoys": ("head_relabelling",)})
    verdict = decide(plan(), [outputs.model_copy(update={"decoys": decoy(shown)}), few_shot, *tampering])
    assert (verdict.outcome == "DELETED") == deleted
    words = (
        "few_shot: it found no more in the decoy head_relabelling (ρ = 1.00 [0.90, 1.10]) than its outputs still show"
    )
    assert any(words in reason for reason in verdict.sentences) != deleted

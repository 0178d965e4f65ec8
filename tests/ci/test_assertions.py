"""What a test may claim of an audit: what holds, what is refuted, what stays open, and what each says."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor import assertions
from auditor.assertions import Inconclusive
from auditor.audit import AuditResult
from auditor.errors import SpecError
from auditor.records.evidence import Evidence, Interval, Utility
from auditor.records.results import Results
from tests.report_samples import assemble, failed_check, sample

FOLDER = Path("audit-out/suppressed-0123")


@cache
def found(outcome: Any, folder: Path | None = FOLDER) -> AuditResult:
    """A whole audit without flag or failure."""
    made = sample(outcome)
    results = assemble(
        made.plan,
        [e for e in made.evidence if e.failure is None],
        made.verdict.model_copy(update={"flags": ()}),
    )
    return AuditResult(results=results, folder=folder)


def changed(result: AuditResult, **changes: Any) -> AuditResult:
    return AuditResult(results=result.results.model_copy(update=changes), folder=result.folder)


def with_verdict(result: AuditResult, **changes: Any) -> AuditResult:
    return changed(result, verdict=result.results.verdict.model_copy(update=changes))


def with_evidence(result: AuditResult, check: str, **changes: Any) -> AuditResult:
    def change(e: Evidence) -> Evidence:
        return e.model_copy(update=changes) if e.check == check else e

    return changed(result, evidence=tuple(change(e) for e in result.results.evidence))


def without(result: AuditResult, check: str) -> AuditResult:
    return changed(result, evidence=tuple(e for e in result.results.evidence if e.check != check))


def refuted(claim: Any, *arguments: Any) -> str:
    """The message of a claim that is refuted, not merely left open."""
    with pytest.raises(AssertionError) as caught:
        claim(*arguments)
    assert not isinstance(caught.value, Inconclusive)
    return str(caught.value)


def left_open(claim: Any, *arguments: Any) -> str:
    with pytest.raises(Inconclusive) as caught:
        claim(*arguments)
    return str(caught.value)


class TestDeleted:
    def test_holds(self) -> None:
        assertions.assert_deleted(found("DELETED"))

    @pytest.mark.parametrize("outcome", ["SUPPRESSED", "NOT_FORGOTTEN"])
    def test_is_refuted_by_another_outcome(self, outcome: Any) -> None:
        message = refuted(assertions.assert_deleted, found(outcome))
        assert message.startswith(f"suppressed.pt is {outcome} (assurance A3), expected DELETED: ")

    def test_the_message_names_check_interval_threshold_and_report(self) -> None:
        assert refuted(assertions.assert_deleted, found("SUPPRESSED")).splitlines() == [
            "suppressed.pt is SUPPRESSED (assurance A3), expected DELETED: few_shot: ρ = 0.88 [0.80, 0.96], above 0.25",
            "relearning: ρ = 0.88 [0.73, 1.03], above 0.25",
            f"report: {FOLDER / 'report.html'}",
        ]

    def test_is_left_open_with_what_would_settle_it(self) -> None:
        message = left_open(assertions.assert_deleted, with_verdict(found("INCONCLUSIVE"), to_decide=("more of it",)))
        assert "no power to clear" in message
        assert "to settle it: more of it" in message

    @pytest.mark.parametrize("flag", ["DAMAGED", "OVER_UNLEARNED"])
    def test_a_flag_refutes_also_where_the_audit_could_not_decide(self, flag: str) -> None:
        assert flag in refuted(assertions.assert_deleted, with_verdict(found("INCONCLUSIVE"), flags=(flag,)))

    def test_missing_coverage_leaves_it_open(self) -> None:
        result = found("DELETED")
        missing = {"check": "cka", "reason": "it broke"}
        coverage = {**result.results.coverage.model_dump(), "complete": False, "failed": (missing,)}
        broken = Results.model_validate({**result.results.model_dump(), "coverage": coverage})
        message = left_open(assertions.assert_deleted, AuditResult(results=broken, folder=FOLDER))
        assert "cka: could not run (it broke)" in message

    def test_without_a_folder_says_that_there_is_no_report(self) -> None:
        assert "report: nowhere" in refuted(assertions.assert_deleted, found("SUPPRESSED", folder=None))


class TestOutcome:
    @pytest.mark.parametrize("expect", ["deleted", "suppressed", "not-forgotten", "inconclusive"])
    @pytest.mark.parametrize("outcome", ["DELETED", "SUPPRESSED", "NOT_FORGOTTEN", "INCONCLUSIVE"])
    def test_holds_for_itself_alone(self, expect: str, outcome: Any) -> None:
        if expect.replace("-", "_").upper() == outcome:
            assertions.assert_outcome(found(outcome), expect)
        elif outcome == "INCONCLUSIVE":
            left_open(assertions.assert_outcome, found(outcome), expect)
        else:
            refuted(assertions.assert_outcome, found(outcome), expect)

    def test_there_is_no_other(self) -> None:
        with pytest.raises(SpecError, match="'DELETED' is no outcome; there are: deleted, suppressed"):
            assertions.assert_outcome(found("DELETED"), "DELETED")


class TestNotSuppressed:
    def test_holds(self) -> None:
        assertions.assert_not_suppressed(found("DELETED"))

    @pytest.mark.parametrize("outcome", ["SUPPRESSED", "NOT_FORGOTTEN"])
    def test_is_refuted(self, outcome: Any) -> None:
        assert "expected no suppressed knowledge" in refuted(assertions.assert_not_suppressed, found(outcome))

    def test_silence_is_no_evidence(self) -> None:
        left_open(assertions.assert_not_suppressed, found("INCONCLUSIVE"))

    def test_damage_is_another_matter(self) -> None:
        left_open(assertions.assert_not_suppressed, with_verdict(found("INCONCLUSIVE"), flags=("DAMAGED",)))


class TestResidualBelow:
    def test_holds_by_the_upper_limit(self) -> None:
        """few_shot ends at .13, relearning at .20."""
        assertions.assert_residual_below(found("DELETED"), 0.2, "few_shot")
        assertions.assert_residual_below(found("DELETED"), 0.3)

    def test_is_refuted_by_the_upper_limit_although_the_estimate_is_below(self) -> None:
        assert refuted(assertions.assert_residual_below, found("DELETED"), 0.1, "few_shot").splitlines() == [
            "deleted.pt may keep more than 0.1: "
            "few_shot: ρ = 0.05 [-0.03, 0.13], its upper limit does not lie below 0.1",
            f"report: {FOLDER / 'report.html'}",
        ]

    def test_every_primary_is_held_to_it(self) -> None:
        message = refuted(assertions.assert_residual_below, found("DELETED"), 0.15)
        assert "relearning: ρ" in message
        assert "few_shot: ρ" not in message

    @given(high=st.floats(-1, 2), limit=st.floats(0.001, 1))
    def test_the_boundary_leaves_what_two_machines_may_differ(self, high: float, limit: float) -> None:
        rho = Interval(value=high - 0.1, low=high - 0.2, high=high)
        result = with_evidence(found("DELETED"), "few_shot", rho=rho)
        if high + result.results.plan.policy.thresholds.tolerance < limit:
            assertions.assert_residual_below(result, limit, "few_shot")
        else:
            refuted(assertions.assert_residual_below, result, limit, "few_shot")

    def test_a_check_without_power_clears_nothing(self) -> None:
        result = with_evidence(found("DELETED"), "few_shot", powered=False, powerless_because="it is blind")
        assert "few_shot: no power to clear: it is blind" in left_open(assertions.assert_residual_below, result, 0.9)

    def test_a_check_without_interval_clears_nothing(self) -> None:
        result = with_evidence(found("DELETED"), "few_shot", rho=None, powerless_because="there is no gap")
        assert "there is no gap" in left_open(assertions.assert_residual_below, result, 0.9)

    def test_a_check_that_crashed_clears_nothing(self) -> None:
        result = found("DELETED")
        result = changed(result, evidence=(*result.results.evidence, failed_check()))
        assert "could not run" in left_open(assertions.assert_residual_below, result, 0.9, "quantization")

    def test_a_check_that_only_informs_or_is_absent_is_named(self) -> None:
        with pytest.raises(SpecError, match=r"'cka' only informs and has no ρ; .* few_shot"):
            assertions.assert_residual_below(found("DELETED"), 0.2, "cka")
        with pytest.raises(SpecError, match=r"'few_shots' is not in this audit; .* few_shot"):
            assertions.assert_residual_below(found("DELETED"), 0.2, "few_shots")

    def test_a_primary_that_was_not_planned_is_named(self) -> None:
        with pytest.raises(SpecError, match="'relearning' is not in this audit"):
            assertions.assert_residual_below(without(found("DELETED"), "relearning"), 0.9)

    def test_a_policy_without_primaries_asks_for_a_name(self) -> None:
        result = found("DELETED")
        policy = result.results.plan.policy.model_copy(update={"primaries": {}})
        result = changed(result, plan=result.results.plan.model_copy(update={"policy": policy}))
        with pytest.raises(SpecError, match="policy default has no primary check for requests of kind class; name one"):
            assertions.assert_residual_below(result, 0.9)

    @pytest.mark.parametrize("limit", [0, -0.1, 20, float("nan"), float("inf")])
    def test_a_limit_that_is_no_share(self, limit: float) -> None:
        with pytest.raises(SpecError, match="is no share of the original's knowledge"):
            assertions.assert_residual_below(found("DELETED"), limit)


class TestUtilityKept:
    @staticmethod
    def keeping(unlearned: float, references: dict[str, float]) -> AuditResult:
        utility = Utility(original=0.99, unlearned=unlearned, references=references)
        return with_evidence(found("DELETED"), "outputs", utility=utility)

    def test_is_measured_from_the_lowest_reference(self) -> None:
        result = self.keeping(0.95, {"a": 0.98, "b": 0.96})
        assertions.assert_utility_kept(result, 0.02)
        assert refuted(assertions.assert_utility_kept, result, 0.005).splitlines()[0] == (
            "deleted.pt lost what it should have kept: "
            "outputs: retain accuracy 0.950, the lowest reference 0.960: 0.010 lost, at most 0.005 allowed"
        )

    def test_is_measured_from_the_original_without_references(self) -> None:
        result = self.keeping(0.95, {})
        assertions.assert_utility_kept(result, 0.05)
        assert "the original 0.990" in refuted(assertions.assert_utility_kept, result, 0.02)

    def test_is_left_open_where_it_was_not_measured(self) -> None:
        left_open(assertions.assert_utility_kept, without(found("DELETED"), "outputs"), 0.02)
        failure = failed_check().failure
        broken = with_evidence(found("DELETED"), "outputs", utility=None, failure=failure)
        assert "could not run" in left_open(assertions.assert_utility_kept, broken, 0.02)

    @pytest.mark.parametrize("loss", [-0.01, 2, 1, float("nan")])
    def test_a_loss_that_is_none(self, loss: float) -> None:
        with pytest.raises(SpecError, match="is no loss of accuracy"):
            assertions.assert_utility_kept(found("DELETED"), loss)

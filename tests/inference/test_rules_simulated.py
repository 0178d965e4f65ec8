"""How often the rules err, by simulating whole audits: scores drawn, combined, and decided."""

from collections import Counter
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import pytest

from auditor.checks.check import Check
from auditor.inference.combine import combine
from auditor.inference.compared import CheckScores
from auditor.inference.primaries import choose, marked
from auditor.inference.statistics import pass_probability
from auditor.inference.verdict import decide
from auditor.records.evidence import Evidence, Family, May
from auditor.records.plan import PlannedCheck
from auditor.records.score import CheckRole, Reading, Score
from auditor.records.verdict import Verdict
from tests.made_records import NULLS, plan

N_REFERENCES, N_EXAMPLES = 5, 10**6  # so many examples that 1/n is no floor


def _kind(check: str, a_family: Family, allowed: May) -> Check:
    class Drawn(Check):
        name: ClassVar[str] = check
        role: ClassVar[CheckRole] = "outputs" if check == "outputs" else "evidence"
        family: ClassVar[Family] = a_family
        may: ClassVar[May] = allowed
        tasks: ClassVar[tuple[str, ...]] = ("classification",)
        summary: ClassVar[str] = "Drew a number."
        finds: ClassVar[str] = "A drawn number shows"
        unit: ClassVar[str] = "spreads"

        def score(self, *arguments: object) -> Score:
            raise NotImplementedError

    return Drawn()


CHECKS = (
    _kind("outputs", "behaviour", "clear"),
    _kind("few_shot", "representation", "clear"),
    _kind("depth", "representation", "clear"),
    _kind("relearning", "tampering", "clear"),
    _kind("slow_relearning", "tampering", "clear"),
    _kind("quantization", "tampering", "accuse"),
    _kind("sae_restoration", "representation", "accuse"),
    _kind("concept_vectors", "parameters", "accuse"),
)
FAMILY = {
    "few_shot": "representation",
    "depth": "representation",
    "relearning": "tampering",
    "slow_relearning": "patience",
}
PLAN = plan(
    checks=tuple(
        PlannedCheck(
            name=c.name,
            role="outputs" if c.name == "outputs" else "evidence",
            provider="x 1",
            family=c.family,
            may=c.may,
            primary_for=FAMILY.get(c.name),
            settings={},
            seed=0,
        )
        for c in CHECKS
    )
)


def drawn(check: Check, random: np.random.Generator, rho: float, gap: float) -> Evidence:
    """A check of ``gap`` standard deviations on an unlearned model of residue ``rho``."""

    def score(centre: float, *, utility: bool = True) -> Score:
        return Score(
            check=check.name,
            readings={"it": Reading(value=centre + random.standard_normal())},
            n_examples=N_EXAMPLES,
            retain_accuracy=0.98 if check.name == "outputs" and utility else None,
        )

    lineup = CheckScores(
        original=score(gap).model_copy(update={"readings": {"it": Reading(value=gap)}}),
        unlearned=score(rho * gap),
        references={f"reference {i + 1}": score(0.0) for i in range(N_REFERENCES)},
        drawn={},
        perturbed={},
        decoys={},
    )
    return combine(check, lineup, PLAN.policy, NULLS, population=False)


def audit(random: np.random.Generator, gap: float, rho: Mapping[str, float]) -> Verdict:
    evidence = [drawn(c, random, rho.get(c.name, 0.0), 60.0 if c.name == "outputs" else gap) for c in CHECKS]
    return decide(PLAN, marked(evidence, choose(PLAN, evidence)))


def simulated(gap: float, n: int = 200, **rho: float) -> tuple[Counter[str], Counter[str]]:
    """Outcomes, and the kinds of obstacles to DELETED that were named."""
    random = np.random.default_rng([int(gap), *(int(100 * value + 1000) for value in rho.values())])
    verdicts = [audit(random, gap, rho) for _ in range(n)]
    kinds = ("above 0 by more than chance", "below 0 by more than chance", "upper limit")
    named = Counter(kind for v in verdicts for kind in kinds if any(kind in words for words in v.sentences))
    return Counter(v.outcome for v in verdicts), named


def test_a_retrain_is_never_accused_and_nearly_always_deleted() -> None:
    outcomes, named = simulated(15.0)
    assert outcomes["SUPPRESSED"] + outcomes["NOT_DELETED"] + outcomes["NOT_FORGOTTEN"] == 0
    # The price that the design states: traces at .05 and deficits at .02 in all.
    assert outcomes["DELETED"] >= 0.88 * 200
    assert named["above 0 by more than chance"] <= 0.09 * 200
    assert named["below 0 by more than chance"] <= 0.05 * 200


@pytest.mark.parametrize("where", ["relearning", "depth", "quantization"])
def test_a_residue_of_just_the_bar_is_accused_no_more_often_than_the_level(where: str) -> None:
    outcomes, _ = simulated(15.0, **{where: 0.25})
    assert outcomes["SUPPRESSED"] + outcomes["NOT_DELETED"] <= 0.05 * 200


def test_half_of_it_left_in_the_tampering_primary_is_hardly_ever_deleted() -> None:
    outcomes, _ = simulated(10.0, relearning=0.5)
    assert outcomes["DELETED"] <= 0.05 * 200


def test_half_of_it_left_is_found_by_a_check_that_is_no_primary() -> None:
    """Two adaptive subjects were cleared while ``depth`` read up to .71."""
    outcomes, _ = simulated(15.0, few_shot=0.6, depth=0.6)
    assert outcomes["DELETED"] == 0


def test_one_primary_is_enough_to_accuse() -> None:
    outcomes, _ = simulated(15.0, n=100, relearning=1.0)
    assert outcomes["SUPPRESSED"] >= 99


def test_overshooting_a_probe_is_no_deletion() -> None:
    """few_shot at −.25 of an unlearner that penalised it, [−.46, −.06], was cleared."""
    outcomes, named = simulated(30.0, n=100, few_shot=-0.5, depth=-0.5)
    assert outcomes["DELETED"] <= 5
    assert named["below 0 by more than chance"] >= 95


def test_the_prospect_agrees_with_simulated_audits_of_two_primaries() -> None:
    assert pass_probability(5, 15.0) == pytest.approx(0.95, abs=0.02)
    assert pass_probability(5, 10.0) == pytest.approx(0.92, abs=0.02)
    assert pass_probability(5, 10.0, rho=0.5) < 0.005
    assert pass_probability(3, 10.0) < pass_probability(4, 10.0) < pass_probability(5, 10.0)

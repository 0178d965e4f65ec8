"""Forget and holdout that nobody drew: what a reference has to show before a declaration counts."""

import dataclasses
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from auditor.errors import SpecError
from auditor.inference.assurance import assurance_level, recipe_mismatch
from auditor.inference.combine import combine
from auditor.inference.compared import CheckScores
from auditor.inference.verdict import decide
from auditor.probes.outputs.images import Outputs
from auditor.records.evidence import Evidence
from auditor.records.plan import Plan, PlannedAssignment
from auditor.records.policy import load_policy
from auditor.records.road import NO_REFERENCE
from auditor.records.score import Reading, Score, Sides
from auditor.records.spec import AuditSpec
from auditor.tasks.causal_lm.assignment import planned
from auditor.tasks.causal_lm.sets import Fact, Facts
from tests import made_records
from tests.documented_world import blocks
from tests.inference.test_holdout_verdict import clean
from tests.made_records import NULLS, utility

POLICY = load_policy("default")
N = 30
DECLARED = PlannedAssignment(kind="declared-exchangeable", declared_by="A. Auditor", n_forget=N, n_holdout=N)


def score(
    taught: float, luck: int, *, easier: float = 0.0, scale: float = 1.0, own: float = 0.03, people: int = 0
) -> Score:
    """Of a model that was taught forget so much; holdout is easier by itself, for this model so many times."""
    random = np.random.default_rng(luck)
    hard = np.random.default_rng([people, 3]).normal(0, 0.1, 2 * N)
    x = 0.2 + scale * hard + own * random.standard_normal(2 * N)
    both = Sides(forget=tuple((x[:N] + taught).tolist()), holdout=tuple((x[N:] + scale * easier).tolist()))
    return Score(check="outputs", readings={"it": Reading(value=taught, sides=both)}, n_examples=4 * N)


def held(
    unlearned: Score, *, easier: float = 0.0, original: Score | None = None, **parts: dict[str, Score]
) -> Evidence:
    original = original or score(0.6, 1, easier=easier)
    lineup = CheckScores(original=original, unlearned=unlearned, references={}, drawn={}, perturbed={}, decoys={})
    lineup = dataclasses.replace(lineup, **parts)  # type: ignore[arg-type]
    return combine(Outputs(), lineup, POLICY, NULLS, population=True, assignment=DECLARED)


def reference(easier: float = 0.0, luck: int = 5, people: int = 0) -> dict[str, Score]:
    return {"reference 1": score(0.0, luck, easier=easier, people=people)}


class TestNull:
    def test_what_the_sides_differ_by_in_the_reference_is_taken_off(self) -> None:
        """Holdout is easier by a tenth of the original's difference: uncorrected, ρ would read .1 too low."""
        found = held(score(0.3, 7, easier=0.06), easier=0.06, references=reference(0.06))
        assert found.null_kind == "holdout"
        assert found.null_words is not None
        assert "in references trained by the original's recipe" in found.null_words
        assert found.rho is not None
        assert found.rho.value == pytest.approx(0.5, abs=0.05)

    def test_a_model_that_was_never_taught(self) -> None:
        found = held(score(0.0, 7, easier=0.06), easier=0.06, references=reference(0.06))
        assert found.rho is not None
        assert abs(found.rho.value) < 0.08
        assert (found.sighted, found.powered) == (True, True)
        assert all(row.slope is None for row in found.contrast)

    @pytest.mark.parametrize("easier", [0.2, -0.2])
    def test_sides_that_the_reference_tells_apart_clear_nothing(self, easier: float) -> None:
        found = held(score(0.0, 7, easier=easier), easier=easier, references=reference(easier))
        assert not found.sighted
        assert found.powerless_because is not None
        assert "are declared alike, but the reference tells them apart by" in found.powerless_because

    def test_a_cheap_model_alone_accuses_and_never_clears(self) -> None:
        for taught in (0.0, 0.6):
            found = held(score(taught, 7), neither=reference())
            assert not found.sighted
            assert found.powerless_because is not None
            assert "only a reference of the original's recipe can show it" in found.powerless_because
            assert found.p_value is not None
            assert (found.p_value < 1e-4) == (taught > 0)

    def test_a_cheap_model_has_no_part_beside_a_reference(self) -> None:
        alone = held(score(0.1, 7), references=reference())
        both = held(score(0.1, 7), references=reference(), neither={"neither 1": score(0.0, 9, scale=3.0)})
        assert alone.rho == both.rho

    def test_without_any_model_it_says_nothing(self) -> None:
        assert held(score(0.6, 7)).null_kind == "none"

    @pytest.mark.parametrize("easier", [0.0, 0.05, 0.1, 0.3])
    def test_half_of_the_knowledge_is_hardly_ever_cleared(self, easier: float) -> None:
        """Where the sides differ twice as much for trained models as for the reference, taking it off is not enough."""
        cleared = 0
        for people in range(40):
            twice: dict[str, Any] = {"easier": easier, "scale": 2.0, "people": people}
            found = held(
                score(0.3, 7, **twice),
                original=score(0.6, 1, **twice),
                references=reference(easier, people=people),
            )
            cleared += found.powered and found.rho is not None and found.rho.high < POLICY.thresholds.deleted
        assert cleared <= 6  # of 40 at .05: more happen in less than .01 of such tests


def plan(n_references: int = 1, *, n: int = 24) -> Plan:
    divided = PlannedAssignment(kind="declared-exchangeable", declared_by="A. Auditor", n_forget=n, n_holdout=n)
    return made_records.plan(n_references=n_references, assignment=divided)


class TestVerdict:
    def test_the_level_is_one_of_its_own(self) -> None:
        verdict = decide(plan(), clean())
        assert (verdict.outcome, verdict.assurance) == ("DELETED", "A3d")

    def test_without_a_reference_nothing_is_deleted(self) -> None:
        verdict = decide(plan(0), clean())
        assert (verdict.outcome, verdict.assurance) == ("INCONCLUSIVE", "A1")
        assert verdict.reasons[0].sentence.endswith(NO_REFERENCE)

    def test_nor_with_few_subjects(self) -> None:
        assert assurance_level(plan(n=19)) == "A1"

    def test_a_reference_of_another_recipe_does_not_count(self) -> None:
        outputs = next(e for e in made_records.clean() if e.role == "outputs")
        worse = outputs.model_copy(update={"utility": utility(0.98, references=(0.8,))})
        words = recipe_mismatch(plan(), worse)
        assert words is not None
        assert assurance_level(plan(), words) == "A1"
        assert decide(plan(), clean(), words).outcome == "INCONCLUSIVE"


class TestRequest:
    SETS = {  # noqa: RUF012 - never written to
        name: Facts(tuple(Fact(prompt=f"{name} {i}", answer="x", subject=f"{name} {i}") for i in range(4)))
        for name in ("forget", "holdout", "retain")
    }

    def asked(self, **fields: object) -> PlannedAssignment | None:

        return planned(AuditSpec.model_validate({"assignment": fields}), self.SETS, Path())

    def test_it_names_who_declares(self) -> None:
        found = self.asked(kind="declared-exchangeable", declared_by="A. Auditor")
        assert found is not None
        assert (found.by_chance, found.declared_by, found.commitment) == (False, "A. Auditor", None)

    def test_the_pages_table(self) -> None:
        (page,) = [text for _, text in blocks("docs/what-do-i-need.md") if text.startswith("[assignment]")]
        asked = AuditSpec.model_validate(tomllib.loads(page)).assignment
        found = self.asked(**asked.model_dump(exclude_none=True))
        assert found is not None
        assert not found.by_chance

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"kind": "declared-exchangeable"}, "is someone's word: name them in declared_by"),
            ({"kind": "random", "declared_by": "x"}, "a draw needs nobody"),
            ({"kind": "declared-exchangeable", "declared_by": "x", "record": "r.json"}, "is the record of a draw"),
        ],
    )
    def test_what_does_not_go_together_is_refused(self, fields: dict[str, object], words: str) -> None:
        with pytest.raises(SpecError, match=words):
            self.asked(**fields)

"""The table of access levels: each row counts the checks at or below it, and bounds nothing seen from outside."""

import pytest

from auditor.records.results import Results
from auditor.records.verdict import Outcome
from auditor.reports.access import levels
from auditor.reports.html import render
from auditor.reports.text import held_to
from tests.report_page import Page
from tests.report_samples import sample


def rows(results: Results) -> dict[str, tuple[str, ...]]:
    return {row.cells[0]: tuple(cell.replace("\u00a0", " ") for cell in row.cells[2:]) for row in levels(results).rows}


def held(results: Results, access: str) -> Results:
    asked = results.plan.asked
    asked = asked.model_copy(update={"audit": asked.audit.model_copy(update={"access": access})})
    return results.model_copy(update={"plan": results.plan.model_copy(update={"asked": asked})})


def test_each_level_adds_its_checks() -> None:
    added = {level: cells[0] for level, cells in rows(sample("DELETED")).items()}
    assert added["samples"] == "outputs"
    assert added["logits"] == "membership"
    assert added["weights"] == "cka, few_shot"
    assert "relearning" in added["training"]


def test_what_is_found_grows_with_access() -> None:
    found = {level: cells[1] for level, cells in rows(sample("SUPPRESSED")).items()}
    assert found["samples"].startswith("outputs: 0.0")
    assert "accuses" not in found["samples"] + found["logits"]
    assert found["weights"].startswith("few_shot: 0.88 [")
    assert found["weights"].endswith("which accuses")


def test_only_all_primaries_give_a_bound() -> None:
    left = {level: cells[2] for level, cells in rows(sample("DELETED")).items()}
    assert left["samples"] == left["logits"] == "no bound: seen from outside alone"
    assert left["weights"] == "no bound without slow_relearning, relearning"
    highest = max(e.rho.high for e in sample("DELETED").evidence if e.primary and e.rho is not None)
    percent = int(left["training"].removeprefix("at most ").removesuffix(" %"))
    assert highest * 100 <= percent


@pytest.mark.parametrize("outcome", ["INCONCLUSIVE", "SUPPRESSED", "NOT_DELETED"])
def test_what_is_not_deleted_has_none(outcome: Outcome) -> None:
    assert rows(sample(outcome))["training"][2] == f"no bound: the outcome is {outcome}"


def test_the_reviewer_is_told_how_much_was_held() -> None:
    words = " ".join(Page(render(held(sample("INCONCLUSIVE"), "logits"))).text.split())
    assert "Held to logits of the unlearned model" in words
    assert "White box" not in words
    assert "deletion included" not in words


def test_levels_beyond_what_was_allowed_are_not_filled() -> None:
    found = rows(held(sample("INCONCLUSIVE"), "logits"))
    assert found["weights"] == ("–", "the audit was held to logits", "–")
    assert found["logits"][0] == "membership"


@pytest.mark.parametrize("outcome", ["DELETED", "SUPPRESSED", "INCONCLUSIVE"])
def test_it_stands_on_the_page(outcome: Outcome) -> None:
    words = Page(render(sample(outcome))).text
    assert "What each access to the model shows" in words
    assert "no bound: seen from outside alone" in words.replace("\u00a0", " ")


def test_held_to_weights_nobody_is_promised_a_deletion() -> None:
    assert "deletion included" in Page(render(sample("INCONCLUSIVE"))).text
    assert "deletion included" not in Page(render(held(sample("INCONCLUSIVE"), "weights"))).text


@pytest.mark.parametrize(("access", "never"), [("samples", True), ("logits", True), ("weights", False)])
def test_an_audit_that_was_held_back_says_so(access: str, never: bool) -> None:
    page = Page(render(held(sample("INCONCLUSIVE"), access))).text
    assert f"The audit was held to {access}" in page
    assert ("could not end in DELETED" in page) is never
    assert "held to" not in Page(render(sample("INCONCLUSIVE"))).text


def test_words_name_what_may_be_used() -> None:
    assert "predicted labels" in held_to("samples")

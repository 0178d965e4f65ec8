"""The reviewer's section of the report."""

import re

import pytest

from auditor.records.results import Results
from auditor.records.spec import AuditSpec
from auditor.records.verdict import Outcome
from auditor.reports.html import render
from tests.report_samples import sample


def section(results: Results) -> str:
    page = render(results)
    found = page[page.index('<h2 id="review">') : page.index('<h2 id="glossary">')]
    return " ".join(re.sub(r"<[^>]+>", " ", found).replace("\u00a0", " ").split())


def test_who_answers_for_it_and_when_is_printed_as_given() -> None:
    said = section(sample("DELETED"))
    assert "responsible A. Auditor, Audit House date 2026-01-31" in said
    assert "files sent by the vendor (as stated by those responsible)" in said


def test_nobody_answers_unless_somebody_says_so() -> None:
    results = sample("DELETED")
    plan = results.plan.model_copy(update={"asked": AuditSpec()})
    said = section(results.model_copy(update={"plan": plan}))
    assert "responsible not stated (audit.toml: [responsible]) date not stated" in said


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (
            "DELETED",
            "as a share of what it shows of a fully suppressed copy, at 0.5 or above (the highest is 20 %)",
        ),
        ("SUPPRESSED", "Every accusing check (few_shot, relearning) withdrawn"),
        ("NOT_FORGOTTEN", "The lower limit of ρ of the outputs at 0.1 or below"),
        ("INCONCLUSIVE", "What would settle it"),
    ],
)
def test_what_would_change_the_verdict(outcome: Outcome, words: str) -> None:
    assert words in section(sample(outcome))


def test_deviations_from_the_plan_are_named_and_their_absence_is_said() -> None:
    results = sample("SUPPRESSED")
    assert "quantization was planned and could not run" in section(results)
    coverage = results.coverage.model_copy(update={"failed": ()})
    whole = results.model_copy(update={"coverage": coverage})
    assert "No deviations from the plan" in section(whole)
    few_shot = results.of("few_shot")
    assert few_shot is not None
    assert few_shot.scores is not None
    scores = few_shot.scores.model_copy(update={"references": {}, "drawn": few_shot.scores.references})
    uncounted = whole.model_copy(update={"evidence": (few_shot.model_copy(update={"scores": scores}),)})
    assert "drawn without counting, since their recipe does not match: 5" in section(uncounted)


def test_the_frameworks_and_the_known_limits_are_there() -> None:
    said = section(sample("DELETED"))
    for words in ("GDPR Art. 17", "Annex IV, 2(g)", "NIST AI RMF, MEASURE", "ISO/IEC 42001", "arXiv 2408.00929"):
        assert words in said
    assert "certified" not in said.lower()


def test_access_to_weights_alone_is_said() -> None:
    results = sample("INCONCLUSIVE")
    bare = results.model_copy(update={"plan": results.plan.model_copy(update={"layers": ()})})
    assert "no model was run" in section(bare)

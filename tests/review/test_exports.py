"""Results for a model card and for analysts."""

import csv as stdlib_csv
import io
import json
from typing import get_args

import pandas as pd
import pytest

from auditor.cli.export import _text
from auditor.digests import text_digest
from auditor.records.verdict import Outcome
from auditor.reports.document import first_screen
from auditor.review.exports import badge, csv, evidence_frame, markdown, model_card, rows_frame
from tests.report_extremes import hostile
from tests.report_samples import sample


def test_the_model_card_names_verdict_bound_assurance_and_the_results() -> None:
    results = sample("DELETED")
    card = model_card(results)
    assert "`DELETED` (consistent with deletion)" in card
    assert "no more than 20\u00a0% of the original's recoverable knowledge" in card
    assert "| A3 (5 references) |" in card
    assert text_digest(results.to_json()) in card
    assert results.plan_digest in card
    assert "error rates not measured on audits like this" in card
    assert "certified" not in card


@pytest.mark.parametrize("outcome", ["NOT_FORGOTTEN", "SUPPRESSED", "INCONCLUSIVE"])
def test_other_verdicts_have_no_bound(outcome: str) -> None:
    card = model_card(sample(outcome))  # type: ignore[arg-type]
    assert f"`{outcome}`" in card
    assert "| Bound on what remains | none |" in card


def test_flags_and_failed_checks_stand_in_the_card() -> None:
    card = model_card(sample("INCONCLUSIVE"))
    assert "| Flags | `DAMAGED` |" in card
    assert "| Checks that could not run | quantization |" in card


def test_a_strangers_text_cannot_leave_its_cell() -> None:
    card = model_card(hostile("|\n## Certified <script>"))
    assert "<script" not in card
    assert all(line.startswith(("| ", "## Unlearning", "This says")) for line in card.splitlines() if line)
    assert all(line.count(" | ") == 1 for line in card.splitlines() if line.startswith("| ") and "---" not in line[:6])


def test_the_tables_hold_every_check_and_every_cell() -> None:
    results = sample("SUPPRESSED")
    frame = evidence_frame(results)
    assert list(frame["check"]) == [e.check for e in results.evidence]
    few_shot = frame.set_index("check").loc["few_shot"]
    expected = results.of("few_shot")
    assert expected is not None
    assert expected.rho is not None
    assert (few_shot["rho"], few_shot["rho_high"]) == (expected.rho.value, expected.rho.high)
    missing = frame.set_index("check").loc["quantization"]
    assert pd.isna(missing["rho"])
    assert "rounded" in missing["failure"]
    cells = rows_frame(results)
    assert len(cells) == sum(len(e.rows) for e in results.evidence)
    again = pd.read_csv(io.StringIO(cells.to_csv(index=False)))
    assert list(again.columns) == list(cells.columns)


@pytest.mark.parametrize("word", ["=1+1", "+1", "-1+1", "@sum", "\t=1", "\r=1", " =1", "\x1b[2J=1", "\u202e=1"])
def test_no_text_is_a_formula_or_moves_a_cursor_and_numbers_stay(word: str) -> None:
    """Python's own reader shows what a spreadsheet gets."""
    frame = pd.DataFrame({word: [word, "plain"], "n": [-0.5, None], "mixed": [-2, word]})
    header, first, second = stdlib_csv.reader(io.StringIO(csv(frame), newline=""))
    assert first[1] == "-0.5"
    assert (second[0], second[1], first[2]) == ("plain", "", "-2")
    for cell in (header[0], first[0], second[2]):
        assert cell.isprintable()
        assert not cell.lstrip().startswith(("=", "+", "-", "@"))
    assert frame[word][0] == word


def test_the_command_writes_no_formula() -> None:
    results = sample("SUPPRESSED")
    hostile_check = next(e for e in results.evidence if e.rows).model_copy(update={"check": "=cmd"})
    changed = results.model_copy(update={"evidence": (hostile_check,)})
    for form in ("csv", "cells"):
        first_row = _text(changed, form).splitlines()[1]  # type: ignore[arg-type]
        assert first_row.startswith("'=cmd,")


@pytest.mark.parametrize("outcome", get_args(Outcome))
def test_the_summary_says_what_the_first_screen_says(outcome: Outcome) -> None:
    text = markdown(sample(outcome))
    assert text.startswith(f"## Unlearning audit: `{outcome}`")
    first = first_screen(sample(outcome))
    assert first.sentence.replace("_", "\\_") in text
    assert f"```sh\n   {first.steps[-1].command}\n" in text
    assert "| few_shot, primary |" in text


def test_a_summary_is_text_whatever_names_say() -> None:
    text = markdown(hostile())
    # Within a fence, which no line can close since names have no line ends, everything is text.
    outside = [line for line in text.splitlines() if not line.startswith("   ")]
    assert not any("<" in line for line in outside)
    assert [line for line in text.splitlines() if line.strip().startswith("```")].count("   ```") == text.count("```sh")
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert {line.replace("\\|", "").count("|") for line in rows} == {5}


def test_a_badge_is_green_for_a_whole_deletion_alone() -> None:
    whole = sample("DELETED")
    whole = whole.model_copy(update={"coverage": whole.coverage.model_copy(update={"complete": True})})
    assert json.loads(badge(whole)) == {
        "schemaVersion": 1,
        "label": "unlearning audit",
        "message": "DELETED ≤ 20 %",
        "color": "2a7a57",
    }
    assert json.loads(badge(sample("DELETED")))["message"] == "DELETED ≤ 20 % incomplete"
    assert json.loads(badge(sample("DELETED")))["color"] != "2a7a57"
    assert json.loads(badge(sample("INCONCLUSIVE")))["message"] == "INCONCLUSIVE DAMAGED incomplete"

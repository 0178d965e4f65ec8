"""Requests in sequence: every checkpoint held to every request made by then."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

import auditor
from auditor.errors import SpecError
from auditor.records.chain import Chain, ChainAudit
from auditor.records.events import Event, Unit
from auditor.records.ranking import Candidate
from auditor.reports.chain import render_chain
from auditor.review.chain import pairs, write_chain
from tests.command_line import audit
from tests.report_extremes import HOSTILE
from tests.report_page import POLICY, Page

STEPS = ("unlearned.safetensors=forget-1.npz", "original.safetensors=forget-2.npz")


def chain(*outcomes: str | None, name: str = "after-{}.pt", requests: int = 2) -> Chain:
    """With these outcomes, by request and then by checkpoint."""
    audits = tuple(
        ChainAudit(
            request=request,
            after=after,
            found=Candidate(
                name=name.format(after),
                folder=None if outcome is None else f"request-{request}/after-{after}",
                outcome=outcome,
                complete=True,
                bound=0.2 if outcome == "DELETED" else None,
                utility=None if outcome is None else 0.9 + after / 100,
                sentence=f"Why {request} after {after}.",
                refused="is no checkpoint" if outcome is None else None,
            ),
        )
        for (request, after), outcome in zip(pairs(requests), outcomes, strict=True)
    )
    names = tuple(name.format(i + 1) for i in range(requests))
    return Chain(original="o.pt", requests=("f-1", "f-2", "f-3")[:requests], checkpoints=names, audits=audits)


@pytest.mark.parametrize(
    ("outcomes", "again"),
    [
        (("DELETED", "SUPPRESSED", "DELETED"), [(1, 2)]),
        (("DELETED", "NOT_DELETED", "DELETED"), [(1, 2)]),
        (("DELETED", "NOT_FORGOTTEN", "SUPPRESSED"), [(1, 2)]),
        # Undecided takes nothing back, nor does what could not be read; what was never deleted cannot come back.
        (("DELETED", "INCONCLUSIVE", "DELETED"), []),
        (("SUPPRESSED", "SUPPRESSED", "DELETED"), []),
        (("DELETED", None, "DELETED"), []),
        (("SUPPRESSED", "DELETED", "DELETED"), []),
    ],
)
def test_what_was_deleted_and_came_back(outcomes: tuple[str | None, ...], again: list[tuple[int, int]]) -> None:
    assert [(first.request, later.after) for first, later in chain(*outcomes).came_back()] == again


def test_the_first_checkpoint_that_found_it_again_is_named() -> None:
    outcomes = ("INCONCLUSIVE", "DELETED", "SUPPRESSED", "DELETED", "DELETED", "DELETED")
    [(first, again)] = chain(*outcomes, requests=3).came_back()
    assert (first.after, again.after) == (2, 3)


def test_the_files_hold_the_chain(tmp_path: Path) -> None:
    made = chain("DELETED", "SUPPRESSED", None)
    page = Page(write_chain(tmp_path, made).read_text())
    assert Chain.model_validate_json((tmp_path / "chain.json").read_text()) == made
    rows = list(csv.DictReader(io.StringIO((tmp_path / "chain.csv").read_text())))
    assert [(row["request"], row["after"], row["outcome"]) for row in rows] == [
        ("1", "1", "DELETED"), ("1", "2", "SUPPRESSED"), ("2", "2", ""),
    ]  # fmt: skip
    assert [attrs["href"] for attrs in page.all("a")] == [
        "request-1/after-1/report.html", "request-1/after-2/report.html",
    ]  # fmt: skip
    assert (
        "Request 1 was DELETED after request 1 (after-1.pt) and is SUPPRESSED after request 2 (after-2.pt)" in page.text
    )
    assert "after request 1: after-1.pt 91.0 % DELETED at most 20 % not made yet" in page.text
    assert "Request 1. Why 1 after 2. Request 2. is no checkpoint" in page.text


@pytest.mark.parametrize(
    ("outcomes", "words"),
    [
        (
            ("DELETED", "DELETED", "DELETED"),
            "Every request that was DELETED once was DELETED",
        ),
        (("DELETED", None, "DELETED"), "Of 2 requests DELETED once, 1 could not be decided again"),
        (
            ("DELETED", "INCONCLUSIVE", "SUPPRESSED"),
            "Of 1 requests DELETED once, 1 could not be decided again",
        ),
        (("SUPPRESSED", "SUPPRESSED", "INCONCLUSIVE"), "No request was DELETED at any checkpoint."),
    ],
)
def test_a_chain_of_which_nothing_came_back_says_what_held(outcomes: tuple[str | None, ...], words: str) -> None:
    assert words in Page(render_chain(chain(*outcomes))).text


def test_the_page_runs_and_fetches_nothing_whatever_files_are_called() -> None:
    hostile = chain("DELETED", "SUPPRESSED", "DELETED", name=f"{HOSTILE}{{}}")
    source = render_chain(hostile.model_copy(update={"original": HOSTILE, "requests": (HOSTILE, HOSTILE)}))
    page = Page(source)
    assert page.all("meta")[1]["content"] == POLICY
    assert "<script" not in source
    assert "<img" not in source


@pytest.fixture
def two_requests(fresh: Path, no_report: None) -> Path:
    """The tiny world with its class asked for in two halves."""
    forget = np.load("forget.npz")
    for i in range(2):
        np.savez(f"forget-{i + 1}.npz", images=forget["images"][i::2], labels=forget["labels"][i::2])
    return fresh


def test_every_checkpoint_is_audited_for_every_request_made_by_then(two_requests: Path) -> None:
    events: list[Event] = []
    steps = [step.split("=") for step in STEPS]
    found = auditor.compare_sequence(
        "original.safetensors", steps, config="audit.toml", out="chain", report=events.append
    )
    assert list(found.audits) == [(1, 1), (1, 2), (2, 2)]
    assert [found.audits[place].outcome for place in found.audits] == ["INCONCLUSIVE", "NOT_FORGOTTEN", "NOT_FORGOTTEN"]
    assert repr(found) == "<SequenceResults NOT_FORGOTTEN, NOT_FORGOTTEN>"
    assert list(found.to_frame()["forget"]) == ["forget-1.npz", "forget-1.npz", "forget-2.npz"]
    assert (two_requests / "chain" / "request-1" / "after-2" / "results.json").is_file()
    originals = [e.reused for e in events if isinstance(e, Unit) and e.model == "original" and e.check == "cka"]
    assert originals == [False, True, False], "a request's original is scored once, whatever checkpoints follow"


def test_one_that_cannot_be_read_costs_its_own_audits_alone(two_requests: Path) -> None:
    Path("junk.pt").write_text("junk")
    steps = [("junk.pt", "forget-1.npz"), ("unlearned.safetensors", "forget-2.npz")]
    found = auditor.compare_sequence("original.safetensors", steps, config="audit.toml")
    assert list(found.audits) == [(1, 2), (2, 2)]
    assert found.chain.audits[0].found.refused


def test_the_command_types_each_audit_as_one_of_two_models(two_requests: Path) -> None:
    done = audit("sequence", "original.safetensors", *STEPS, "-q")
    assert done.exit_code == 1, "the second checkpoint forgot nothing"
    assert "request 1, unlearned.safetensors: INCONCLUSIVE" in done.output
    out = two_requests / "audit-out"
    assert [a["after"] for a in json.loads((out / "chain.json").read_text())["audits"]] == [1, 2, 2]
    results = json.loads((out / "request-1" / "after-2" / "results.json").read_text())
    assert results["plan"]["command"] == "audit compare original.safetensors original.safetensors --forget forget-1.npz"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("a.pt", "b.pt=f.npz"), "a.pt is no checkpoint with its forget set"),
        (("a.pt=f.npz", "b.pt="), "b.pt= is no checkpoint with its forget set"),
        (("a.pt=f.npz",), "a sequence has two requests or more"),
        (("a.pt=f.npz", "b.pt=g.npz", "--forget", "f.npz"), "--forget is for one request"),
    ],
)
def test_what_does_not_fit_is_refused_before_the_first_audit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = audit("sequence", "original.pt", *arguments)
    assert done.exit_code == 2
    assert words in done.stderr
    assert not (tmp_path / "audit-out").exists()


def test_one_request_is_no_sequence() -> None:
    with pytest.raises(SpecError, match="two requests or more"):
        auditor.compare_sequence("original.pt", [("a.pt", "f.npz")])

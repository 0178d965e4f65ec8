"""The demo of a language model as a user runs it: known truth, no network."""

import shutil
from pathlib import Path

import pytest

from auditor.records.results import read_results
from tests.demo_runs import a_reviewer_can_check_it, made_without_network, run


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_demo_of_a_language_model_end_to_end(tmp_path: Path) -> None:
    demo = made_without_network(tmp_path, "causal-lm")
    a_reviewer_can_check_it(demo, tmp_path / "inbox")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_demo_without_references_end_to_end(tmp_path: Path) -> None:
    demo = made_without_network(tmp_path, "causal-lm", "--no-references")
    for name in ("suppressed", "deleted"):
        results = read_results(demo / name / "results.json")
        assert results.verdict.assurance == "A3r"
        assert not results.plan.models_of("reference")
        shutil.copytree(demo / name, tmp_path / "inbox" / name)
    record = str(demo / "assignment.json")
    for name in ("suppressed", "deleted"):
        assert run(["verify", name, "--assignment", record], tmp_path / "inbox").returncode == 0

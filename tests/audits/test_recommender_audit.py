"""Whole audits of recommenders, by the files and commands that docs/recommender.md shows."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import auditor
from auditor.cli import main
from tests.documented_world import block

SHORT = '\n[audit]\nchecks = ["ranking", "graph", "membership"]\n'


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), prog_name="audit")


@pytest.fixture(scope="module")
def world(tastes_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy, in which scores are kept from one audit to the next."""
    made = Path(shutil.copytree(tastes_folder, tmp_path_factory.mktemp("tastes") / "world"))
    with (made / "audit.toml").open("a", encoding="utf-8") as file:
        file.write(SHORT)
    return made


@pytest.fixture
def here(world: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(world)
    return world


def test_the_dry_run_tells_what_will_be_done(tastes_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tastes_folder)
    told = run("compare", "--dry-run")
    assert told.exit_code == 0, told.output
    said = " ".join(told.output.split())
    for name in ("few_shot*", "graph", "membership", "ranking", "relearning*", "slow_relearning*"):
        assert name in said
    assert "DELETED is out of reach: a way to clear such models that is known to be safe" in said
    assert "a true retrain is called DELETED" not in said


def test_a_model_whose_graph_holds_what_was_to_be_forgotten_is_accused(here: Path) -> None:
    found = auditor.compare(unlearned="ascent.pt", config=here / "audit.toml")
    assert found.outcome in ("SUPPRESSED", "NOT_DELETED"), found.verdict.sentences
    assert found.evidence("outputs").rho.value < 0.2
    graph = found.evidence("graph")
    assert graph.rho.value == 1
    assert graph.conclusive.endswith("forgotten interactions stand in the graph that the model carries")


def test_a_retrain_is_accused_by_nothing(here: Path) -> None:
    found = auditor.compare(unlearned="unlearned.pt", config=here / "audit.toml")
    # Not DELETED: what looks inside is left out here, and runs in the demo.
    assert found.outcome == "INCONCLUSIVE"
    for check in ("outputs", "ranking", "graph"):
        assert found.evidence(check).rho.value < 0.25


def test_the_original_again_is_not_forgotten(here: Path) -> None:
    assert auditor.compare(unlearned="original.pt", config=here / "audit.toml").outcome == "NOT_FORGOTTEN"


def test_the_commands_of_the_page(tastes_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reference by the recipe; the two audits are those above."""
    made = Path(shutil.copytree(tastes_folder, tmp_path / "world"))
    shutil.rmtree(made / "references")
    monkeypatch.chdir(made)
    lines = block("docs/recommender.md", "# references by").splitlines()
    assert [line for line in lines if not line.startswith("#")] == [
        "audit reference",
        "audit compare --dry-run",
        "audit compare",
    ]
    done = run("reference", "--count", "1", "--quiet")
    assert done.exit_code == 0, done.output
    assert len(list((made / "references").glob("*.pt"))) >= 1

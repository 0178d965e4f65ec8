"""Whole audits of a small GAN, by the blocks of docs/gan.md."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from auditor.checks.contract_worlds import ContractWorld, contract_world
from auditor.cli import main
from auditor.demo.gan import GanDemo
from auditor.models.references import save
from auditor.records.results import read_results
from auditor.tasks.custom.readers import write_custom
from tests.documented_world import block

CHECKS = '\n[audit]\nchecks = ["few_shot", "recognition", "latent_search"]\n'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's request on the models of the contract: a label is off, and references are trained in no time."""
    world: ContractWorld = contract_world("gan")
    made = tmp_path_factory.mktemp("gan")
    GanDemo(1).write_inputs(made, "")
    for name in ("forget", "retain"):
        write_custom(getattr(world.data, name), made / f"{name}.npz")
    text = block("docs/gan.md", "[models]").replace("epochs = 40", "epochs = 8")
    (made / "audit.toml").write_text(text + CHECKS, encoding="utf-8")
    save(world.original, made / "original.pt")
    save(world.hidden, made / "unlearned.pt")
    return made


@pytest.mark.slow
def test_the_commands_of_the_page(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    reference, dry, compare = [
        line.split()[1:] for line in block("docs/gan.md", "# references").splitlines() if line.startswith("audit")
    ]
    made = CliRunner().invoke(main, [*reference, "--count", "3", "--quiet"], prog_name="audit")
    assert made.exit_code == 0, made.output
    told = CliRunner().invoke(main, dry, prog_name="audit")
    assert told.exit_code == 0, told.output
    said = " ".join(told.output.split())
    assert "request class" in said
    assert "latent_search" in said
    done = CliRunner().invoke(main, [*compare, "--quiet"], prog_name="audit")
    # Eight epochs make no references of this original, and without any nothing is decided.
    assert done.exit_code == 3, done.output
    found = read_results(folder / "audit-out" / "results.json")
    assert (found.plan.task, found.verdict.outcome) == ("gan", "INCONCLUSIVE")
    for check in ("few_shot", "recognition", "latent_search"):
        evidence = found.of(check)
        assert evidence is not None
        assert evidence.failure is None
    # A label that is off draws nothing of the digit, and what it is searched by finds it.
    shown, reached = (found.of(check).scores for check in ("recognition", "latent_search"))
    assert shown.unlearned < 0.5 * shown.original
    assert abs(reached.unlearned - reached.original) < 0.3 * abs(reached.original)

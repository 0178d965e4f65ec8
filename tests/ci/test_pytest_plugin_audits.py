"""The pytest plugin with real audits of small networks, alone and on two workers."""

import importlib
import json
import shutil
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

from auditor.checks import registry
from auditor.cli import main
from auditor.run.settings import execution_settings
from tests.plugin_runs import section

pytest_plugins = ["pytester"]


# Real audits, of two small networks and made-up pictures: an original, and a copy of it as the unlearned model.

NETWORK = """
import torch

def build():
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
"""

CONFIG = """
[models]
original = "original.safetensors"
unlearned = "copy.safetensors"
architecture = "network.py:build"

[data]
forget = "forget.npz"
retain = "retain.npz"

[audit]
checks = ["outputs"]
"""

REAL = """
import pytest

PAIR = "original.safetensors", "copy.safetensors"

@pytest.mark.audit(config="audit.toml", expect="not-forgotten")
def test_marked():
    pass

@pytest.mark.audit(*PAIR)
def test_marked_wrongly():
    pass

def test_outcome(audit):
    audit.assert_outcome(audit.compare(), "not-forgotten")

def test_deleted(audit):
    audit.assert_deleted(audit.compare(*PAIR))

def test_utility(audit):
    audit.assert_utility_kept(audit.compare(*PAIR), 0.02)
"""

# Writes down every score that is computed and every page that is drawn, in whichever process.
COUNTING = """
import pytest
from auditor.run import units
from auditor.reports import html

patch = pytest.MonkeyPatch()

def counted(owner, name, describe):
    inner = getattr(owner, name)

    def call(*arguments):
        with open("work.log", "a") as log:
            log.write(describe(*arguments) + "\\n")
        return inner(*arguments)

    patch.setattr(owner, name, call)

counted(units.Loaded, "score", lambda loaded, unit, *_: f"score {unit.check.name} {unit.model.name}")
counted(html, "render", lambda results: f"draw {results.plan.command}")

def pytest_unconfigure():
    patch.undo()
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model repository with a trained network, a copy of it, and its data."""
    folder = tmp_path_factory.mktemp("models")
    random = torch.Generator().manual_seed(0)
    labels = torch.arange(300) % 3
    pictures = torch.rand(3, 1, 4, 4, generator=random)[labels] + 0.2 * torch.randn(300, 1, 4, 4, generator=random)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.05)
    for _ in range(100):
        optimizer.zero_grad()
        functional.cross_entropy(network(pictures), labels).backward()
        optimizer.step()
    for name in ("original", "copy"):
        save_file(network.state_dict(), folder / f"{name}.safetensors")
    for name, chosen in (("forget", labels == 0), ("retain", labels != 0)):
        np.savez(folder / f"{name}.npz", images=pictures[chosen].numpy(), labels=labels[chosen].numpy())
    for name, text in {
        "network.py": NETWORK,
        "audit.toml": CONFIG,
        "conftest.py": COUNTING,
        "test_models.py": REAL,
    }.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def libraries() -> None:
    """Load once what an audit loads: a test run in this process would load it again in every run."""
    registry.load_all(None, "classification")
    with execution_settings(threads=1):
        importlib.import_module("auditor.reports.html")


def work(folder: Path, kind: str) -> list[str]:
    return [line for line in (folder / "work.log").read_text().splitlines() if line.startswith(kind)]


def properties(folder: Path) -> dict[str | None, list[tuple[str | None, str | None]]]:
    """Of every test, as JUnit XML has them."""
    cases = ElementTree.parse(folder / "junit.xml").iter("testcase")
    return {case.get("name"): [(p.get("name"), p.get("value")) for p in case.iter("property")] for case in cases}


@pytest.mark.slow
class TestRealAudits:
    """One pair by a mark with audit.toml and by name, in one process and in two; then another pair."""

    options = ("-W", "error", "--junitxml=junit.xml")

    @pytest.mark.usefixtures("libraries")
    def test_are_made_once_and_alike_on_two_workers(
        self, models: Path, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
        alone, spread = (shutil.copytree(models, pytester.path / name) for name in ("alone", "spread"))
        runs = []
        for folder, run, workers in (
            (alone, pytester.runpytest_inprocess, ()),
            (spread, pytester.runpytest_subprocess, ("-n", "2")),
        ):
            monkeypatch.chdir(folder)
            done = run(*self.options, "--rootdir", folder, *workers)
            assert done.parseoutcomes() == {"passed": 3, "failed": 2}
            message = "copy.safetensors is NOT_FORGOTTEN (assurance A0), expected DELETED: outputs: ρ = "
            assert message in done.stdout.str()
            runs.append(done.outlines)
        self.same_in_both(runs, alone, spread)
        self.computed_once(alone, spread)
        monkeypatch.chdir(alone)
        self.repeated_by_the_command_line(alone)
        self.another_pair(alone, pytester)

    def same_in_both(self, runs: list[list[str]], alone: Path, spread: Path) -> None:
        first, second = (section(lines, "unlearning audits") for lines in runs)
        assert first == second
        first_short, second_short = (section(lines, "short test summary info") for lines in runs)
        assert sorted(first_short) == sorted(second_short)
        assert properties(alone) == properties(spread)
        reports = sorted(path.relative_to(alone) for path in alone.glob("audit-out/*/report.html"))
        # Two plans, since what is expected is part of it.
        assert len(reports) == 2
        assert {f"report: {path}" for path in reports} <= set(first)
        commands = {json.loads((alone / path).with_name("plan.json").read_text())["command"] for path in reports}
        plain = "audit compare original.safetensors copy.safetensors"
        assert commands == {plain, f"{plain} --expect not-forgotten"}
        for path in [p for report in reports for p in (report, report.with_name("results.json"))]:
            assert (alone / path).read_bytes() == (spread / path).read_bytes()

    def computed_once(self, alone: Path, spread: Path) -> None:
        for folder in (alone, spread):
            # The unlearned model has the original's weights, and so its scores.
            scored = ("original", "gradient_ascent", "head_relabelling", "head_row_zeroed")
            once = [f"score {check} {model}" for check in ("outputs", "weight_delta") for model in scored]
            done = work(folder, "score")
            assert set(done) == set(once)
            # A decoy whose outputs are not hidden at its first strength is scored at the next, by its outputs alone.
            assert len([unit for unit in done if "weight_delta" in unit]) == len(scored)
            assert done.count("score outputs original") == 1
        assert len(work(alone, "draw")) == 2, "what a process has found is neither combined nor drawn again"

    def repeated_by_the_command_line(self, folder: Path) -> None:
        """The command that a report prints gives its bytes, though other modules are loaded."""
        for path in list(folder.glob("audit-out/*/plan.json")):
            command = json.loads(path.read_text())["command"].split()
            done = CliRunner().invoke(main, [*command[1:], "--out", "typed"], prog_name="audit")
            assert done.exit_code == (0 if "not-forgotten" in command else 1), done.output
            for name in ("results.json", "report.html", "plan.json"):
                assert (folder / "typed" / name).read_bytes() == path.with_name(name).read_bytes()

    def another_pair(self, folder: Path, pytester: pytest.Pytester) -> None:
        """Another run scores nothing of the pair known, and only the unlearned model of a new one."""
        weights = load_file(folder / "copy.safetensors")
        save_file({name: tensor.roll(1, 0) for name, tensor in weights.items()}, folder / "other.safetensors")
        (folder / "audit.toml").write_text(CONFIG.replace("copy.", "other."), encoding="utf-8")
        (folder / "work.log").unlink()
        options = ("--rootdir", folder, "-k", "marked or outcome", "--audit-out", "reports")
        done = pytester.runpytest_inprocess(*self.options, *options)
        assert done.parseoutcomes() == {"failed": 3, "deselected": 2}
        assert "other.safetensors is " in done.stdout.str()
        assert len(list(folder.glob("reports/other-*/report.html"))) == 2
        assert len(list(folder.glob("reports/copy-*/report.html"))) == 1
        assert sorted(work(folder, "score")) == ["score outputs unlearned", "score weight_delta unlearned"]


@pytest.mark.usefixtures("libraries")
def test_models_and_data_in_memory_and_by_path_objects(models: Path, pytester: pytest.Pytester) -> None:
    """Without audit.toml; the two requests differ in where the models come from, and nothing else."""
    pytester.makepyfile(
        f"""
        import numpy, torch
        from pathlib import Path
        from safetensors.torch import load_file

        MODELS = Path({str(models)!r})
        OUTPUTS = {{"audit": {{"checks": ["outputs"]}}}}

        def data(name):
            held = numpy.load(MODELS / f"{{name}}.npz")
            return torch.from_numpy(held["images"]), torch.from_numpy(held["labels"])

        def network():
            net = torch.nn.Sequential(
                torch.nn.Flatten(), torch.nn.Linear(16, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)
            )
            net.load_state_dict(load_file(MODELS / "original.safetensors"))
            return net

        def test_both(audit):
            sets = {{name: data(name) for name in ("forget", "retain")}}
            one = audit.compare(network(), network(), **sets, options=OUTPUTS)
            files = {{name: MODELS / f"{{name}}.npz" for name in ("forget", "retain")}}
            pair = MODELS / "original.safetensors", MODELS / "copy.safetensors"
            code = MODELS / "network.py"
            two = audit.compare(*pair, **files, architecture=f"{{code}}:build", options=OUTPUTS)
            audit.assert_outcome(one, "not-forgotten")
            assert one.results.verdict == two.results.verdict
            assert one.folder.name.startswith("in-memory-")
            assert two.folder.name.startswith("copy-")
            assert two.results.plan.models[-1].source == str(pair[1])
            assert one.results.plan.command == two.results.plan.command == "auditor.compare(...)"
        """
    )
    done = pytester.runpytest("-W", "error")
    done.assert_outcomes(passed=1)


def test_a_missing_file_is_one_sentence(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_one(audit): audit.compare()")
    done = pytester.runpytest("--audit-config", "absent.toml")
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["E*SpecError: *absent.toml does not exist; `audit init` writes one"])
    done.stdout.no_fnmatch_line("*pytest_fixture.py*")

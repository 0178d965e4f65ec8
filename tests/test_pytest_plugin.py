"""The pytest plugin in test runs of its own, with and without pytest-xdist."""

import importlib
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

from auditor.checks import registry
from auditor.cli import main
from auditor.pytest_fixture import Audit
from auditor.records.spec import make_spec
from auditor.run.settings import execution_settings

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parent.parent
# Stands in for the audit itself: what is found is the made-up audit that the unlearned model is named after.
STUB = """
import pytest
from pathlib import Path
from auditor.audit import AuditResult
from auditor.errors import UnsafeInputError
from auditor.cli import main
from auditor.pytest_fixture import Audit
from tests.report_samples import assemble, sample

def found(self, given, config, options):
    name = Path(given["unlearned"]).stem
    name = {"unlearned": "deleted", "candidate": "suppressed"}.get(name, name)
    if name == "pickled":
        raise UnsafeInputError("pickled.pt could run code; convert it")
    made = sample(name.upper())
    evidence = [e for e in made.evidence if e.failure is None]
    expect = options.get("audit", {}).get("expect") or "deleted"
    plan = made.plan.model_copy(update={"expect": expect})
    verdict = made.verdict.model_copy(update={"flags": ()})
    return AuditResult(results=assemble(plan, evidence, verdict), folder=Path("audit-out") / name)

@pytest.fixture(autouse=True)
def stub(monkeypatch):
    monkeypatch.setattr(Audit, "_compare", found)
"""

TESTS = """
import pytest

def test_deleted(audit):
    audit.assert_deleted(audit.compare("original.pt", "deleted.pt"))

def test_suppressed(audit):
    result = audit.compare("original.pt", "suppressed.pt")
    audit.assert_deleted(result)

def test_undecided(audit):
    audit.assert_not_suppressed(audit.compare("original.pt", "inconclusive.pt"))

@pytest.mark.audit("original.pt", "suppressed.pt", expect="suppressed")
def test_marked():
    pass

@pytest.mark.audit("original.pt", "not_forgotten.pt")
def test_marked_and_refuted():
    raise RuntimeError("the body of a refuted mark does not run")

def test_residual(audit):
    result = audit.compare("original.pt", "deleted.pt")
    audit.assert_residual_below(result, 0.2, check="few_shot")
    audit.assert_residual_below(result, 0.1, check="few_shot")

def test_utility(audit):
    audit.assert_utility_kept(audit.compare("original.pt", "deleted.pt"), 0.02)
"""


@pytest.fixture
def repository(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A model repository whose audits are made up."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    pytester.makeconftest(STUB)
    pytester.makepyfile(TESTS)
    return pytester


def section(lines: list[str], title: str) -> list[str]:
    """Lines below a heading of the terminal, up to the next."""
    start = next(i for i, line in enumerate(lines) if re.fullmatch(f"=+ {title} =+", line))
    rest = lines[start + 1 :]
    return rest[: next((i for i, line in enumerate(rest) if line.startswith("==")), len(rest))]


class TestIdleRun:
    def test_loads_nothing_but_the_plugin_itself(self, tmp_path: Path) -> None:
        """Two runs that ask for no audit, one of them without the plugin."""
        (tmp_path / "test_other.py").write_text("def test_other(): pass\n")
        (tmp_path / "conftest.py").write_text(
            "import json, sys\ndef pytest_sessionfinish():\n    print('loaded:' + json.dumps(sorted(sys.modules)))\n"
        )
        loaded = []
        for options in ((), ("-p", "no:unlearning_auditor")):
            done = subprocess.run(
                [sys.executable, "-m", "pytest", "-q", "-s", *options],
                cwd=tmp_path,
                text=True,
                capture_output=True,
                check=False,
            )
            assert done.returncode == 0, done.stdout + done.stderr
            assert "unlearning audits" not in done.stdout
            (line,) = re.findall(r"loaded:(\[.*\])", done.stdout)
            loaded.append(set(json.loads(line)))
        assert loaded[0] - loaded[1] == {
            "auditor",
            "auditor.assertions",
            "auditor.errors",
            "auditor.pytest_fixture",
            "auditor.pytest_plugin",
        }
        assert not loaded[0] & {"torch", "pydantic", "transformers", "sklearn", "matplotlib", "click", "filelock"}


class TestOutcomes:
    def test_what_passes_and_what_fails(self, repository: pytest.Pytester) -> None:
        done = repository.runpytest("-rA")
        done.assert_outcomes(passed=3, failed=4)
        short = [line for line in done.outlines if line.startswith(("PASSED", "FAILED"))]
        assert {line.split("::")[1].split(" ")[0] for line in short if line.startswith("FAILED")} == {
            "test_suppressed",
            "test_undecided",
            "test_marked_and_refuted",
            "test_residual",
        }

    def test_a_failure_shows_the_line_of_the_test_and_no_frame_of_the_auditor(
        self, repository: pytest.Pytester
    ) -> None:
        done = repository.runpytest("-k", "test_suppressed")
        done.stdout.fnmatch_lines(
            [
                ">       audit.assert_deleted(result)",
                "E       AssertionError: suppressed.pt is SUPPRESSED (assurance A3), expected DELETED: "
                "few_shot: ρ = 0.88 [[]0.80, 0.96[]], above 0.25",
                "E       relearning: ρ = 0.88 [[]0.73, 1.03[]], above 0.25",
                "E       report: audit-out/suppressed/report.html",
            ],
            consecutive=True,
        )
        done.stdout.no_fnmatch_line("*pytest_fixture.py*")
        done.stdout.no_fnmatch_line("*assertions.py*")

    def test_a_refuted_mark_shows_its_sentences_alone(self, repository: pytest.Pytester) -> None:
        done = repository.runpytest("-k", "test_marked_and_refuted")
        assert section(done.outlines, "FAILURES")[1:] == [
            "suppressed.pt is NOT_FORGOTTEN (assurance A3), expected DELETED: outputs: ρ = 0.93 [0.89, 0.97], "
            "above 0.1: the outputs still show the knowledge",
            "report: audit-out/not_forgotten/report.html",
        ]

    def test_an_error_is_one_sentence_and_keeps_its_type(self, repository: pytest.Pytester) -> None:
        repository.makepyfile(
            """
            import pytest
            from auditor.errors import UnsafeInputError

            def test_refused(audit):
                with pytest.raises(UnsafeInputError, match="could run code"):
                    audit.compare("original.pt", "pickled.pt")

            def test_broken(audit):
                audit.compare("original.pt", "pickled.pt")

            @pytest.mark.audit("original.pt", "pickled.pt")
            def test_marked():
                pass
            """
        )
        done = repository.runpytest()
        done.assert_outcomes(passed=1, failed=2)
        done.stdout.fnmatch_lines(["E       auditor.errors.UnsafeInputError: pickled.pt could run code; convert it"])
        done.stdout.no_fnmatch_line("*pytest_fixture.py*")
        done.stdout.fnmatch_lines(["pickled.pt could run code; convert it"])

    def test_a_mark_on_a_class_and_on_its_test_are_both_held(self, repository: pytest.Pytester) -> None:
        repository.makepyfile(
            """
            import unittest
            import pytest

            @pytest.mark.audit("original.pt", "deleted.pt")
            class TestBoth:
                @pytest.mark.audit("original.pt", "suppressed.pt", expect="suppressed")
                def test_good(self):
                    pass

                @pytest.mark.audit("original.pt", "suppressed.pt")
                def test_bad(self):
                    pass

            @pytest.mark.audit("original.pt", "suppressed.pt")
            class TestOther(unittest.TestCase):
                def test_bad_too(self):
                    pass
            """
        )
        repository.runpytest().assert_outcomes(passed=1, failed=2)

    def test_a_misspelt_mark_and_argument_are_named(self, repository: pytest.Pytester) -> None:
        repository.makepyfile(
            """
            import pytest

            @pytest.mark.audit("original.pt", "deleted.pt", expects="deleted")
            def test_mark():
                pass

            def test_argument(audit):
                audit.compare("original.pt", "deleted.pt", forgets="forget.npz")
            """
        )
        done = repository.runpytest("--strict-markers")
        done.assert_outcomes(failed=2)
        done.stdout.fnmatch_lines(
            [
                "pytest.mark.audit: got an unexpected keyword argument 'expects'; it takes original, unlearned, *",
                "E       TypeError: audit.compare takes no 'forgets'; it takes forget, retain, *",
            ]
        )


class TestInconclusive:
    @pytest.mark.parametrize(
        ("value", "outcome"), [("fail", "failed"), ("skip", "skipped"), ("xfail", "xfailed"), (None, "failed")]
    )
    @pytest.mark.parametrize("where", ["ini", "option"])
    def test_as_asked(self, repository: pytest.Pytester, value: str | None, outcome: str, where: str) -> None:
        repository.makepyfile(
            """
            import pytest

            def test_undecided(audit):
                audit.assert_deleted(audit.compare("original.pt", "inconclusive.pt"))

            @pytest.mark.audit("original.pt", "inconclusive.pt")
            def test_marked():
                pass

            def test_refuted(audit):
                audit.assert_deleted(audit.compare("original.pt", "suppressed.pt"))
            """
        )
        options = []
        if value is not None and where == "ini":
            repository.makeini(f"[pytest]\naudit_inconclusive = {value}\n")
        elif value is not None:
            repository.makeini("[pytest]\naudit_inconclusive = fail\n")
            options = ["--audit-inconclusive", value]
        found = repository.runpytest(*options).parseoutcomes()
        expected = {"failed": 1}
        expected[outcome] = expected.get(outcome, 0) + 2
        assert found == expected

    def test_another_value_is_refused(self, repository: pytest.Pytester) -> None:
        done = repository.runpytest("--audit-inconclusive", "pass")
        assert done.ret == pytest.ExitCode.USAGE_ERROR
        done.stderr.fnmatch_lines(["*audit_inconclusive is 'pass'; it takes fail, skip, xfail"])


class TestReporting:
    def test_summary_has_every_audit_once(self, repository: pytest.Pytester) -> None:
        shown = section(repository.runpytest().outlines, "unlearning audits")
        assert [line.split(" (")[0] for line in shown if " is " in line] == [
            "deleted.pt is DELETED",
            "suppressed.pt is INCONCLUSIVE",
            "suppressed.pt is NOT_FORGOTTEN",
            "suppressed.pt is SUPPRESSED",
        ]
        assert "report: audit-out/deleted/report.html" in shown

    def test_junit_has_properties(self, repository: pytest.Pytester) -> None:
        repository.runpytest("--junitxml", "junit.xml")
        cases = ElementTree.parse(repository.path / "junit.xml").iter("testcase")
        found = {case.get("name"): {p.get("name"): p.get("value") for p in case.iter("property")} for case in cases}
        deleted = found["test_deleted"]
        assert deleted["audit_outcome"] == "DELETED"
        assert deleted["audit_bound"] == "0.200"
        assert deleted["audit_rho_few_shot"] == "0.050 [-0.030, 0.130]"
        assert re.fullmatch("[0-9a-f]{64}", deleted["audit_plan"] or "")
        assert "report: audit-out/deleted/report.html" in (deleted["audit_summary"] or "")
        assert found["test_marked"]["audit_outcome"] == "SUPPRESSED"
        assert "audit_bound" not in found["test_marked"]


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
from auditor.run import runner
from auditor.reports import html

patch = pytest.MonkeyPatch()

def counted(owner, name, describe):
    inner = getattr(owner, name)

    def call(*arguments):
        with open("work.log", "a") as log:
            log.write(describe(*arguments) + "\\n")
        return inner(*arguments)

    patch.setattr(owner, name, call)

counted(runner._Bench, "_score", lambda bench, check, planned, *_: f"score {check.name} {bench._model.name}")
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


class TestDocumentation:
    """docs/ci.md: what it shows is run, what it lists is all there is."""

    page = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")

    def blocks(self, language: str) -> list[str]:
        return re.findall(rf"^```{language}\n(.*?)^```$", self.page, flags=re.MULTILINE | re.DOTALL)

    def test_its_tests_pass_and_fail(self, repository: pytest.Pytester) -> None:
        (tests,) = self.blocks("python")
        assert len([line for line in tests.splitlines() if line.strip()]) <= 10
        repository.makepyfile(tests)
        done = repository.runpytest()
        done.assert_outcomes(passed=1, failed=1)
        done.stdout.fnmatch_lines(["FAILED *::test_candidate - *", "*1 failed, 1 passed*"])
        (shown,) = self.blocks("text")
        # The report's folder is another; the page must show the lines as they are.
        for line in shown.splitlines()[:2]:
            wanted = line.replace("candidate.pt", "suppressed.pt")
            assert wanted in done.outlines

    def test_its_audit_toml_is_one(self) -> None:
        (tables,) = self.blocks("toml")
        spec = make_spec(tomllib.loads(tables), {})
        assert spec.models.original == "original.pt"

    def test_names_every_claim_and_option(self, pytester: pytest.Pytester) -> None:
        claims = [name for name in dir(Audit) if name.startswith("assert_") and name != "assert_marked"]
        assert len(claims) == 5
        assert [name for name in claims if f"audit.{name}(" not in self.page] == []
        options = re.findall(r"^  --(audit-\w+)", pytester.runpytest("--help").stdout.str(), flags=re.MULTILINE)
        assert len(options) == 3
        for name in options:
            assert f"`--{name}" in self.page
            assert f"`{name.replace('-', '_')}`" in self.page

    def test_its_workflow_tests_and_keeps_the_reports(self) -> None:
        workflow, _ = self.blocks("yaml")
        (job,) = yaml.safe_load(workflow)["jobs"].values()
        (tested,) = [step["run"] for step in job["steps"] if step.get("name") == "assert"]
        (kept,) = [step for step in job["steps"] if "upload-artifact" in step.get("uses", "")]
        assert f"--audit-out={kept['with']['path']}" in tested
        assert "cancelled" in kept["if"], "the report of a failed audit is the one to keep"

    @pytest.mark.parametrize(("code", "passes"), [(0, True), (1, False), (2, False), (3, True), (4, False), (5, False)])
    def test_its_step_with_exit_codes(self, code: int, passes: bool) -> None:
        _, block = self.blocks("yaml")
        (step,) = yaml.safe_load(block)
        script = f"audit() {{ return {code}; }}\n{step['run']}"
        done = subprocess.run(["bash", "-e", "-c", script], text=True, capture_output=True, check=False)
        assert done.returncode == (0 if passes else code)
        assert ("::warning::" in done.stdout) == (code == 3)

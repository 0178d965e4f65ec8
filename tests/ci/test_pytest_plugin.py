"""The pytest plugin in test runs of its own, with made-up audits."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from auditor.pytest_fixture import Audit
from auditor.records.spec import make_spec
from tests.plugin_runs import section

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]
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
        assert deleted["audit_report"] == "audit-out/deleted/report.html"
        assert found["test_marked"]["audit_outcome"] == "SUPPRESSED"
        assert "audit_bound" not in found["test_marked"]


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
        workflow, *_ = self.blocks("yaml")
        (job,) = yaml.safe_load(workflow)["jobs"].values()
        (tested,) = [step["run"] for step in job["steps"] if step.get("name") == "assert"]
        (kept,) = [step for step in job["steps"] if "upload-artifact" in step.get("uses", "")]
        assert f"--audit-out={kept['with']['path']}" in tested
        assert "cancelled" in kept["if"], "the report of a failed audit is the one to keep"

    @pytest.mark.parametrize(("code", "passes"), [(0, True), (1, False), (2, False), (3, True), (4, False), (5, False)])
    def test_its_step_with_exit_codes(self, code: int, passes: bool) -> None:
        *_, block = self.blocks("yaml")
        (step,) = yaml.safe_load(block)
        script = f"audit() {{ return {code}; }}\n{step['run']}"
        done = subprocess.run(["bash", "-e", "-c", script], text=True, capture_output=True, check=False)
        assert done.returncode == (0 if passes else code)
        assert ("::warning::" in done.stdout) == (code == 3)

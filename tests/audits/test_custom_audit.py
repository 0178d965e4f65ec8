"""Whole audits of models that a class of the user's runs, by the files and the calls that docs/custom.md shows."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result

import auditor
from auditor.audit import AuditResult
from auditor.cli import main
from auditor.errors import UsageError
from auditor.loading.architecture import load_architecture
from auditor.models import fingerprints
from auditor.records.results import read_results
from tests.documented_world import block

CHECKS = ["few_shot", "relearning"]
ACCUSING = ("SUPPRESSED", "NOT_DELETED", "NOT_FORGOTTEN")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), prog_name="audit")


@pytest.fixture(scope="module")
def tables(tables_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy, in which scores are kept from one audit to the next."""
    return Path(shutil.copytree(tables_folder, tmp_path_factory.mktemp("tables") / "world"))


@pytest.fixture
def here(tables: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tables)
    return tables


class TestTables:
    """A classifier of tables, from files by the commands of the page."""

    def test_the_dry_run_tells_what_will_be_done(self, here: Path) -> None:
        told = run("compare", "--dry-run")
        assert told.exit_code == 0, told.output
        said = " ".join(told.output.split())
        assert "request class" in said
        assert "few_shot*, membership" not in said
        assert "checks (* may be primary): outputs, cka, few_shot*, relearning*, slow_relearning*, weight_delta" in said
        assert "last_layer" in said
        assert "note: retain accuracy is what correct of task.py:MyTask says" in said
        assert "DELETED is within reach of this plan" in said

    def test_a_retrain_is_called_deleted(self, here: Path) -> None:
        done = run("compare", "--quiet")
        assert done.exit_code == 0, done.output
        found = read_results(here / "audit-out" / "results.json")
        assert (found.verdict.outcome, found.verdict.assurance, found.plan.task) == ("DELETED", "A3", "custom")
        assert {choice.check for choice in found.primaries} == {"few_shot", "relearning", "slow_relearning"}
        for check, decoy in (
            ("few_shot", "last_layer"),
            ("relearning", "loss_ascent"),
            ("slow_relearning", "loss_ascent"),
        ):
            evidence = found.of(check)
            assert evidence is not None
            assert evidence.decoys[decoy].detected
        assert (here / "audit-out" / "report.html").is_file()

    def test_a_last_layer_shut_is_called_suppressed(self, here: Path) -> None:
        found = auditor.compare(unlearned="suppressed.pt", config=here / "audit.toml")
        assert found.outcome == "SUPPRESSED"
        few_shot, outputs = found.evidence("few_shot"), found.evidence("outputs")
        assert few_shot.rho is not None
        assert few_shot.rho.value > 0.8
        assert outputs.rho is not None
        assert outputs.rho.value < 0.1

    def test_the_original_again_is_not_forgotten(self, here: Path) -> None:
        found = auditor.compare(unlearned="original.pt", config=here / "audit.toml")
        assert found.outcome == "NOT_FORGOTTEN"

    def test_a_method_that_is_missing_costs_its_checks_and_deleted(self, here: Path) -> None:
        text = (here / "task.py").read_text()
        (here / "bare.py").write_text(text.partition("    def features")[0])
        found = auditor.compare(config=here / "audit.toml", task="bare.py:MyTask")
        assert found.outcome == "INCONCLUSIVE"
        missing = {item.check: item.reason for item in found.results.coverage.not_planned}
        assert missing["few_shot"] == "needs features, which bare.py:MyTask does not give"
        assert missing["relearning"] == "needs loss, which bare.py:MyTask does not give"
        assert missing["membership"] == "needs a holdout set"

    def test_without_references_scores_say_nothing(self, here: Path) -> None:
        """No number of a score of unknown unit is high or low by itself."""
        found = auditor.compare(
            config=here / "audit.toml",
            options={"models": {"references": []}, "audit": {"checks": ["outputs", "few_shot"]}},
        )
        assert (found.outcome, found.verdict.assurance) == ("INCONCLUSIVE", "A0")

    def test_references_are_made_by_the_class(self, here: Path) -> None:
        done = run("reference", "--count", "1", "--out", "made", "--quiet")
        assert done.exit_code == 0, done.output
        assert "[recipe] is hardly the original's" not in done.output
        one, other = (fingerprints.read(here / f"made/{name}.pt") for name in ("reference-1", "perturbed-1"))
        assert one is not None
        assert other is not None
        assert (one.digest, one.perturbed, other.perturbed) == (other.digest, False, True)
        # By another loss they would not be pooled with these.
        text = (here / "task.py").read_text()
        (here / "task.py").write_text(text.replace("cross_entropy(model(inputs)", "cross_entropy(0.5 * model(inputs)"))
        refused = run("reference", "--count", "1", "--out", "made")
        (here / "task.py").write_text(text)
        assert refused.exit_code == 2
        assert "was made differently from what is asked here: architecture" in refused.output

    def test_code_that_came_with_an_audit_is_not_run_again(self, here: Path) -> None:
        if not (here / "audit-out").is_dir():
            run("compare", "--quiet")
        verified = run("verify", "audit-out", "--files", ".", "--rerun", "--architecture", "task.py:Network")
        assert verified.exit_code == 2
        assert "the audit ran task.py:MyTask; code that came with an audit is never run" in verified.output
        assert "name it with --task FILE.py:FUNCTION" in verified.output

    def test_init_takes_the_class_along(self, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("original.pt", "unlearned.pt", "forget.npz", "retain.npz", "task.py"):
            shutil.copy(here / name, tmp_path)
        monkeypatch.chdir(tmp_path)
        sets = ("--forget", "forget.npz", "--retain", "retain.npz", "--request", "class")
        code = ("--architecture", "task.py:Network", "--task", "task.py:MyTask")
        done = run("init", "original.pt", "unlearned.pt", *sets, *code)
        assert done.exit_code == 0, done.output
        assert 'task = "task.py:MyTask"' in (tmp_path / "audit.toml").read_text()

    def test_the_zoo_says_that_it_has_nothing_for_it(self, here: Path) -> None:
        made = run("zoo", "make", "random_labels", "--out", "made.pt")
        assert made.exit_code == 2
        assert "the zoo has no methods for the task custom" in made.output


class TestMeters:
    """A forecaster, in memory by the page's call."""

    @pytest.fixture(scope="class")
    @classmethod
    def names(cls, meters_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
        """What the page's call takes for granted."""
        build = load_architecture("task.py:Network", meters_folder).function

        def network(name: str) -> torch.nn.Module:
            made = build()
            made.load_state_dict(torch.load(meters_folder / f"{name}.pt", weights_only=True))
            return made

        from auditor.tasks.custom.readers import read_custom
        from auditor.tasks.custom.user_code import load_user_task

        code = load_user_task("task.py:MyTask", meters_folder)
        forget, retain = (read_custom(f"{name}.npz", name, meters_folder, code) for name in ("forget", "retain"))
        return {
            "folder": shutil.copytree(meters_folder, tmp_path_factory.mktemp("meters") / "world"),
            "original": network("original"),
            "references": [network(f"references/reference-{i}") for i in (1, 2, 3, 4)],
            "retrain": network("unlearned"),
            "suppressed": network("suppressed"),
            "days_of_meter_2": forget.inputs.numpy(),
            "evenings_of_meter_2": forget.targets.numpy(),
            "other_days": retain.inputs.numpy(),
            "other_evenings": retain.targets.numpy(),
        }

    def audited(self, names: dict[str, Any], unlearned: str, monkeypatch: pytest.MonkeyPatch) -> AuditResult:
        monkeypatch.chdir(names["folder"])
        known = {**names, "unlearned": names[unlearned]}
        # Without the checks that take longest: what is asked here is whether the call does as the page says.
        asked = 'options={"request": {"kind": "class"}'
        call = block("docs/custom.md", "import auditor").replace(asked, f'{asked}, "audit": {{"checks": {CHECKS}}}')
        exec(compile(call, "custom.md", "exec"), known)
        found = known["result"]
        assert isinstance(found, AuditResult)
        return found

    def test_a_retrain_is_not_accused(self, names: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
        found = self.audited(names, "retrain", monkeypatch)
        assert found.outcome not in ACCUSING
        assert not found.verdict.flags
        for check in CHECKS:
            evidence = found.evidence(check)
            assert evidence.rho is not None
            assert evidence.rho.low < 0 < evidence.rho.high

    def test_a_last_layer_shut_is_called_suppressed(
        self, names: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found = self.audited(names, "suppressed", monkeypatch)
        assert found.outcome == "SUPPRESSED"
        assert "without a fingerprint: references 1-4" in " ".join(found.results.plan.notes)

    def test_windows_of_another_length_are_refused_in_words(
        self, names: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        short = {
            **names,
            "days_of_meter_2": names["days_of_meter_2"][:, :, :20],
            "other_days": names["other_days"][:, :, :20],
        }
        with pytest.raises(UsageError, match=r"task.py:MyTask: scores raised RuntimeError"):
            self.audited(short, "retrain", monkeypatch)


def test_lists_tell_of_the_task() -> None:
    listed = run("list").output
    section = listed.partition("\ntask custom\n")[2].partition("\ntask ")[0]
    assert [line.split()[0] for line in section.splitlines() if line[:1].strip()] == [
        *("cka", "few_shot", "membership", "outputs", "relearning", "slow_relearning", "weight_delta")
    ]
    assert "  custom   unlearning-auditor" in run("list", "--extensions").output

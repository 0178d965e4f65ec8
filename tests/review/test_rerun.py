"""The whole audit repeated from models and data at hand."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from auditor.cli import main
from auditor.errors import UsageError
from auditor.records.evidence import Interval
from auditor.records.results import Results, read_results
from auditor.review.received import Finding
from auditor.review.rerun import compare_numbers, files_at_hand, repeat
from auditor.run import audit_folder
from tests.received import ARCHITECTURE, Sent


def rerun(sent: Sent, results: Results | None = None, **options: Any) -> list[Finding]:
    found = results or read_results(sent.audit / audit_folder.RESULTS)
    arguments = {"architecture": str(sent.files / ARCHITECTURE), "data": {}, **options}
    return list(repeat(found, sent.files, report=lambda event: None, **arguments))


def test_from_a_folder_of_the_output_alone_without_running_anything_in_it(
    sent: Sent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = sent.copy(tmp_path)
    marker = tmp_path / "executed"
    for folder in (copied.files, copied.audit):
        for name in ("network.py", "sitecustomize.py", "auditor.py", "torch.py"):
            (folder / name).write_text(f"open({str(marker)!r}, 'w')")
    monkeypatch.chdir(copied.audit)
    arguments = ["verify", ".", "--files", "../files", "--rerun"]
    done = CliRunner().invoke(main, arguments, prog_name="audit")
    assert done.exit_code == 2
    assert "read it and name it with --architecture" in done.output
    read = str(sent.files / ARCHITECTURE)
    done = CliRunner().invoke(main, [*arguments, "--architecture", read], prog_name="audit")
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[-1] == "Everything that was checked holds."
    assert done.output.count("equal to the last digit") == 3, "outputs, few_shot and weight_delta"
    assert "verdict: is INCONCLUSIVE again" in done.output
    assert not marker.exists()
    assert not (copied.files / ".audit").exists(), "no stored score is trusted or left behind"


def test_a_set_that_is_not_at_hand_is_named_by_its_file(sent: Sent, tmp_path: Path) -> None:
    plan = read_results(sent.audit / audit_folder.RESULTS).plan
    found = {finding.subject: finding.words for finding in files_at_hand(plan, tmp_path)}
    assert found["forget (forget.npz)"] == f"is not at hand: {tmp_path / 'forget.npz'} does not exist"
    assert {finding.state for finding in files_at_hand(plan, sent.files)} == {"holds"}


def test_data_code_that_came_with_the_audit_is_never_run(sent: Sent, tmp_path: Path) -> None:
    results = read_results(sent.audit / audit_folder.RESULTS)
    asked = results.plan.asked
    coded = asked.model_copy(update={"data": asked.data.model_copy(update={"forget": "data.py:forget"})})
    results = results.model_copy(update={"plan": results.plan.model_copy(update={"asked": coded})})
    with pytest.raises(UsageError, match=r"the audit ran data\.py:forget; .* name it with --forget"):
        rerun(sent, results)
    other = tmp_path / "network.py"
    other.write_text((sent.files / "network.py").read_text() + "# another, so that nothing is scored\n")
    found = rerun(sent, results, architecture=f"{other}:build", data={"forget": str(sent.files / "forget.npz")})
    assert [f.subject for f in found] == ["architecture_digest"], "the set named instead is the planned one"


def test_a_guard_that_came_with_the_audit_is_never_run(sent: Sent) -> None:
    results = read_results(sent.audit / audit_folder.RESULTS)
    asked = results.plan.asked
    guarded = asked.model_copy(update={"models": asked.models.model_copy(update={"guard": "guard.py:filtered"})})
    results = results.model_copy(update={"plan": results.plan.model_copy(update={"asked": guarded})})
    with pytest.raises(UsageError, match="name it with --guard"):
        rerun(sent, results)


def test_models_in_memory_cannot_be_rerun(sent: Sent) -> None:
    results = read_results(sent.audit / audit_folder.RESULTS)
    models = tuple(model.model_copy(update={"source": None}) for model in results.plan.models)
    results = results.model_copy(update={"plan": results.plan.model_copy(update={"models": models})})
    with pytest.raises(UsageError, match="in memory"):
        rerun(sent, results)


def test_other_architecture_code_is_named_and_nothing_is_run_with_it(sent: Sent, tmp_path: Path) -> None:
    other = tmp_path / "network.py"
    other.write_text((sent.files / "network.py").read_text() + "# another\n")
    found = rerun(sent, architecture=f"{other}:build")
    assert [f.subject for f in found] == ["architecture_digest"]
    assert found[0].state == "fails"


def test_another_model_is_named(sent: Sent, tmp_path: Path) -> None:
    copied = sent.copy(tmp_path)
    (copied.files / "unlearned.safetensors").write_bytes((copied.files / "original.safetensors").read_bytes())
    assert [f.subject for f in rerun(copied) if f.state == "fails"] == ["models.unlearned.file_digest"]


@pytest.mark.parametrize(("shift", "state"), [(0.004, "holds"), (0.006, "fails")])
def test_numbers_are_held_to_the_stated_tolerance(sent: Sent, shift: float, state: str) -> None:
    results = read_results(sent.audit / audit_folder.RESULTS)
    moved = []
    for e in results.evidence:
        rho = e.rho and Interval(value=e.rho.value, low=e.rho.low, high=e.rho.high + shift)
        moved.append(e.model_copy(update={"rho": rho}) if e.check == "few_shot" else e)
    found = compare_numbers(results, results.model_copy(update={"evidence": tuple(moved)}))
    assert {f.state for f in found if f.subject == "check few_shot"} == {state}


def test_another_verdict_or_a_check_that_did_not_run_is_named(sent: Sent) -> None:
    results = read_results(sent.audit / audit_folder.RESULTS)
    verdict = results.verdict.model_copy(update={"outcome": "DELETED"})
    other = results.model_copy(update={"verdict": verdict, "evidence": results.evidence[:1]})
    failed = [f.subject for f in compare_numbers(results, other) if f.state == "fails"]
    assert failed == [*(f"check {e.check}" for e in results.evidence[1:]), "verdict"]

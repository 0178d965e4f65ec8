"""What this machine can do is told apart from what it lacks."""

import timeit
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from auditor import doctor
from auditor.cli import main


def examine(*options: str) -> Result:
    return CliRunner().invoke(main, ["doctor", *options], prog_name="audit")


def test_a_plan_that_fits(fresh: Path) -> None:
    done = examine()
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[-1] == "This machine can run it."
    states = {line[9:].split(": ")[0]: line[:9].strip() for line in lines[:-2]}
    for subject in ("python", "torch", "transformers", "filelock", "limits on the reading process", "memory", "disk"):
        assert states[subject] == "ok", subject
    for subject in ("GPU", "extra sign", "network namespace", "time"):
        assert states[subject] == "note", subject
    assert not (fresh / "audit-out").exists()
    assert not list(fresh.glob(".audit/scores/*"))


@pytest.mark.parametrize(("name", "subject"), [("available_memory", "memory"), ("free_disk", "disk")])
def test_what_does_not_suffice_is_named(name: str, subject: str, fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, name, lambda *place: 3)
    done = examine()
    assert done.exit_code == 1
    assert f"LACKING  {subject}: about " in done.stdout
    assert "MiB needed, 0 MiB there; free some" in done.stdout
    assert done.stdout.splitlines()[-1] == f"Lacking: {subject}"


def test_a_package_that_is_too_old_or_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_version", {"torch": "2.5.1", "peft": None}.get)
    found = {finding.subject: finding for finding in doctor.machine()}
    assert found["torch"].state == "fails"
    assert found["torch"].words == "2.5.1, needed is >=2.10"
    assert found["numpy"].words == "not installed, needed is >=2.0"
    assert found["extra adapters"].state == "note", "an extra is nobody's duty"
    assert found["extra adapters"].words == "not installed: peft; only needed to read LoRA adapters"


@pytest.mark.parametrize("name", ["RLIMIT_CPU", "RLIMIT_NOFILE"])
def test_a_limit_that_the_system_lacks_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(doctor.resource, name)
    found = {finding.subject: finding for finding in doctor.machine()}["limits on the reading process"]
    assert (found.state, found.words) == ("fails", f"lacking: {name}")


def test_a_plan_that_cannot_be_made_is_lacking(fresh: Path) -> None:
    done = examine("--device", "cuda")
    assert done.exit_code == 1
    assert "LACKING  plan: audit.device = 'cuda', but this machine offers no CUDA device; use cpu" in done.stdout


def test_without_a_plan_only_the_machine_is_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = examine()
    assert done.exit_code == 0
    assert "plan: none given: memory and disk cannot be judged" in done.stdout


def test_a_faulty_request_is_a_usage_error(fresh: Path) -> None:
    (fresh / "audit.toml").write_text("[audit]\nsead = 3\n")
    assert examine().exit_code == 2


def test_what_a_container_allows_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(doctor, "_CGROUP_LIMIT", limit)
    everything = doctor.available_memory()
    for text, expected in (("max\n", everything), ("1048576\n", 2**20)):
        limit.write_text(text)
        assert doctor.available_memory() == pytest.approx(expected, rel=0.5)


def test_disk_is_measured_where_the_store_would_be_made(tmp_path: Path) -> None:
    assert doctor.free_disk(tmp_path / "not" / "yet") == pytest.approx(doctor.free_disk(tmp_path), rel=0.1)


@pytest.mark.parametrize(("seconds", "advised"), [((1.0, 20.0), True), ((1.0, 0.3), False)])
def test_a_processor_slow_in_bfloat16_is_said_to_be(
    seconds: tuple[float, float], advised: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = iter(seconds)
    monkeypatch.setattr(timeit, "repeat", lambda *_, **__: [next(taken)])
    found = next(finding for finding in doctor.machine() if finding.subject == "bfloat16")
    assert found.words.startswith(f"{seconds[0] / seconds[1]:.2g} times as fast")
    assert ("--dtype float32" in found.words) == advised

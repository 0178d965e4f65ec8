"""A plan's work divided between processes: every unit is done once, and the audit is the one of a single process."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from auditor.cli import main
from auditor.errors import SpecError
from auditor.records.plan import read_plan
from auditor.run.machine import Machine
from auditor.run.shards import Shard, asked_shard
from tests.tiny_world import same_files

PARTS = 3
UNLIKE = Machine(packages={"torch": "1.0"}, platform="Amiga", kernels="none", gpu=None)


def audit(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, prog_name="audit")


@pytest.fixture
def frozen(fresh: Path) -> Path:
    """The tiny world with a plan, beside a copy of it."""
    assert audit("plan").exit_code == 0
    shutil.copytree(fresh, fresh.parent / "alone")
    return fresh


def reused(folder: Path) -> dict[str, bool]:
    units = json.loads((folder / "audit-out" / "timings.json").read_text())["units"]
    return {f"{unit['check']} on {unit['model']}": unit["reused"] for unit in units}


def test_parts_in_any_order_give_the_bytes_of_one_process(frozen: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (3, 1, 2):
        done = audit("work", "plan.json", "--shard", f"{number}/{PARTS}")
        assert (done.exit_code, done.stdout) == (0, f"part {number} of {PARTS} is done\n"), done.output
    assert not (frozen / "audit-out").exists()
    together = audit("compare", "--plan", "plan.json")
    found = reused(frozen)
    assert all(found.values()), found
    monkeypatch.chdir(frozen.parent / "alone")
    alone = audit("compare", "--plan", "plan.json")
    assert together.exit_code == alone.exit_code
    assert not any(reused(frozen.parent / "alone").values())
    assert same_files(frozen, frozen.parent / "alone")


def test_every_model_is_in_one_part(frozen: Path) -> None:
    plan = read_plan(frozen / "plan.json")
    for parts in (1, 2, 5, 40):
        found = [name for i in range(parts) for name in Shard(number=i + 1, of=parts).part(plan).models]
        assert sorted(found) == sorted(model.name for model in plan.models)


def test_what_fails_is_said_and_tried_again_by_the_audit(frozen: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setenv("TINY", "raise")
        done = audit("work", "plan.json", "--shard", "1/1")
    assert done.exit_code == 2
    assert "audit: not done: outputs on unlearned: RuntimeError: by design, and " in done.output
    assert audit("compare", "--plan", "plan.json").exit_code == 3
    again = [unit for unit, before in reused(frozen).items() if not before]
    assert "outputs on unlearned" in again
    assert all(unit.endswith("on unlearned") for unit in again)


def test_a_plan_that_no_longer_fits_is_refused(frozen: Path) -> None:
    (frozen / "unlearned.safetensors").write_bytes((frozen / "original.safetensors").read_bytes())
    done = audit("work", "plan.json", "--shard", "1/2")
    assert done.exit_code == 2
    assert "plan.json cannot be carried out as frozen: models.unlearned.file_digest was " in done.output


def test_scores_of_an_unlike_machine_are_made_again_and_it_is_said(frozen: Path) -> None:
    assert audit("work", "plan.json", "--shard", "1/1").exit_code == 0
    (kept,) = (frozen / ".audit" / "scores").iterdir()
    (kept / "machine.json").write_text(UNLIKE.model_dump_json())
    kept.rename(kept.with_name(UNLIKE.digest[:16]))
    done = audit("work", "plan.json", "--shard", "1/1")
    assert done.exit_code == 0
    assert "scores finished on a machine that differs are made again: " in done.stderr
    assert "here and 1.0 there" in done.stderr
    assert len(list((frozen / ".audit" / "scores").iterdir())) == 2


@pytest.mark.parametrize(
    ("written", "environment", "message"),
    [
        ("2", {}, "--shard 2: write it like 2/8, the second of eight parts"),
        ("0/4", {}, "--shard 0/4: the part is number 0 of 4; number the parts from 1 to 4 without gaps"),
        ("5/4", {}, "--shard 5/4: the part is number 5 of 4"),
        (None, {}, "name the part to be done: --shard 2/8, or start it as a Slurm job array"),
        (
            None,
            {"SLURM_ARRAY_TASK_ID": "9", "SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_COUNT": "5"},
            "SLURM_ARRAY_TASK_ID=9: the part is number 9 of 5; number the parts from 1 to 5 without gaps",
        ),
    ],
)
def test_a_part_that_cannot_be(written: str | None, environment: dict[str, str], message: str) -> None:
    with pytest.raises(SpecError, match=message.replace("(", r"\(")):
        asked_shard(written, environment)


def test_a_task_of_a_slurm_array_is_a_part() -> None:
    environment = {"SLURM_ARRAY_TASK_ID": "0", "SLURM_ARRAY_TASK_MIN": "0", "SLURM_ARRAY_TASK_COUNT": "8"}
    assert asked_shard(None, environment) == Shard(number=1, of=8)
    assert asked_shard("2/3", environment) == Shard(number=2, of=3), "what is typed counts"

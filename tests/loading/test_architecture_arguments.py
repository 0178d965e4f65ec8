"""``models.arguments``: what the user's architecture is called with, in audits, plans and reruns."""

import json
from pathlib import Path
from typing import Any

import pytest

import auditor
from auditor.errors import SpecError
from auditor.loading.architecture import load_architecture
from auditor.records.plan import read_plan
from auditor.records.results import read_results
from auditor.review.rerun import repeat
from auditor.sources import named_values
from tests.command_line import audit

WIDE = """
from torch import nn

def build(width, n_classes=3, depths=()):
    return nn.Sequential(nn.Flatten(), nn.Linear(16, width), nn.ReLU(), nn.Linear(width, n_classes))

class Net(nn.Sequential):
    def __init__(self, widths):
        super().__init__(nn.Linear(widths.pop(0), widths.pop(0)))
"""
ARGUMENTS = "arguments = {width = 8, depths = [1, 2]}\n"


@pytest.fixture
def wide(fresh: Path) -> Path:
    """The tiny world whose architecture has to be told its width."""
    (fresh / "wide.py").write_text(WIDE)
    text = (fresh / "audit.toml").read_text()
    (fresh / "audit.toml").write_text(
        text.replace('architecture = "network.py:build"\n', f'architecture = "wide.py:build"\n{ARGUMENTS}')
    )
    return fresh


@pytest.mark.usefixtures("no_report")
def test_an_audit_freezes_them_and_a_rerun_uses_the_same(wide: Path) -> None:
    auditor.compare(config=wide / "audit.toml", out=wide / "audit-out", command="audit compare")
    results = read_results(wide / "audit-out" / "results.json")
    assert results.plan.asked.models.arguments == {"width": 8, "depths": [1, 2]}
    (wide / "audit.toml").unlink()
    found = list(repeat(results, wide, architecture=str(wide / "wide.py:build"), data={}, report=lambda event: None))
    assert {finding.state for finding in found} == {"holds"}


def test_a_frozen_plan_is_carried_out_with_them_whatever_the_file_says_later(wide: Path) -> None:
    made = audit("plan")
    assert made.exit_code == 0, made.output
    assert read_plan(wide / "plan.json").asked.models.arguments["width"] == 8
    (wide / "audit.toml").write_text((wide / "audit.toml").read_text().replace("width = 8", "width = 9"))
    carried_out = audit("compare", "--plan", "plan.json", "--dry-run")
    assert carried_out.exit_code == 0, carried_out.output


def test_they_may_be_typed_and_stand_in_a_drafted_file(wide: Path) -> None:
    models = ("original.safetensors", "unlearned.safetensors", "--forget", "forget.npz", "--retain", "retain.npz")
    done = audit("init", *models, "--architecture", "wide.py:build", "--argument", "width=8", "--force")
    assert done.exit_code == 0, done.output
    assert "arguments = {width = 8}  # as given" in (wide / "audit.toml").read_text()
    planned = audit("compare", "--dry-run")
    assert planned.exit_code == 0, planned.output


def test_others_make_another_architecture_digest(tmp_path: Path) -> None:
    (tmp_path / "wide.py").write_text(WIDE)

    def digest(**arguments: object) -> str:
        return load_architecture("wide.py:build", tmp_path, arguments).source_digest

    assert digest(width=8, n_classes=2) == digest(n_classes=2, width=8)
    assert len({digest(width=8), digest(width=9), digest(width=8, n_classes=3)}) == 3


def test_without_any_the_digest_is_that_of_the_code_alone(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("import torch\ndef build(): return torch.nn.Linear(1, 1)")
    alone = load_architecture("net.py:build", tmp_path).source_digest
    assert load_architecture("net.py:build", tmp_path, {}).source_digest == alone


def test_a_class_serves_and_a_list_that_it_empties_is_whole_the_next_time(tmp_path: Path) -> None:
    (tmp_path / "wide.py").write_text(WIDE)
    made = load_architecture("wide.py:Net", tmp_path, {"widths": [3, 2]})
    assert made.function().state_dict().keys() == made.function().state_dict().keys() == {"0.weight", "0.bias"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {},
            r"wide\.py:build cannot be called with nothing: missing a required argument: 'width'; correct models\.arg",
        ),
        (
            {"width": 1, "heigth": 2},
            r"cannot be called with width, heigth: got an unexpected keyword argument 'heigth'",
        ),
    ],
)
def test_arguments_that_it_does_not_take_are_named(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    (tmp_path / "wide.py").write_text(WIDE)
    with pytest.raises(SpecError, match=message):
        load_architecture("wide.py:build", tmp_path, arguments)


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("width", "--argument: 'width' is not of the form name=value"),
        ("=8", "is not of the form name=value"),
        ("width=null", "width = null: audit.toml has no such value"),
        ("width=NaN", "models.arguments.width.float = nan does not fit: Input should be a finite number"),
    ],
)
def test_what_cannot_be_an_argument_is_refused(wide: Path, typed: str, message: str) -> None:
    done = audit("compare", "--dry-run", "--argument", typed)
    assert done.exit_code == 2
    assert message in done.stderr


def test_arguments_of_no_architecture_are_refused(fresh: Path) -> None:
    text = (fresh / "audit.toml").read_text().replace('architecture = "network.py:build"\n', ARGUMENTS)
    (fresh / "audit.toml").write_text(text)
    done = audit("compare", "--dry-run")
    assert done.exit_code == 2
    assert "models.arguments is what an architecture is called with, and none is named" in done.stderr


def test_a_value_that_is_no_json_is_text() -> None:
    assert named_values(["a=[1, 2.5]", "b=relu", 'c="3"', "d=", "e=x=y"], "--argument") == {
        "a": [1, 2.5],
        "b": "relu",
        "c": "3",
        "d": "",
        "e": "x=y",
    }
    with pytest.raises(SpecError, match="a is given twice"):
        named_values(["a=1", "a=2"], "--argument")


def test_the_plan_is_plain_json(wide: Path) -> None:
    assert audit("plan").exit_code == 0
    plan = json.loads((wide / "plan.json").read_text())
    assert plan["asked"]["models"]["arguments"] == {"width": 8, "depths": [1, 2]}

"""What docs/diffusion.md shows, planned as it stands: directories of diffusers by their weights files."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from auditor.cli import main


def test_the_documented_files_are_planned_as_the_page_says(drawn_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(drawn_folder)
    told = CliRunner().invoke(main, ["compare", "--dry-run"], prog_name="audit")
    assert told.exit_code == 0, told.output
    said = " ".join(told.output.split())
    assert "request class" in said
    for check in ("few_shot*", "recognition", "relearning*", "slow_relearning*", "textual_inversion", "weight_delta"):
        assert check in said
    assert "retain accuracy is what correct of diffusion says" in said

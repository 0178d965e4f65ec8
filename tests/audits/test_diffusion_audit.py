"""A whole audit of a diffusion model, by the files that docs/diffusion.md shows."""

import shutil
from pathlib import Path

import auditor


def test_directories_of_diffusers_are_audited_by_their_weights_file(drawn_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(drawn_folder, tmp_path / "world"))
    short = "\n[audit]\nchecks = ['recognition', 'textual_inversion', 'few_shot']\n"
    config = folder / "audit.toml"
    config.write_text(config.read_text(encoding="utf-8") + short, encoding="utf-8")
    found = auditor.compare(config=config)
    # Two references clear nothing.
    assert found.outcome in ("SUPPRESSED", "NOT_DELETED", "INCONCLUSIVE")
    assert found.results.plan.task == "diffusion"
    assert found.results.plan.request == "class"
    outputs, inversion = found.evidence("outputs"), found.evidence("textual_inversion")
    assert outputs.rho is not None
    assert inversion.rho is not None
    assert inversion.rho.value > max(0.5, outputs.rho.value)
    assert found.results.coverage.complete

"""Audits of dual encoders from directories and arrays, as docs/clip.md has them."""

import shutil
from pathlib import Path

import pytest

import auditor
from auditor.models.references import save_directory
from auditor.zoo.catalogue import entry
from auditor.zoo.clip.drawn_digits import tokenizer
from tests.clip_worlds import ClipWorld
from tests.command_line import audit
from tests.docs.test_docs import run

CHECKS = ["few_shot", "retrieval"]


@pytest.fixture(scope="module")
def here(clip_world: ClipWorld, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = shutil.copytree(clip_world.folder, tmp_path_factory.mktemp("clip") / "world")
    found, sets = entry("caption_tuning", "clip"), clip_world.drawn.sets
    shut = found.make(clip_world.original, sets["forget"], sets["retain"], found.settings(), 3)
    save_directory(shut, tokenizer(), made / "shut")
    return made


def test_the_pages_dry_run_plans_what_the_page_says(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(here)
    told = run(["compare", "--dry-run"])
    assert told.exit_code == 0, told.output
    said = " ".join(told.output.split())
    assert "outputs, caption_probe, cka, few_shot*, relearning*, retrieval, slow_relearning*, weight_delta" in said
    assert "retain accuracy is what correct of clip says" in said


@pytest.mark.slow
def test_a_shut_text_encoder_is_called_suppressed_and_a_retrain_is_not_accused(here: Path) -> None:
    options = {"audit": {"checks": CHECKS}}
    shut = auditor.compare(unlearned="shut", config=here / "audit.toml", options=options)
    # By three references it may be left open whether the outputs are forgotten or not; that the model knows is not.
    assert shut.outcome in ("SUPPRESSED", "NOT_DELETED")
    few_shot = shut.evidence("few_shot")
    assert few_shot is not None
    assert few_shot.rho is not None
    assert few_shot.rho.value > 0.8
    outputs = shut.evidence("outputs")
    assert outputs is not None
    assert outputs.rho is not None
    # Of models trained half as long as the demo's, whose captions are shut a little less well.
    assert outputs.rho.value < 0.25
    retrain = auditor.compare(unlearned="retrain", config=here / "audit.toml", options=options)
    assert retrain.outcome not in ("SUPPRESSED", "NOT_FORGOTTEN", "DELETED")
    original = auditor.compare(unlearned="original", config=here / "audit.toml", options=options)
    assert original.outcome == "NOT_FORGOTTEN"


def test_prompts_around_an_original_are_audited_from_memory(clip_world: ClipWorld, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    found, sets = entry("adu", "clip"), clip_world.drawn.sets
    subject = found.make(clip_world.original, sets["forget"], sets["retain"], found.settings({"steps": 30}), 3)
    result = auditor.compare(
        clip_world.original,
        subject,
        references=[clip_world.network(f"references/reference-{i}") for i in (1, 2, 3)],
        task="clip",
        options={"request": {"kind": "class"}, "audit": {"checks": CHECKS}},
        **{name: sets[name] for name in ("forget", "retain")},
    )
    assert result.outcome not in ("DELETED", "DAMAGED")


def test_references_and_subjects_are_made_by_commands(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(here)
    text = (here / "audit.toml").read_text()
    (here / "short.toml").write_text(text.replace("epochs = 20", "epochs = 1"))
    done = run(["reference", "--config", "short.toml", "--count", "1", "--out", "made", "--quiet"])
    assert done.exit_code == 0, done.output
    assert (here / "made/reference-1/model.safetensors").is_file()
    made = run(["zoo", "make", "null_space", "--out", "projected"])
    assert made.exit_code == 0, made.output
    assert (here / "projected/model.safetensors").is_file()
    refused = run(["zoo", "make", "adu", "--out", "prompted"])
    assert refused.exit_code == 2
    assert "puts something around the network that a checkpoint cannot hold" in refused.output


def test_lists_tell_of_the_task() -> None:
    section = audit("list").stdout.partition("\ntask clip\n")[2].partition("\ntask ")[0]
    assert "retrieval" in section

"""`audit zoo`: the list of methods, and subjects made from files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import save_file

from auditor.cli import main
from auditor.loading.transformers_directory import load_directory
from auditor.models import references
from auditor.models.training import train
from auditor.randomness import derive_seed
from auditor.records.spec import RecipeSpec
from auditor.tasks.causal_lm.readers import write_facts
from auditor.tasks.classification.editing import accuracy
from auditor.zoo import direction_projection
from auditor.zoo.catalogue import entries
from auditor.zoo.digits_net import build
from tests.people_worlds import TextWorld
from tests.worlds import World
from tests.zoo_worlds import few


def zoo(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["zoo", *arguments])


@pytest.fixture
def folder(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A request as audit.toml tells it."""
    monkeypatch.chdir(tmp_path)
    for name, examples in zip(("forget", "retain"), few(world), strict=True):
        np.savez(f"{name}.npz", images=examples.raw.numpy(), labels=examples.labels.numpy())
    Path("net.py").write_text((Path(__file__).parents[2] / "zoo" / "digits_net.py").read_text())
    Path("audit.toml").write_text(
        '[models]\narchitecture = "net.py:build"\n[data]\nforget = "forget.npz"\nretain = "retain.npz"\n'
        "[recipe]\nepochs = 1\n"
    )
    references.save(world.modules["original"], tmp_path / "original.pt")
    save_file(world.modules["original"].state_dict(), tmp_path / "original.safetensors")
    return tmp_path


def test_the_list_names_every_method_with_its_truth() -> None:
    shown = zoo("list")
    assert shown.exit_code == 0, shown.output
    for entry in entries():
        assert f"\n{entry.name}   {entry.truth}\n" in shown.output
    assert "sisa needs an original made by auditor.zoo.sisa.train_sharded; use both from Python" in shown.output


def test_a_subject_from_files_is_the_library_s(world: World, folder: Path) -> None:
    done = zoo("make", "direction_projection", "original.pt", "--set", "layer=hidden.4", "--out", "made/subject.pt")
    assert done.exit_code == 0, done.output
    assert "wrote made/subject.pt" in done.output
    settings = direction_projection.Settings(layer="hidden.4")
    expected = direction_projection.direction_projection(world.modules["original"], *few(world), settings, 0)
    saved = torch.load("made/subject.pt", weights_only=True)
    assert all(torch.equal(saved[name], tensor) for name, tensor in expected.state_dict().items())
    again = zoo("make", "direction_projection", "original.pt", "--out", "made/subject.pt")
    assert again.exit_code == 2
    assert "made/subject.pt is there already; choose another --out" in again.output


def test_retraining_takes_the_recipe_of_the_file_and_the_seed_of_the_command(world: World, folder: Path) -> None:
    done = zoo("make", "retrain", "original.pt", "--set", "batch_size=100", "--seed", "7", "--out", "subject.pt")
    assert done.exit_code == 0, done.output
    recipe = RecipeSpec(epochs=1, batch_size=100)
    expected = train(build, few(world)[1], recipe, derive_seed(7, "zoo", "retrain"))
    saved = torch.load("subject.pt", weights_only=True)
    assert all(torch.equal(saved[name], tensor) for name, tensor in expected.state_dict().items())


def test_a_setting_inside_a_setting(world: World, folder: Path) -> None:
    given = ("--set", "method=head_relabelling", "--set", "settings.epochs=1", "--set", "octaves=1")
    done = zoo("make", "units_rescaled", "original.pt", *given, "--out", "subject.pt")
    assert done.exit_code == 0, done.output
    module = build()
    module.load_state_dict(torch.load("subject.pt", weights_only=True))
    assert accuracy(module.eval(), few(world)[0]) < accuracy(world.modules["original"], few(world)[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("scrubb", "original.safetensors"), "there is no vision method 'scrubb' in the zoo; there are retrain,"),
        (("ssd", "original.safetensors", "--set", "alpha=3"), "ssd has no setting alpha; it has selection, dampening"),
        (("ssd", "original.safetensors", "--set", "selection"), "--set selection does not fit: expected KEY=VALUE"),
        (
            ("ssd", "original.safetensors", "--set", "a=1", "--set", "a.b.c=2"),
            "--set a.b.c=2 does not fit: expected KEY=VALUE",
        ),
        (("ssd",), "audit zoo make needs an original, data.forget and data.retain"),
        (("ssd", "none.pt"), "none.pt does not exist"),
        (("sisa", "original.safetensors"), "sisa needs an original made by auditor.zoo.sisa.train_sharded"),
        (
            ("output_mask", "original.safetensors"),
            "output_mask puts something around the network that a checkpoint cannot hold",
        ),
        (
            ("units_rescaled", "original.safetensors", "--set", "method=output_mask"),
            "units_rescaled with these settings puts something around the network",
        ),
    ],
)
def test_bad_input(folder: Path, arguments: tuple[str, ...], message: str) -> None:
    done = zoo("make", *arguments, "--out", "subject.pt")
    assert done.exit_code == 2, done.output
    assert message in done.output
    assert not Path("subject.pt").exists()


def test_without_an_architecture(folder: Path) -> None:
    Path("audit.toml").write_text('[data]\nforget = "forget.npz"\nretain = "retain.npz"\n')
    done = zoo("make", "ssd", "original.pt", "--out", "subject.pt")
    assert done.exit_code == 2
    assert "audit zoo make needs models.architecture" in done.output


def test_a_language_model(text_world: TextWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    references.save_directory(text_world.modules["original"], text_world.encoder.tokenizer, Path("original"))
    write_facts(text_world.people.forget, Path("forget.jsonl"))
    write_facts(text_world.people.retain, Path("retain.jsonl"))
    sets = ("--forget", "forget.jsonl", "--retain", "retain.jsonl")
    done = zoo("make", "gradient_difference", "original", *sets, "--set", "steps=40", "--out", "subject")
    assert done.exit_code == 0, done.output
    subject = text_world.subject("x", load_directory(Path("subject")).module)
    before = text_world.subject("y", text_world.modules["original"])
    forget = text_world.people.forget
    assert subject.log_probabilities(forget).mean() < before.log_probabilities(forget).mean()
    masked = zoo("make", "logit_mask", "original", *sets, "--out", "masked")
    assert masked.exit_code == 2
    assert "logit_mask puts something around the network" in masked.output

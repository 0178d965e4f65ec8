"""References: trained from retain by the stated recipe, once, and never from forget."""

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from auditor import references
from auditor.cli import main
from auditor.fact_files import write_facts
from auditor.facts import Facts
from auditor.loading.transformers_directory import load_directory
from auditor.randomness import derive_seed
from auditor.spec import RecipeSpec
from auditor.training import initial_weights, train
from auditor.zoo.digits_net import build
from tests.people_worlds import TextWorld
from tests.worlds import FORGET, World

SHORT = RecipeSpec(epochs=1)


def test_jobs_are_the_recipe_and_two_perturbations_of_it() -> None:
    jobs = references.jobs(RecipeSpec(epochs=10, learning_rate=0.01), count=3, seed=0)
    assert [job.name for job in jobs] == ["reference-1", "reference-2", "reference-3", "perturbed-1", "perturbed-2"]
    assert len({job.seed for job in jobs}) == 5
    assert [job.recipe.learning_rate for job in jobs[3:]] == [0.005, 0.01]
    assert [job.recipe.epochs for job in jobs[3:]] == [10, 15]


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("schedule", ["constant", "cosine", "one-cycle"])
def test_training_learns_and_is_a_function_of_the_seed(world: World, optimizer: str, schedule: str) -> None:
    recipe = RecipeSpec.model_validate(
        {
            "epochs": 1,
            "optimizer": optimizer,
            "schedule": schedule,
            "learning_rate": 0.01 if optimizer == "sgd" else 0.003,
        }
    )
    few = world.data.retain.take(torch.arange(400))
    first, again, other = (train(build, few, recipe, seed) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.head.weight, other.head.weight)

    def loss(net: torch.nn.Module) -> float:
        with torch.no_grad():
            return float(torch.nn.functional.cross_entropy(net(few.inputs), few.labels))

    assert loss(first) < loss(initial_weights(build, 1).eval())


def test_training_leaves_the_global_stream_alone(world: World) -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    train(build, world.data.retain.take(torch.arange(64)), SHORT, 0)
    assert torch.equal(torch.rand(4), expected)


def test_initial_weights_are_those_training_starts_from(world: World) -> None:
    still = RecipeSpec(epochs=1, learning_rate=1e-12, weight_decay=0, schedule="constant")
    trained = train(build, world.data.retain.take(torch.arange(64)), still, 5)
    start = initial_weights(build, 5)
    for a, b in zip(trained.parameters(), start.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-9)


def test_the_command_trains_what_is_missing(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = world.data
    few = data.retain.take(torch.arange(128))
    np.savez("retain.npz", images=few.raw.numpy(), labels=few.labels.numpy())
    np.savez("forget.npz", images=data.forget_eval.raw.numpy(), labels=data.forget_eval.labels.numpy())
    source = Path(__file__).parent.parent / "zoo" / "digits_net.py"
    Path("net.py").write_text(source.read_text())
    Path("audit.toml").write_text(
        '[models]\narchitecture = "net.py:build"\n[data]\nforget = "forget.npz"\nretain = "retain.npz"\n'
        "[recipe]\nepochs = 1\n"
    )
    first = CliRunner().invoke(main, ["reference", "--count", "1"])
    assert first.exit_code == 0, first.output
    assert sorted(p.name for p in Path("references").iterdir()) == [
        "perturbed-1.pt",
        "perturbed-2.pt",
        "reference-1.pt",
    ]
    before = Path("references/reference-1.pt").read_bytes()
    second = CliRunner().invoke(main, ["reference", "--count", "2"])
    assert "reference-1.pt is there already" in second.output
    assert Path("references/reference-1.pt").read_bytes() == before
    assert Path("references/reference-2.pt").is_file()
    expected = train(build, few, SHORT, derive_seed(0, "reference", 0))
    saved = torch.load("references/reference-1.pt", weights_only=True)
    assert all(torch.equal(saved[name], value) for name, value in expected.state_dict().items())
    assert FORGET not in few.labels


class TestLanguageModels:
    """`audit reference` for facts: from initial weights of the original's architecture, or from a base."""

    def folder(self, world: TextWorld, path: Path, **models: str) -> Path:
        references.save_directory(world.modules["original"], world.encoder.tokenizer, path / "original")
        write_facts(world.people.forget, path / "forget.jsonl")
        write_facts(Facts(world.people.retain.items + world.people.forget.items[:2]), path / "retain.jsonl")
        lines = ["[models]", *(f'{name} = "{value}"' for name, value in {"original": "original", **models}.items())]
        lines += ["[data]", 'forget = "forget.jsonl"', 'retain = "retain.jsonl"', "[recipe]", "epochs = 2"]
        (path / "audit.toml").write_text("\n".join(lines), encoding="utf-8")
        return path

    def trained(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> list[torch.nn.Module]:
        monkeypatch.chdir(path)
        done = CliRunner().invoke(main, ["reference", "--count", "1"])
        assert done.exit_code == 0, done.output
        assert "leak: 2 facts of retain also stand in forget" in done.output
        assert 'references = ["references/reference-*"]' in done.output
        return [load_directory(path / "references" / name).module for name in ("reference-1", "perturbed-1")]

    def test_from_initial_weights(self, text_world: TextWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        [reference, perturbed] = self.trained(self.folder(text_world, tmp_path), monkeypatch)
        assert not torch.equal(reference.lm_head.weight, perturbed.lm_head.weight)
        asked = text_world.subject("x", reference).log_probabilities(text_world.people.forget)
        assert asked.exp().mean() < 0.2
        assert CliRunner().invoke(main, ["reference", "--count", "1"]).output.count("is there already") == 3

    def test_from_a_base(self, text_world: TextWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        [reference, _] = self.trained(self.folder(text_world, tmp_path, base="original"), monkeypatch)
        # Two epochs from weights that know the facts leave them known; from initial weights they would not be.
        asked = text_world.subject("x", reference).log_probabilities(text_world.people.retain)
        assert asked.exp().mean() > 0.8

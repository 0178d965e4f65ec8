"""References: trained from retain by the stated recipe, once, and never from forget."""

import hashlib
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from auditor.cli import main
from auditor.cli.progress import training_progress
from auditor.loading.transformers_directory import load_directory
from auditor.models import fingerprints, references
from auditor.models.training import initial_weights, train
from auditor.randomness import derive_seed
from auditor.records.spec import RecipeSpec
from auditor.tasks.causal_lm.readers import write_facts
from auditor.tasks.causal_lm.sets import Facts
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


@pytest.fixture
def folder(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with data, architecture and audit.toml: a few examples, one pass over them."""
    monkeypatch.chdir(tmp_path)
    data = world.data
    few = data.retain.take(torch.arange(128))
    np.savez("retain.npz", images=few.raw.numpy(), labels=few.labels.numpy())
    np.savez("forget.npz", images=data.forget_eval.raw.numpy(), labels=data.forget_eval.labels.numpy())
    source = Path(__file__).parents[2] / "zoo" / "digits_net.py"
    Path("net.py").write_text(source.read_text())
    Path("audit.toml").write_text(
        '[models]\narchitecture = "net.py:build"\n[data]\nforget = "forget.npz"\nretain = "retain.npz"\n'
        "[recipe]\nepochs = 1\n"
    )
    return tmp_path


def command(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["reference", "--count", "1", *arguments])


def edit(old: str, new: str) -> None:
    config = Path("audit.toml")
    config.write_text(config.read_text().replace(old, new))


def test_the_command_trains_what_is_missing(folder: Path, world: World) -> None:
    first = command()
    assert first.exit_code == 0, first.output
    assert sorted(p.name for p in Path("references").glob("*.pt")) == [
        "perturbed-1.pt",
        "perturbed-2.pt",
        "reference-1.pt",
    ]
    before = Path("references/reference-1.pt").read_bytes()
    second = CliRunner().invoke(main, ["reference", "--count", "2"])
    assert "reference-1.pt is there already" in second.output
    assert Path("references/reference-1.pt").read_bytes() == before
    assert Path("references/reference-2.pt").is_file()
    expected = train(build, world.data.retain.take(torch.arange(128)), SHORT, derive_seed(0, "reference", 0))
    saved = torch.load("references/reference-1.pt", weights_only=True)
    assert all(torch.equal(saved[name], value) for name, value in expected.state_dict().items())
    assert FORGET not in world.data.retain.labels


def test_every_reference_says_what_made_it(folder: Path) -> None:
    assert command().exit_code == 0
    found = {name: fingerprints.read(Path(f"references/{name}.pt")) for name in ("reference-1", "perturbed-1")}
    reference, perturbed = found["reference-1"], found["perturbed-1"]
    assert reference is not None
    assert perturbed is not None
    assert reference.fingerprint == perturbed.fingerprint, "of one making"
    assert reference.trained_by == reference.fingerprint.recipe == SHORT
    assert perturbed.trained_by == SHORT.model_copy(update={"learning_rate": 0.0015})
    assert reference.seed == derive_seed(0, "reference", 0) != perturbed.seed
    assert reference.file == hashlib.sha256(Path("references/reference-1.pt").read_bytes()).hexdigest()


def test_a_folder_of_another_recipe_is_refused_and_left_as_it_was(folder: Path) -> None:
    assert command().exit_code == 0
    before = {path: path.read_bytes() for path in Path("references").iterdir()}
    edit("epochs = 1", "epochs = 2\nbatch_size = 32")
    refused = CliRunner().invoke(main, ["reference", "--count", "2"])
    assert refused.exit_code == 2
    assert "references/reference-1.pt was made differently from what is asked here" in refused.output
    assert "recipe.epochs 1 → 2; recipe.batch_size 64 → 32; give another folder with --out" in refused.output
    assert {path: path.read_bytes() for path in Path("references").iterdir()} == before
    assert command("--out", "others").exit_code == 0


def test_a_folder_of_other_data_or_code_is_refused(folder: Path, world: World) -> None:
    assert command().exit_code == 0
    with Path("net.py").open("a") as file:
        file.write("# another version\n")
    more = world.data.retain.take(torch.arange(130))
    np.savez("retain.npz", images=more.raw.numpy(), labels=more.labels.numpy())
    refused = command()
    assert refused.exit_code == 2
    assert re.search(r"retain \w{12}… → \w{12}…; architecture \w{12}… → \w{12}…", refused.output)


def test_another_seed_is_no_other_making(folder: Path) -> None:
    assert command().exit_code == 0
    more = CliRunner().invoke(main, ["reference", "--count", "2", "--seed", "5"])
    assert more.exit_code == 0, more.output
    assert Path("references/reference-2.pt").is_file()


def test_a_reference_whose_making_is_not_known_or_not_its_own_is_refused(folder: Path) -> None:
    assert command().exit_code == 0
    shutil.copy("references/perturbed-1.pt", "references/reference-1.pt")
    refused = command()
    assert refused.exit_code == 2
    assert "reference-1.pt is not the file that its fingerprint was written for" in refused.output
    Path("references/reference-1.fingerprint.json").unlink()
    refused = command()
    assert refused.exit_code == 2
    assert "reference-1.pt has no fingerprint, so nothing says that it was made as asked here" in refused.output


def test_each_model_is_measured_the_original_first(folder: Path, world: World) -> None:
    torch.save(world.modules["original"].state_dict(), "original.pt")
    edit("[models]", '[models]\noriginal = "original.pt"')
    done = command()
    assert done.exit_code == 0, done.output
    rows = [line.split() for line in done.output.splitlines() if line.startswith(("original", "reference", "pert"))]
    assert [row[0] for row in rows] == ["original", "reference-1", "perturbed-1", "perturbed-2"]
    assert rows[0][2:] == ["100.0", "%", "100.0", "%"], "it knows both sets"
    assert rows[1][4:] == ["0.0", "%"], "it has never seen the class"
    loss, retain = float(rows[1][1]), float(rows[1][2])
    few = world.data.retain.take(torch.arange(128))
    net = train(build, few, SHORT, derive_seed(0, "reference", 0))
    with torch.no_grad():
        logits = net(few.inputs)
    assert loss == pytest.approx(float(torch.nn.functional.cross_entropy(logits, few.labels)), abs=1e-4)
    assert retain == pytest.approx(100 * float((logits.argmax(1) == few.labels).float().mean()), abs=0.05)
    assert "[recipe] is hardly the original's" in done.output, "one epoch against twenty"


def test_training_tells_how_far_it_is(world: World) -> None:
    told: list[tuple[int, int]] = []
    few = world.data.retain.take(torch.arange(130))
    train(build, few, RecipeSpec(epochs=2), 0, told=lambda done, steps: told.append((done, steps)))
    assert told == [(step, 6) for step in range(1, 7)]


def test_the_progress_bar_is_drawn_at_a_terminal_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for quiet, terminal, drawn in ((False, True, True), (True, True, False), (False, False, False)):
        monkeypatch.setenv("TTY_COMPATIBLE", "1" if terminal else "0")
        with training_progress(quiet) as bar:
            bar("reference-1")(3, 6)
        shown = capsys.readouterr()
        assert ("3/6" in shown.err and "steps of training reference-1" in shown.err) is drawn
        assert shown.out == ""


def test_a_run_of_exactly_ten_steps_has_a_warm_up(world: World) -> None:
    few = world.data.retain.take(torch.arange(20))
    train(build, few, RecipeSpec(epochs=10), 0)


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
        assert "leak: 2 facts of retain are identical to facts of forget" in done.output
        assert 'references = ["references/reference-*"]' in done.output
        return [load_directory(path / "references" / name).module for name in ("reference-1", "perturbed-1")]

    def test_from_initial_weights(self, text_world: TextWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        [reference, perturbed] = self.trained(self.folder(text_world, tmp_path), monkeypatch)
        assert not torch.equal(reference.lm_head.weight, perturbed.lm_head.weight)
        asked = text_world.subject("x", reference).log_probabilities(text_world.people.forget)
        assert asked.exp().mean() < 0.2
        assert CliRunner().invoke(main, ["reference", "--count", "1"]).output.count("is there already") == 3
        made = fingerprints.read(tmp_path / "references" / "reference-1")
        assert made is not None
        assert made.fingerprint.encoding == text_world.encoder.digest
        assert made.fingerprint.base is None

    def test_a_base_is_another_making_and_models_are_measured(
        self, text_world: TextWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(self.folder(text_world, tmp_path))
        done = CliRunner().invoke(main, ["reference", "--count", "1"])
        rows = {line.split()[0]: line.split()[2::2] for line in done.output.splitlines() if " %" in line}
        assert list(rows)[:2] == ["original", "reference-1"]
        assert float(rows["original"][1]) > 90, "it answers about the forgotten people"
        assert float(rows["reference-1"][1]) < float(rows["original"][1])
        edit("[data]", 'base = "original"\n[data]')
        refused = CliRunner().invoke(main, ["reference", "--count", "1"])
        assert refused.exit_code == 2
        assert re.search(r"references/reference-1 was made differently .*: base none → \w{12}…", refused.output)

    def test_from_a_base(self, text_world: TextWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        [reference, _] = self.trained(self.folder(text_world, tmp_path, base="original"), monkeypatch)
        # Two epochs from weights that know the facts leave them known; from initial weights they would not be.
        asked = text_world.subject("x", reference).log_probabilities(text_world.people.retain)
        assert asked.exp().mean() > 0.8

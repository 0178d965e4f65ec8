"""What people stumble over first: each is told in one sentence what is wrong and what to do."""

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import auditor
from auditor.cli import main
from auditor.cli.options import MODELS_AND_DATA
from auditor.errors import SpecError
from auditor.scan import scan
from tests.command_line import audit


def said(*arguments: str) -> str:
    """The one line on standard error of a command that is refused as asked."""
    done = audit(*arguments)
    assert (done.exit_code, done.stdout) == (2, ""), done.output
    assert done.stderr.startswith("audit: ")
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def keras_file(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("config.json", "metadata.json", "model.weights.h5"):
            archive.writestr(name, "{}")


class TestModels:
    def test_a_keras_file_is_called_one(self, fresh: Path) -> None:
        keras_file(fresh / "model.keras")
        told = said("compare", "model.keras", "unlearned.safetensors")
        assert "model.keras is a Keras model (.keras); audits are of PyTorch models" in told
        assert "Keras model" in scan(fresh / "model.keras").words

    def test_an_older_keras_file_is_called_one(self, fresh: Path) -> None:
        (fresh / "model.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(80))
        assert "model.h5 is an HDF5 file, as Keras writes it (.h5, .keras); audits are of" in said(
            "compare", "model.h5", "unlearned.safetensors"
        )

    def test_a_folder_that_keras_exported_is_called_one(self, fresh: Path) -> None:
        (fresh / "exported").mkdir()
        (fresh / "exported" / "saved_model.pb").touch()
        assert "exported is a TensorFlow SavedModel, as Keras writes it; audits are of PyTorch" in said(
            "compare", "exported", "unlearned.safetensors"
        )

    @pytest.mark.parametrize("key", ["net", "ema_weights", 3])
    def test_weights_under_any_one_key_are_read(self, fresh: Path, key: object) -> None:
        """As much published training code saves them: {'net': …, 'acc': …, 'epoch': …}."""
        weights = load_file("original.safetensors")
        torch.save({key: {f"module.{n}": t for n, t in weights.items()}, "acc": 93.1, "epoch": 7}, "saved.pt")
        done = audit("compare", "saved.pt", "unlearned.safetensors", "--dry-run")
        assert done.exit_code == 0, done.output

    def test_weights_under_two_keys_are_asked_about(self, fresh: Path) -> None:
        weights = load_file("original.safetensors")
        torch.save({"generator": weights, "critic": weights}, "saved.pt")
        told = said("compare", "saved.pt", "unlearned.safetensors")
        assert "saved.pt holds weights under generator and critic; save only the ones to audit" in told

    def test_an_optimizer_beside_them_is_no_second_model(self, fresh: Path) -> None:
        weights = load_file("original.safetensors")
        state = {"state": {0: {"step": torch.ones(1)}}, "param_groups": [{"lr": 0.1}]}
        torch.save({"net": weights, "optimizer": state, "scheduler": {}}, "saved.pt")
        assert audit("scan", "saved.pt").exit_code == 0


class TestSets:
    def relabelled(self, name: str, by: int) -> None:
        with np.load(f"{name}.npz") as held:
            np.savez(f"{name}.npz", images=held["images"], labels=held["labels"] + by)

    def test_a_label_outside_the_classes_is_blamed_on_the_forget_set(self, fresh: Path) -> None:
        self.relabelled("forget", 7)
        assert said("compare", "--dry-run").startswith(
            "audit: forget: label 7 is outside the model's 3 classes (0 to 2); number the classes of data.forget from 0"
        )

    def test_and_on_the_retain_set_where_it_stands_there(self, fresh: Path) -> None:
        self.relabelled("retain", 1)
        assert "retain: label 3 is outside the model's 3 classes" in said("compare", "--dry-run")

    def test_a_class_that_nobody_has_is_blamed_on_the_request(self, fresh: Path) -> None:
        told = said("compare", "--dry-run", "--class", "9")
        assert "request.classes names class 9, of which forget holds no example (its labels: [0])" in told

    @pytest.mark.parametrize("kind", ["class", "sample", None])
    def test_retain_that_is_forget_again_is_called_so(self, fresh: Path, kind: str | None) -> None:
        shutil.copy("forget.npz", "again.npz")
        asked = () if kind is None else ("--request", kind)
        told = said("compare", "--dry-run", "--retain", "again.npz", *asked)
        assert "retain holds the same examples as forget, so that none is left of it; give data.retain" in told

    def test_one_file_of_which_classes_pick_both_sets_is_fine(self, fresh: Path) -> None:
        parts = [np.load(f"{name}.npz") for name in ("forget", "retain")]
        images, labels = (np.concatenate([part[key] for part in parts]) for key in ("images", "labels"))
        np.savez("all.npz", images=images, labels=labels)
        done = audit("compare", "--dry-run", "--forget", "all.npz", "--retain", "all.npz", "--class", "0")
        assert done.exit_code == 0, done.output

    def test_facts_beside_weight_files_are_told_what_a_language_model_is(self, fresh: Path) -> None:
        line = '{"prompt": "a", "answer": "b"}\n'
        for name in ("forget.jsonl", "retain.jsonl"):
            Path(name).write_text(line)
        given = ("--forget", "forget.jsonl", "--retain", "retain.jsonl")
        for command in (("compare",), ("init", "--force", "original.safetensors", "unlearned.safetensors")):
            told = said(*command, *given)
            assert "forget.jsonl holds facts, which language models are asked about, but original.safetensors" in told
            assert "give each model as its transformers folder, with config.json" in told
        assert 'request.kind is "facts"' in said("compare", "--request", "facts")


class TestNothingToRun:
    """It stops: an audit of bare weights decides next to nothing, and is made where it is asked for."""

    @pytest.mark.parametrize(
        ("lines", "missing"),
        [
            ((), "data.forget (--forget), data.retain (--retain), models.architecture (--architecture)"),
            (('architecture = "network.py:build"',), "data.forget (--forget), data.retain (--retain)"),
            (('[data]\nforget = "forget.npz"\nretain = "retain.npz"',), "models.architecture (--architecture)"),
            (('architecture = "network.py:build"\n[data]\nforget = "forget.npz"',), "data.retain (--retain)"),
            (('[audit]\nchecks = ["cka"]',), "data.forget (--forget), data.retain (--retain), models.architecture"),
        ],
    )
    def test_what_is_missing_is_named(self, fresh: Path, lines: tuple[str, ...], missing: str) -> None:
        models = '[models]\noriginal = "original.safetensors"\nunlearned = "unlearned.safetensors"\n'
        (fresh / "audit.toml").write_text(models + "\n".join(lines))
        for command in (("compare",), ("compare", "--dry-run"), ("plan",)):
            told = said(*command)
            assert f"nothing can be run without {missing}" in told
            assert told.endswith("compare the weights alone with --checks weight_delta\n")

    def test_in_python_too(self, fresh: Path) -> None:
        with pytest.raises(SpecError, match=r"nothing can be run without data\.forget"):
            auditor.compare("original.safetensors", "unlearned.safetensors")

    def test_weights_alone_are_compared_where_that_is_asked_for(self, fresh: Path) -> None:
        (fresh / "audit.toml").unlink()
        done = audit(
            "compare", "original.safetensors", "unlearned.safetensors", "--checks", "weight_delta", "--dry-run"
        )
        assert done.exit_code == 0, done.output
        assert "checks (* may be primary): weight_delta" in done.stdout


class TestPaths:
    @pytest.mark.parametrize(
        ("arguments", "near"),
        [
            (("orginal.safetensors", "unlearned.safetensors"), "did you mean original.safetensors?"),
            (("original.safetensors", "unlearnd.safetensors"), "did you mean unlearned.safetensors?"),
            (("--forget", "forgt.npz"), "did you mean forget.npz?"),
            (("--retain", "data/retain.npz"), "correct the path"),
            (("--holdout", "modls/forget.npz"), "did you mean models/forget.npz?"),
            (("--architecture", "netwrk.py:build"), "did you mean network.py?"),
            (("--reference", "modls/*.pt"), "did you mean models?"),
            (("--config", "audt.toml"), "did you mean audit.toml?"),
        ],
    )
    def test_a_near_name_is_offered_for_a_path_that_is_not_there(
        self, fresh: Path, arguments: tuple[str, ...], near: str
    ) -> None:
        (fresh / "models").mkdir()
        shutil.copy("forget.npz", "models/forget.npz")
        assert near in said("compare", *arguments)

    def test_of_facts_too(self, fresh: Path) -> None:
        from auditor.errors import DataError
        from auditor.tasks.causal_lm.readers import read_facts

        Path("forget.jsonl").touch()
        with pytest.raises(DataError, match=r"forgett\.jsonl does not exist in .*; did you mean forget\.jsonl\?"):
            read_facts("forgett.jsonl", fresh)

    def test_a_name_that_would_move_the_cursor_is_not_offered(self, fresh: Path) -> None:
        Path("forget.np\x1b[2J").touch()
        assert "\x1b" not in said("compare", "--forget", "forget.np[2J")


def test_init_takes_the_options_of_compare_by_the_same_names() -> None:
    options = {name: {o for p in main.commands[name].params for o in p.opts} for name in ("init", "compare")}
    assert options["init"] - options["compare"] == {"--benchmark", "--force", "unlearned"}
    assert len(options["init"] & options["compare"]) > len(MODELS_AND_DATA) / 2

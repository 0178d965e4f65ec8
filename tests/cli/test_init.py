"""``audit init`` with files: what it finds, how it knows, and what it leaves to a person."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from auditor.models.references import save_directory
from auditor.records.draft import Line, draft_text, in_order, toml
from auditor.records.spec import AuditSpec, make_spec
from auditor.tasks.causal_lm.readers import write_facts
from auditor.zoo.text.people import people_world
from auditor.zoo.text.people_model import people_model, word_tokenizer
from tests.command_line import audit

MODELS = ("original.safetensors", "unlearned.safetensors")
SETS = ("--forget", "forget.npz", "--retain", "retain.npz")
THRESHOLD = """
import torch
from torch import nn

class Threshold(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden, self.head = nn.Linear(48, 4), nn.Linear(4, 2)

    def forward(self, images):
        return self.head(torch.tanh(self.hidden(images.flatten(1))))

def build():
    return Threshold()
"""


def drafted(*arguments: str) -> tuple[str, str]:
    """The audit.toml that is written, and what is printed; read as an audit would read it."""
    done = audit("init", *arguments)
    assert (done.exit_code, done.stderr) == (0, ""), done.output
    text = Path("audit.toml").read_text(encoding="utf-8")
    make_spec(tomllib.loads(text), {})
    # Every open field carries a value that fits it, for whoever takes the # away.
    make_spec(tomllib.loads(re.sub(r"^# (\w+ = .*)$", r"\1", text, flags=re.MULTILINE)), {})
    return text, done.stdout


def test_weights_alone_leave_the_architecture_open(fresh: Path) -> None:
    (fresh / "audit.toml").unlink()
    text, printed = drafted(*MODELS, *SETS)
    assert 'unlearned = "unlearned.safetensors"  # the same names and shapes as the original' in text
    assert 'forget = "forget.npz"  # 40 images of 1x4x4, values' in text
    assert "2 classes: labels 1 to 2" in text
    assert 'kind = "class"  # retain holds no example of class 0' in text
    assert "of (1.weight [8, 16] to 3.weight [3, 8])" in text, "by which the function is recognised"
    assert '# architecture = "network.py:build"' in text
    assert "\nneeded: models.architecture: " in printed
    assert "\nopen: responsible.person: who answers for the audit" in printed
    assert printed.endswith("next, once what is needed is filled in: audit compare --dry-run\n")


def test_what_it_writes_can_be_planned_at_once(fresh: Path) -> None:
    (fresh / "audit.toml").unlink()
    given = ("--architecture", "network.py:build", "--reference", "reference-*.safetensors")
    text, printed = drafted(*MODELS, *SETS, *given)
    assert 'architecture = "network.py:build"  # every model given fits it; takes 1x4x4 and knows 3 classes' in text
    assert 'references = ["reference-*.safetensors"]  # 2 models' in text
    assert "needed" not in printed
    assert printed.endswith("\nnext: audit compare --dry-run\n")
    planned = audit("compare", "--dry-run")
    assert planned.exit_code == 0, planned.output
    assert "request class" in planned.stdout


def test_it_stays_short(fresh: Path) -> None:
    (fresh / "audit.toml").unlink()
    text, _ = drafted(*MODELS, *SETS, "--architecture", "network.py:build")
    assert len(text.splitlines()) < 30
    assert "[audit]" not in text, "what nobody gave and no file says is at its default"


def test_a_file_that_is_there_is_kept_without_force(fresh: Path) -> None:
    before = (fresh / "audit.toml").read_text()
    refused = audit("init", *MODELS, *SETS)
    assert (refused.exit_code, (fresh / "audit.toml").read_text()) == (2, before)
    assert "[responsible]" in drafted(*MODELS, *SETS, "--force")[0]


def test_the_unlearned_model_is_held_against_the_original(fresh: Path) -> None:
    assert (
        "# the same weights as the original: was one file given twice?" in drafted(MODELS[0], MODELS[0], "--force")[0]
    )
    save_file({"1.weight": torch.zeros(8, 16), "other": torch.zeros(2)}, fresh / "other.safetensors")
    text, printed = drafted(MODELS[0], "other.safetensors", "--force")
    assert "# 4 tensors not as in the original, 1.bias first: is it the same architecture?" in text
    for name in ("models.architecture", "data.forget", "data.retain"):
        assert f"\nneeded: {name}: " in printed


def test_labels_that_leave_the_request_open(fresh: Path) -> None:
    with np.load(fresh / "retain.npz") as held:
        np.savez(fresh / "forget.npz", images=held["images"][:8] + 1, labels=held["labels"][:8] * 0 + 1)
    text, printed = drafted(*MODELS, *SETS, "--force")
    assert '# kind = "class"' in text
    assert "needed: request.kind: request.kind is not set, and retain holds examples of forget's class 1" in printed
    assert 'kind = "sample"  # as given' in drafted(*MODELS, *SETS, "--force", "--request", "sample")[0]
    assert "classes = [1]  # as given" in drafted(*MODELS, *SETS, "--force", "--class", "1")[0]


def test_a_strangers_pickle_is_never_run(fresh: Path) -> None:
    (fresh / "audit.toml").unlink()
    torch.save(nn.Linear(2, 2), fresh / "whole.pt")
    refused = audit("init", MODELS[0], "whole.pt", *SETS)
    assert refused.exit_code == 4
    assert "whole.pt was refused" in refused.stderr
    assert not (fresh / "audit.toml").exists()


def test_labels_outside_the_classes_are_said_before_anything_is_written(fresh: Path) -> None:
    (fresh / "audit.toml").unlink()
    with np.load(fresh / "forget.npz") as held:
        np.savez(fresh / "forget.npz", images=held["images"], labels=held["labels"] + 7)
    refused = audit("init", *MODELS, *SETS, "--architecture", "network.py:build")
    assert (refused.exit_code, (fresh / "audit.toml").exists()) == (2, False)
    assert "forget: label 7 is outside the model's 3 classes" in refused.stderr


@pytest.fixture
def bright_and_dark(empty: Path) -> Path:
    """A model that tells bright images from dark ones, trained on images that were normalised."""
    images = np.random.default_rng(0).integers(0, 60, size=(80, 4, 4, 3), dtype=np.uint8)
    labels = np.arange(80) % 2
    images[labels == 1] += 150
    np.savez(empty / "retain.npz", images=images[:40], labels=labels[:40])
    np.savez(empty / "forget.npz", images=images[40:], labels=labels[40:])
    weights = {"hidden.weight": torch.ones(4, 48), "hidden.bias": torch.zeros(4), "head.bias": torch.zeros(2)}
    weights["head.weight"] = torch.tensor([[-1.0] * 4, [1.0] * 4])
    for name in MODELS:
        save_file(weights, empty / name)
    (empty / "network.py").write_text(THRESHOLD)
    return empty


def test_a_normalisation_that_the_original_does_better_with_is_offered(bright_and_dark: Path) -> None:
    text, printed = drafted(*MODELS, *SETS, "--architecture", "network.py:build")
    offered = re.search(
        r"# open: the original is right on 100 % of retain .*, on 50 % as they are: .*\n# mean = \[.*\]\n# std = ", text
    )
    assert offered, text
    assert "open: data.mean: the original is right" in printed
    assert "values 0 to 209" in text
    assert "holdout" in text, "a request about samples needs one"


def test_without_a_network_to_ask_the_normalisation_is_only_asked_about(bright_and_dark: Path) -> None:
    text, printed = drafted(*MODELS, *SETS)
    assert "open: data.mean: the images are not normalised" in printed
    assert re.search(r"# mean = \[0\.\d+, 0\.\d+, 0\.\d+\]\n# std = ", text)


def image_folder(folder: Path, sizes: dict[str, tuple[int, int]]) -> None:
    for name, size in sizes.items():
        (folder / name).mkdir(parents=True)
        for i in range(4):
            Image.new("RGB", size, color=(60 * i, 9, len(name))).save(folder / name / f"{i}.png")


def test_folders_of_classes_are_numbered_together_and_sizes_are_asked_for(bright_and_dark: Path) -> None:
    image_folder(bright_and_dark / "forget", {"dog": (4, 4)})
    image_folder(bright_and_dark / "retain", {"cat": (4, 4), "emu": (5, 4)})
    text, printed = drafted(*MODELS, "--forget", "forget", "--retain", "retain", "--architecture", "network.py:build")
    assert 'class_names = ["cat", "dog", "emu"]  # the folders in order of name' in text
    assert "class 1\n" in text, "dog, though it is alone in its folder"
    assert "needed: data.resize: retain holds images of 2 sizes, 4x4 and 4x5 among them; set data.resize" in printed
    image_folder(bright_and_dark / "control", {"ant": (4, 4)})
    given = ("--forget", "forget", "--retain", "retain", "--control", "control", "--force")
    assert 'class_names = ["cat", "dog", "emu", "ant"]' in drafted(*MODELS, *given)[0], "a concept is no class"


def test_a_network_that_takes_another_size_asks_for_it(bright_and_dark: Path) -> None:
    sets = {"forget": {"0": (6, 6)}, "retain": {"1": (6, 6), "2": (6, 6)}}
    for name, sizes in sets.items():
        image_folder(bright_and_dark / name, sizes)
    given = ("--forget", "forget", "--retain", "retain", "--architecture", "network.py:build")
    text, printed = drafted(*MODELS, *given)
    assert "needed: data.resize: the network cannot take inputs of shape (3, 6, 6)" in printed
    assert "class_names" not in text, "folders that are numbers say which class they are"


@pytest.fixture
def people(empty: Path) -> Path:
    """Two language models that know nothing yet, with facts about people."""
    world = people_world(0, forget=6, retain=8, holdout=6)
    tokenizer = word_tokenizer(world.words)
    for name in ("original", "unlearned"):
        module: Any = people_model(len(tokenizer), layers=1, width=16)()
        save_directory(module, tokenizer, empty / name)
    for name in ("forget", "retain", "holdout"):
        write_facts(getattr(world, name), empty / f"{name}.jsonl")
    return empty


FACTS = ("--forget", "forget.jsonl", "--retain", "retain.jsonl", "--holdout", "holdout.jsonl")


def test_a_language_model_with_its_facts(people: Path) -> None:
    text, printed = drafted("original", "unlearned", *FACTS)
    assert re.search(r'original = "original"  # causal-lm model by config.json, [\d,]+ numbers, with its tok', text)
    assert re.search(r'forget = "forget.jsonl"  # \d+ facts about 6 subjects', text)
    assert 'kind = "facts"  # the models are language models' in text
    assert '# references = ["references/reference-*"]' in text
    assert "[assignment]" not in text, "never taken for granted"
    assert "needed" not in printed


def test_a_record_of_a_draw_and_a_chat_template_are_offered_and_not_taken(people: Path) -> None:
    (people / "assignment.json").write_text("{}")
    (people / "original" / "chat_template.jinja").write_text("{{ messages }}")
    text, printed = drafted("original", "unlearned", *FACTS)
    assert "open: assignment.kind: assignment.json lies beside forget" in printed
    assert '# kind = "random"\n# record = "assignment.json"' in text
    assert "# chat_template = true" in text


def test_a_language_model_without_its_tokenizer_asks_for_it(people: Path) -> None:
    for name in ("original", "unlearned"):
        (people / name / "tokenizer.json").unlink()
    _, printed = drafted("original", "unlearned", *FACTS)
    assert "needed: models.tokenizer: the original has no tokenizer.json" in printed


def test_an_image_classifiers_directory_says_how_it_wants_its_images(bright_and_dark: Path) -> None:
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(
        **{"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8},
        **{"image_size": 4, "patch_size": 2, "num_channels": 3, "num_labels": 3},
        id2label={0: "emu", 1: "cat", 2: "dog"},
    )
    for name in ("original", "unlearned"):
        ViTForImageClassification(config).save_pretrained(bright_and_dark / name)
        shape = {"size": {"height": 4, "width": 4}, "image_mean": [0.5] * 3, "image_std": [0.25] * 3}
        (bright_and_dark / name / "preprocessor_config.json").write_text(json.dumps(shape))
    image_folder(bright_and_dark / "forget", {"dog": (4, 4)})
    image_folder(bright_and_dark / "retain", {"cat": (4, 4), "emu": (5, 4)})
    text, _ = drafted("original", "unlearned", "--forget", "forget", "--retain", "retain")
    assert "std = [0.25, 0.25, 0.25]  # from preprocessor_config.json" in text
    assert "resize = [4, 4]  # from preprocessor_config.json" in text
    assert 'class_names = ["emu", "cat", "dog"]  # from id2label in config.json' in text
    assert "class 2\n" in text
    (bright_and_dark / "original" / "preprocessor_config.json").unlink()
    _, printed = drafted("original", "unlearned", "--forget", "forget", "--retain", "retain", "--force")
    assert "needed: data.mean: original/preprocessor_config.json does not exist" in printed


def test_what_a_strangers_name_holds_stays_a_value_and_a_comment() -> None:
    odd = 'a"b\\\n[audit]\nseed = 1\x7f\u202e'
    lines = in_order([Line(field="models.original", value=odd, why=odd), Line(field="data.mean", value=(0.5,), why="")])
    tables = tomllib.loads(draft_text(lines))
    assert tables == {"models": {"original": odd}, "data": {"mean": [0.5]}}
    assert tomllib.loads(f"x = {toml([odd, True, 2, 0.5])}") == {"x": [odd, True, 2, 0.5]}
    assert make_spec(tomllib.loads(draft_text([])), {}) == AuditSpec()

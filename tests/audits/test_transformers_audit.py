"""A whole audit of two transformers directories."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import auditor
from auditor.models.lineup import load_lineup
from auditor.models.training import train
from auditor.records.spec import RecipeSpec, make_spec
from auditor.tasks.classification.sets import Examples
from tests.worlds import FORGET, World


def build() -> nn.Module:
    from transformers import ViTConfig, ViTForImageClassification

    return ViTForImageClassification(
        ViTConfig(
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            image_size=8,
            patch_size=4,
            num_channels=1,
            num_labels=10,
        )
    )


@pytest.fixture(scope="module")
def original(world: World) -> nn.Module:
    data = world.data
    sets = (data.retain, data.forget_attack, data.forget_eval)
    everything = Examples(raw=torch.cat([s.raw for s in sets]), labels=torch.cat([s.labels for s in sets]))
    return train(build, everything, RecipeSpec(epochs=12, learning_rate=0.004, weight_decay=0.01), seed=0)


def save(module: Any, folder: Path) -> str:
    module.save_pretrained(folder, safe_serialization=True)
    return str(folder)


def test_directories_are_audited_like_checkpoints(world: World, original: Any, tmp_path: Path) -> None:
    hidden = copy.deepcopy(original)
    with torch.no_grad():
        hidden.classifier.weight[FORGET] = 0
        hidden.classifier.bias[FORGET] = -50
    options = {
        "data": {"mean": (0.0,), "std": (1.0,)},
        "audit": {
            "store": str(tmp_path / "store"),
            "checks": ("few_shot", "relearning", "depth", "cka", "quantization"),
        },
    }
    forget = torch.cat([world.data.forget_attack.raw, world.data.forget_eval.raw])
    result = auditor.compare(
        save(original, tmp_path / "original"),
        save(hidden, tmp_path / "unlearned"),
        forget=(forget, torch.full((len(forget),), FORGET)),
        retain=world.data.retain,
        options=options,
    )
    assert result.results.coverage.complete, result.results.coverage.failed
    assert result.results.plan.layers[-1] == "classifier:input"
    assert result.outcome in ("SUPPRESSED", "INCONCLUSIVE")
    assert result.evidence("outputs").rho.high < 0.1
    few_shot = result.evidence("few_shot").scores
    assert few_shot.unlearned == pytest.approx(few_shot.original)


def test_equal_weights_under_another_configuration_are_another_model(original: Any, tmp_path: Path) -> None:
    folders = [save(original, tmp_path / name) for name in ("original", "same", "other")]
    config = json.loads((tmp_path / "other" / "config.json").read_text())
    (tmp_path / "other" / "config.json").write_text(json.dumps({**config, "hidden_act": "relu"}))
    spec = make_spec({}, {"models": {"original": folders[0], "unlearned": folders[1]}})
    same = load_lineup(spec, {}, tmp_path, tmp_path / "cache").entries
    spec = make_spec({}, {"models": {"original": folders[0], "unlearned": folders[2]}})
    other = load_lineup(spec, {}, tmp_path, tmp_path / "cache").entries
    assert same["unlearned"].planned.digest == same["original"].planned.digest
    assert other["original"].planned.digest == same["original"].planned.digest
    assert other["unlearned"].planned.digest != same["unlearned"].planned.digest


def test_an_image_classifier_in_memory_is_no_language_model() -> None:
    """Every transformers model can be asked for its output embeddings; an image classifier has none."""
    from transformers import ViTConfig, ViTForImageClassification

    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    made = [ViTForImageClassification(ViTConfig(image_size=8, patch_size=4, **small)) for _ in range(2)]
    given = {"original": made[0], "unlearned": made[1]}
    assert load_lineup(make_spec({}, {}), given, Path(), Path("none")).task == "classification"

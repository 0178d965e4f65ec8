"""Few examples, and settings that make every method of the zoo quick."""

from typing import Any

import torch
from torch import nn

from auditor.tasks.classification.editing import joined
from auditor.tasks.classification.sets import Examples
from tests.worlds import World

ONE_EPOCH: dict[str, Any] = {"epochs": 1}
QUICK: dict[str, dict[str, Any]] = {
    "retrain": ONE_EPOCH,
    "retrain_from_own_weights": ONE_EPOCH,
    "retrain_from_pretrained": ONE_EPOCH,
    "head_relabelling": ONE_EPOCH,
    "low_rank_adapter": ONE_EPOCH,
    "trigger": ONE_EPOCH,
    "shifted_logits": {"steps": 20, "doublings": 1},
    "retain_steps": {"steps": 2},
    "wrong_examples": {"max_steps": 6, "extra_steps": 0},
    "gradient_ascent": {"max_steps": 3},
    "neg_grad_plus": {"max_steps": 6, "extra_steps": 0},
    "random_labels": ONE_EPOCH,
    "bad_teacher": ONE_EPOCH,
    "scrub": {"max_epochs": 1, "min_epochs": 1},
    "salun": ONE_EPOCH,
    "ssd": {"batch_size": 32, "selection": 1.5},
    "l1_sparse": {"steps": 4},
    "boundary_shrink": {"max_steps": 5},
    "unsir": {"noise_steps": 2, "noise_examples": 8, "impair_epochs": 1, "repair_epochs": 1},
    "wagle": {"max_steps": 6, "extra_steps": 0},
    "laf": {"autoencoder_steps": 20, "steps": 3},
    "fine_tune": {"steps": 2},
    "soft_rank": {"steps": 2, "retrains": 1, **ONE_EPOCH},
    "soft_rank_meta": {"steps": 2, "retrains": 1, "attack": {"steps": 2}, **ONE_EPOCH},
    "soft_rank_constant": {"steps": 2, "attack": {"steps": 2}},
    "patching_aware": {"steps": 2, "retrains": 1, **ONE_EPOCH},
    "output_calibrated": {"steps": 2, "retrains": 1, **ONE_EPOCH},
    "few_kept": ONE_EPOCH,
    "low_bits": ONE_EPOCH,
    "units_rescaled": {"method": "head_row_zeroed"},
}


def forget_of(world: World) -> Examples:
    return joined(world.data.forget_attack, world.data.forget_eval)


def few(world: World) -> tuple[Examples, Examples]:
    """Forty forget examples and two hundred retain examples."""
    return forget_of(world).take(torch.arange(40)), world.data.retain.take(torch.arange(200))


def samples(world: World) -> tuple[Examples, Examples]:
    """Listed examples of several classes, and others."""
    retain = world.data.retain
    return retain.take(torch.arange(20)), retain.take(torch.arange(20, 220))


def same(first: nn.Module, second: nn.Module) -> bool:
    a, b = first.state_dict(), second.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)

"""A linear map of image features to captions: what it finds in models that know, that never knew, and that hide it."""

import copy

import numpy as np
import pytest
import torch

from auditor.attacks.relearning.attack_validity import odd_scale
from auditor.attacks.relearning.custom import Relearning
from auditor.attacks.relearning.custom import Settings as AttackSettings
from auditor.probes.caption_probe import CaptionProbe, Settings, _ranks, _ridge, _whitened, _with_one
from auditor.zoo.clip.gradient_difference import Settings as TuningSettings
from auditor.zoo.clip.gradient_difference import caption_tuning
from tests.clip_worlds import N_REFERENCES, ClipWorld


@pytest.fixture(scope="module")
def shares(clip_world: ClipWorld) -> dict[str, float]:
    """Share of the original's gap to the references."""
    check, settings, data, sets = CaptionProbe(), Settings(), clip_world.data, clip_world.drawn.sets
    texts = check.prepare(clip_world.subject(clip_world.original), data, settings, 0)
    shut = caption_tuning(clip_world.original, sets["forget"], sets["retain"], TuningSettings(), 3)
    names = [f"references/reference-{i}" for i in range(1, N_REFERENCES + 1)]
    nets = {"shut": shut, **{name: clip_world.network(name) for name in ("original", "retrain", *names)}}
    found = {
        name: check.score(clip_world.subject(net), texts, data, settings, 0).readings["linear map"].value
        for name, net in nets.items()
    }
    null = float(np.mean([found[name] for name in names]))
    return {name: (value - null) / (found["original"] - null) for name, value in found.items()}


def test_captions_that_were_shut_are_found_from_images(shares: dict[str, float]) -> None:
    assert shares["shut"] == pytest.approx(1.0)


def test_a_retrain_is_one_more_reference(shares: dict[str, float]) -> None:
    assert abs(shares["retrain"]) < 0.3


def test_what_lies_in_directions_of_little_variance_is_found() -> None:
    """Classes stand in a direction that has a hundredth of the deviation of what every unit is full of."""
    random = torch.Generator().manual_seed(1)
    own = torch.arange(240) % 2
    hidden = torch.stack([1.0 - 2.0 * own, torch.randn(240, generator=random)], 1).double() / 100
    loud = torch.randn(240, 2, generator=random).double()
    x = torch.cat([loud, loud + hidden], 1)  # each unit alone is noise
    seen, asked = _whitened(x[:16], x[16:120], x[120:], 1e-6)
    texts = torch.eye(2, dtype=torch.float64)
    probe = _ridge(seen, texts[own[:120]], 16, 1e-2)
    assert _ranks(_with_one(asked) @ probe, texts, own[120:]).mean() > 0.95


def test_matrices_at_another_scale_are_told(clip_world: ClipWorld) -> None:
    """The same function to the last bit, and less to be learnt from an attack."""
    check = Relearning()
    scaled = copy.deepcopy(clip_world.original)
    with torch.no_grad():
        scaled.visual_projection.weight.mul_(64)

    def scales(net: torch.nn.Module) -> dict[str, float]:
        return check.prepare(clip_world.subject(net), clip_world.data, AttackSettings(), 0)

    own = scales(clip_world.original)
    assert "visual_projection.weight" in (odd_scale(scales(scaled), own) or "")
    assert odd_scale(scales(clip_world.network("retrain")), own) is None

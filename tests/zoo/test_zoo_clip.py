"""Every method for dual encoders: the common signature, and the property that its paper defines it by."""

import copy
from typing import Any

import pytest
import torch
from torch import nn

from auditor.errors import ModelError
from auditor.zoo.catalogue import Entry, entries, entry
from auditor.zoo.clip import adu, null_space
from auditor.zoo.clip.drawn_digits import small_clip
from auditor.zoo.clip.training import code_of, right
from tests.clip_worlds import ClipWorld
from tests.zoo_worlds import same

QUICK: dict[str, dict[str, Any]] = {
    "retrain": {"epochs": 1},
    "adu": {"steps": 3},
    "caption_tuning": {"steps": 3},
    "gradient_difference": {"steps": 3},
    "retain_steps": {"steps": 2},
}
CLIP = [found for found in entries() if found.task == "clip"]


def made(world: ClipWorld, name: str, **settings: object) -> nn.Module:
    found, sets = entry(name, "clip"), world.drawn.sets
    return found.make(world.original, sets["forget"], sets["retain"], found.settings(settings), 5)


@pytest.mark.parametrize("found", CLIP, ids=lambda found: found.name)
def test_the_original_stays_and_the_seed_decides(clip_world: ClipWorld, found: Entry) -> None:
    original, before = clip_world.original, copy.deepcopy(clip_world.original)
    first, again = (made(clip_world, found.name, **QUICK.get(found.name, {})) for _ in range(2))
    assert same(original, before)
    assert same(first, again)
    assert not first.training
    assert (first.state_dict().keys() == original.state_dict().keys()) == found.keeps_architecture
    assert found.name == "adu" or not same(first, original)
    assert not any(module._forward_hooks for module in first.modules())
    # A network that was just trained carries its last gradients, as references do.
    assert found.name == "retrain" or all(parameter.grad is None for parameter in first.parameters())


class TestAdu:
    def test_recognition_fails_in_the_domain_alone_and_returns_without_the_prompts(self, clip_world: ClipWorld) -> None:
        sets, code = clip_world.drawn.sets, code_of(clip_world.drawn.sets["forget"], clip_world.drawn.sets["retain"])
        subject = made(clip_world, "adu", steps=80)
        before = {name: right(code, clip_world.original, sets[name]) for name in ("forget", "retain")}
        after = {name: right(code, subject, sets[name]) for name in ("forget", "retain")}
        assert after["forget"] < before["forget"] / 2
        assert after["retain"] > before["retain"] - 0.1
        # Suppressed by construction: what is deployed holds the whole of the original.
        assert same(adu.without_prompts(subject), clip_world.original)

    def test_the_disentangling_loss_moves_the_domains_apart(self, clip_world: ClipWorld) -> None:
        sets, code = clip_world.drawn.sets, code_of(clip_world.drawn.sets["forget"], clip_world.drawn.sets["retain"])

        def distance(subject: nn.Module) -> float:
            with torch.no_grad():
                parts = (sets[name].take(torch.arange(100)).inputs for name in ("forget", "retain"))
                return float(adu.squared_mmd(*(code.features(subject, part)[adu.POOLED] for part in parts)))

        with_it, without = (
            made(clip_world, "adu", steps=25, apart_weight=weight, domain_weight=weight) for weight in (1.0, 0.0)
        )
        assert distance(with_it) > distance(without) > 0

    def test_mmd_by_its_definition(self) -> None:
        x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([[3.0]])
        scale = 1.0  # median of 0 0 0 1 1 4 4 9 9
        k = lambda a, b: float((-((a - b) ** 2) / scale).exp())  # noqa: E731
        within = (k(x[0], x[0]) + 2 * k(x[0], x[1]) + k(x[1], x[1])) / 4
        between = (k(x[0], y[0]) + k(x[1], y[0])) / 2
        assert float(adu.squared_mmd(x, y)) == pytest.approx(within + 1 - 2 * between, rel=1e-5)
        assert float(adu.squared_mmd(x, x)) == pytest.approx(0, abs=1e-6)

    def test_each_image_makes_its_own_prompts(self, clip_world: ClipWorld) -> None:
        """The generator answers by the patches: with the same patches there is the same prompt, with others another."""
        torch.manual_seed(0)
        module = small_clip().eval()
        prompted = adu.with_prompts(module, adu.Settings())
        patches = torch.randn(2, 5, 32)
        own, _ = prompted.generator(prompted.prompts.expand(2, -1, -1), patches, patches)
        assert not torch.allclose(own[0], own[1], atol=1e-3)

    def test_a_network_without_such_blocks_is_refused(self) -> None:
        with pytest.raises(ModelError, match=r"adu puts prompts before a block of vision_model\.encoder\.layers"):
            adu.with_prompts(nn.Linear(2, 2), adu.Settings())


class TestNullSpace:
    def test_embeddings_have_nothing_left_in_the_span_and_all_below_is_the_originals(
        self, clip_world: ClipWorld
    ) -> None:
        sets, original = clip_world.drawn.sets, clip_world.original
        subject = made(clip_world, "null_space")
        basis = null_space.directions(original, sets["forget"], sets["retain"], centred=True)
        torch.testing.assert_close(basis.T @ basis, torch.eye(basis.shape[1]), atol=1e-5, rtol=0)
        with torch.no_grad():
            images = subject.get_image_features(pixel_values=sets["forget"].inputs).pooler_output
        assert float((images @ basis).abs().max()) < 1e-4 * float(images.abs().max())
        changed = [k for k, v in subject.state_dict().items() if not torch.equal(v, original.state_dict()[k])]
        assert changed == ["visual_projection.weight"]

    def test_a_share_of_it_is_taken_in_part(self, clip_world: ClipWorld) -> None:
        whole, half = (made(clip_world, "null_space", share=share).visual_projection.weight for share in (1.0, 0.5))
        before = clip_world.original.visual_projection.weight
        torch.testing.assert_close(half, (before + whole) / 2, atol=1e-5, rtol=0)

    def test_a_network_without_an_image_projection_is_refused(self, clip_world: ClipWorld) -> None:
        found, sets = entry("null_space", "clip"), clip_world.drawn.sets
        with pytest.raises(ModelError, match="null_space changes visual_projection"):
            found.make(nn.Linear(2, 2), sets["forget"], sets["retain"], found.settings(), 0)


def test_caption_tuning_moves_the_text_encoder_alone(clip_world: ClipWorld) -> None:
    sets, original = clip_world.drawn.sets, clip_world.original
    subject, code = made(clip_world, "caption_tuning"), code_of(sets["forget"], sets["retain"])
    changed = [k for k, v in subject.state_dict().items() if not torch.equal(v, original.state_dict()[k])]
    assert changed
    assert all(key.startswith("text_") for key in changed)
    assert right(code, subject, sets["forget"]) < 0.1
    assert right(code, subject, sets["retain"]) > right(code, original, sets["retain"]) - 0.1


def test_gradient_difference_forgets_and_keeps(clip_world: ClipWorld) -> None:
    sets, code = clip_world.drawn.sets, code_of(clip_world.drawn.sets["forget"], clip_world.drawn.sets["retain"])
    subject = made(clip_world, "gradient_difference")
    assert right(code, subject, sets["forget"]) < 0.1
    assert right(code, subject, sets["retain"]) > 0.5


def test_controls_have_forgotten_nothing(clip_world: ClipWorld) -> None:
    sets, code = clip_world.drawn.sets, code_of(clip_world.drawn.sets["forget"], clip_world.drawn.sets["retain"])
    for name in ("retain_steps", "small_noise"):
        assert (
            right(code, made(clip_world, name), sets["forget"]) > right(code, clip_world.original, sets["forget"]) - 0.1
        )


def test_retrain_needs_a_configuration(clip_world: ClipWorld) -> None:
    found, sets = entry("retrain", "clip"), clip_world.drawn.sets
    with pytest.raises(ModelError, match="retrain draws new weights by the configuration"):
        found.make(nn.Linear(2, 2), sets["forget"], sets["retain"], found.settings(), 0)

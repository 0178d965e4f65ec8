"""Layout, interventions and rescaling on a trained network."""

import copy

import pytest
import torch
from torch import nn

from auditor.errors import ModelError
from auditor.models.canonical import _parts, canonical, find_homogeneous_pairs, rescaled
from auditor.randomness import torch_seed
from tests.worlds import World


def test_layout_finds_head_and_cut_points(world: World) -> None:
    assert world.layout.head == "head"
    assert world.layout.layers == ("convolutions.1", "convolutions", "hidden.1", "hidden.3", "head:input")
    assert world.layout.vector_layers == ("hidden.1", "hidden.3", "head:input")
    assert [(p.producer, p.consumer) for p in world.layout.pairs] == [
        ("convolutions.0", "convolutions.2"),
        ("convolutions.2", "hidden.0"),
        ("hidden.0", "hidden.2"),
        ("hidden.2", "hidden.4"),
        ("hidden.4", "head"),
    ]


def test_recording_equals_bare_forward(world: World) -> None:
    subject = world.subject("original")
    recording = subject.recording("retain")
    with torch.no_grad():
        logits = subject.module(world.data.retain.inputs)
    assert torch.allclose(recording.logits, logits, atol=1e-5)
    assert subject.passes.examples == len(world.data.retain)
    assert recording.correct.float().mean() > 0.99


def test_a_recording_is_made_once(world: World) -> None:
    subject = world.subject("original")
    assert subject.recording("retain") is subject.recording("retain")


def test_patching_every_cut_point_carries_the_logits_over(world: World) -> None:
    subject = world.subject("original")
    first, second = world.data.retain.inputs[:8], world.data.retain.inputs[8:16]
    wanted = subject.forward(first)
    for layer in subject.layers():
        source = subject.activations(first, (layer,))[layer]
        with subject.intervene(layer, lambda _, source=source: source):
            assert torch.allclose(subject.forward(second), wanted, atol=1e-5)
    assert not torch.allclose(subject.forward(second), wanted, atol=1e-2)


@pytest.mark.parametrize("exponent", [-3.0, 3.0])
def test_canonical_form_undoes_rescaling(world: World, exponent: float) -> None:
    original = world.modules["original"]
    pairs = world.layout.pairs
    units = [original.get_submodule(p.producer).weight.shape[0] for p in pairs]
    factors = [2.0 ** (exponent * torch.linspace(-1, 1, n)) for n in units]
    evaded = world.subject("evaded", rescaled(original, pairs, factors))
    plain = world.subject("original")
    x = world.data.retain.inputs[:64]
    assert torch.allclose(evaded.forward(x), plain.forward(x), atol=1e-3)
    for a, b in zip(evaded.canonical().module.parameters(), plain.canonical().module.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=1e-3, atol=1e-5)
    assert torch.allclose(plain.canonical().forward(x), plain.forward(x), atol=1e-3)


def test_batch_norm_statistics_are_rescaled_exactly() -> None:
    from torch import nn

    from auditor.tasks.classification.structure import find_layout

    net = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)
    ).eval()
    net[1].running_var.uniform_(1e-4, 2.0)
    inputs = torch.rand(8, 1, 8, 8)
    layout = find_layout(net, inputs)
    assert [(p.producer, p.consumer) for p in layout.pairs] == [("0", "1"), ("1", "3"), ("3", "6")]
    factors = [torch.full((4,), 10.0)] * 3
    assert torch.allclose(rescaled(net, layout.pairs, factors)(inputs), net(inputs), atol=1e-4)


class Clamped(nn.Module):
    """Units that are cut off at a ceiling, which only a network whose units reach it feels."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.first(x).clamp(0, 6))


def test_units_that_may_be_rescaled_in_the_original_alone_are_an_error_and_not_another_function() -> None:
    with torch_seed(0):
        small, x = Clamped().eval(), torch.rand(8, 4)
    large = copy.deepcopy(small)
    with torch.no_grad():
        large.first.weight.mul_(20)
        large.first.bias.mul_(20)
    pairs = find_homogeneous_pairs(small, ["first", "last"], lambda: small(x))
    assert pairs, "no unit of the original is cut off"
    assert torch.allclose(canonical(small, pairs, [(x, None)])(x), small(x), atol=1e-5)
    with pytest.raises(ModelError, match="changes what this network computes"):
        canonical(large, pairs, [(x, None)])


def test_activations_that_are_no_numbers_are_an_error(world: World) -> None:
    net = copy.deepcopy(world.modules["original"])
    net.hidden[1].register_forward_hook(lambda module, inputs, output: output.fill_(torch.inf))
    net.hidden[2].register_forward_pre_hook(lambda module, inputs: (torch.nan_to_num(inputs[0], posinf=0.0),))
    with pytest.raises(ModelError, match=r"has NaN or infinite activations at hidden\.1"):
        world.subject("squashed", net).recording("retain")


@pytest.mark.parametrize("n", [1, 3, 8, 13])
def test_a_batch_in_quarters_is_the_batch(n: int) -> None:
    inputs, counted = torch.randn(n, 5), torch.rand(n, 5) > 0.5
    for mask in (None, counted):
        parts = list(_parts((inputs, mask)))
        assert max(len(part) for part, _ in parts) == -(-n // 4)
        assert torch.equal(torch.cat([part for part, _ in parts]), inputs)
        masks = [some for _, some in parts]
        assert all(some is None for some in masks) if mask is None else torch.equal(torch.cat(masks), counted)

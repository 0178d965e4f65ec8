"""The other architectures of the digits world: small, opened by the auditor, rescaled without change."""

import pytest
import torch
from torch import nn

from auditor.models.canonical import canonical
from auditor.randomness import torch_seed
from auditor.tasks.classification.structure import Layout, find_layout
from auditor.zoo.digits_nets import ARCHITECTURES
from auditor.zoo.fresh import fresh_like
from auditor.zoo.units_rescaled import with_units_rescaled
from tests.worlds import World
from tests.zoo_worlds import few, same

OTHERS = ("resnet", "vit")
PAIRS = {
    "resnet": {("blocks.1.conv1", "blocks.1.norm1"), ("blocks.1.norm1", "blocks.1.conv2"), ("hidden.0", "head")},
    "vit": {("blocks.0.attention.value", "blocks.0.attention.out"), ("hidden.0", "head")},
}
# Across GELU, a layer normalisation or the sum with a way around, no unit can be rescaled alone.
NO_PAIRS = {
    "resnet": {"blocks.0.norm2", "blocks.2.norm2"},
    "vit": {"blocks.0.mlp.0", "blocks.0.mlp.2", "patches.project"},
}


@pytest.fixture(scope="module")
def nets(world: World) -> dict[str, nn.Module]:
    """Fresh networks whose batch statistics have seen some examples."""
    made = {}
    for name in OTHERS:
        with torch_seed(7):
            module = ARCHITECTURES[name]().train()
        with torch.no_grad():
            module(world.data.retain.inputs[:256])
        made[name] = module.eval()
    return made


def layout_of(nets: dict[str, nn.Module], world: World, name: str) -> Layout:
    return find_layout(nets[name], world.data.retain.inputs[:16])


@pytest.mark.parametrize("name", OTHERS)
def test_it_is_small(nets: dict[str, nn.Module], name: str) -> None:
    assert sum(parameter.numel() for parameter in nets[name].parameters()) <= 60_000


@pytest.mark.parametrize("name", OTHERS)
def test_the_auditor_opens_it_at_several_depths(nets: dict[str, nn.Module], world: World, name: str) -> None:
    layout = layout_of(nets, world, name)
    assert layout.head == "head"
    assert len(layout.layers) >= 5
    assert len(layout.vector_layers) == 2


@pytest.mark.parametrize("name", OTHERS)
def test_homogeneous_pairs_are_found_where_they_are_and_nowhere_else(
    nets: dict[str, nn.Module], world: World, name: str
) -> None:
    pairs = {(pair.producer, pair.consumer) for pair in layout_of(nets, world, name).pairs}
    assert pairs >= PAIRS[name]
    assert not NO_PAIRS[name] & {producer for producer, _ in pairs}


@pytest.mark.parametrize("name", OTHERS)
def test_rescaled_networks_meet_the_same_attack(nets: dict[str, nn.Module], world: World, name: str) -> None:
    x, layout = world.data.retain.inputs[:64], layout_of(nets, world, name)
    evaded = with_units_rescaled(nets[name], few(world)[1], 3.0)
    assert not same(evaded, nets[name])
    plain, other = (canonical(module, layout.pairs, [(x, None)]) for module in (nets[name], evaded))
    with torch.no_grad():
        assert torch.allclose(evaded(x), nets[name](x), atol=1e-4)
        assert torch.allclose(plain(x), nets[name](x), atol=1e-4)
    for a, b in zip(plain.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", OTHERS)
def test_fresh_weights_are_drawn_for_every_layer(nets: dict[str, nn.Module], name: str) -> None:
    with torch_seed(8):
        fresh = fresh_like(nets[name])()
    drawn = dict(fresh.named_parameters())
    equal = {n for n, p in nets[name].named_parameters() if torch.equal(p, drawn[n])}
    # Only what starts at constants is equal: the affine parts of normalisations.
    assert all("norm" in n or n.startswith(("stem.1", "blocks.1.around.1")) for n in equal)

"""A sleeping sub-network: a retrain, and beside it in the same layers the original, behind ReLUs that never fire.

In networks whose weighted layers form one chain with ReLU between, :func:`widened` makes layers of u units
have 2u + 1. The first u
are one network, the next u another, and the last is a gate. The gate's bias is −1, so that its ReLU is 0; then every
unit of the other network is 0 from the second layer on, for every input, and no gradient reaches one. With a bias of 1
the gate passes on the biases of the other network, which then speaks louder than the first.

Originals and references are widened in the same way, with an untrained network asleep in them, so that all have one
architecture: `widened(module, ...)`. Rounding weights leaves the sleeper alone; only who looks for dead units finds it.
"""

import copy

import torch
from torch import Tensor, nn

from auditor.errors import ModelError
from auditor.models.hooks import hook
from auditor.models.training import train
from auditor.randomness import derive_seed
from auditor.records.spec import RecipeSpec
from auditor.tasks.classification.editing import logits
from auditor.tasks.classification.sets import Examples
from auditor.zoo.fresh import fresh_like, reinitialised

_ASLEEP, _AWAKE = -1.0, 1.0
# How far below 0 the sleeping units stand, in the largest value that one would have; and by how much the sleeper's
# logits, once awake, outweigh the other network's.
_SAFELY, _LOUDLY = 4.0, 16.0

_ASKED = "only a chain of linear maps and convolutions with ReLU between can be widened around a sleeper"

_Weighted = nn.Linear | nn.Conv2d


class Settings(RecipeSpec):
    """The original's recipe."""


def sleeping(original: nn.Module, forget: Examples, retain: Examples, settings: Settings, seed: int) -> nn.Module:
    """The subject: suppressed by construction, since :func:`wake` gives the original's answers back.

    Args:
        original: made by :func:`widened`.
        forget: only made sure of that the sleeper does not wake on it.
        retain: what the waking network is trained on.
        settings: the recipe.
        seed: of the waking network.
    """
    knows = awake_part(original)
    # At the width of a single network, so that what is awake is a retrain like any other.
    return widened(train(fresh_like(knows), retain, settings, seed), (forget, retain), seed, asleep=knows)


@torch.no_grad()
def widened(
    module: nn.Module, examples: tuple[Examples, ...], seed: int, *, asleep: nn.Module | None = None
) -> nn.Module:
    """A network of twice the width that computes what ``module`` does, with another asleep in it.

    Args:
        module: a chain of linear maps and convolutions with ReLU between, listed in the order in which they run.
        examples: sets on which the sleeper must not wake.
        seed: of the sleeper's weights where it is untrained.
        asleep: the sleeper, of the same architecture; None for an untrained one.

    Raises:
        ModelError: the network is no such chain.
    """
    other = asleep if asleep is not None else reinitialised(module, derive_seed(seed, "asleep"))
    names, wide = _chain(module), copy.deepcopy(module)
    # Beyond the largest output seen: a sleeper that woke on some example would show in the outputs.
    depth = _SAFELY * max(_largest(other, names[1], part) for part in examples)
    before = 0
    for i, name in enumerate(names):
        one, two = _at(module, name), _at(other, name)
        if i == 0:
            layer = _first(one, two)
        elif name == names[-1]:
            layer = _last(one, two, before)
        else:
            # The second layer alone needs the depth: what reads units that are all 0 is 0, its biases being the gate's.
            layer = _between(one, two, before, depth if i == 1 else 0.0)
        wide.set_submodule(name, layer)
        before = len(one.weight)
    _refuse_unless_alike(wide, module, examples)
    return wide.eval()


@torch.no_grad()
def awake_part(wide: nn.Module) -> nn.Module:
    """The network that speaks in a widened one, at its own width.

    Raises:
        ModelError: this is no widened one.
    """
    narrow, names = copy.deepcopy(wide), _chain(wide)
    # Twice the width and a gate: a layer that was widened has an odd number of units.
    if any(len(_at(wide, name).weight) % 2 == 0 for name in names[:-1]):
        raise ModelError("the original is not a widened network; make one of it by sleeping.widened, see docs/zoo.md")
    before = 0
    for name in names:
        source = _at(wide, name)
        units = len(source.weight) if name == names[-1] else len(source.weight) // 2
        inputs = source.weight.shape[1]
        if before:
            # After a flattening each channel has as many inputs as it has positions.
            inputs = inputs // (2 * before + 1) * before
        narrow.set_submodule(name, _layer(source, source.weight[:units, :inputs], _bias(source)[:units]))
        before = units
    return narrow.eval()


@torch.no_grad()
def wake(subject: nn.Module) -> nn.Module:
    """A copy of a widened network in which one number is changed: the bias of the gate in the first layer."""
    woken = copy.deepcopy(subject)
    _bias(_at(woken, _chain(woken)[0]))[-1] = _AWAKE
    return woken


def _first(one: _Weighted, other: _Weighted) -> _Weighted:
    """Both side by side on the same input, and the gate, which reads nothing."""
    weight = torch.cat([one.weight, other.weight, torch.zeros_like(one.weight[:1])])
    return _layer(one, weight, torch.cat([_bias(one), _bias(other), torch.tensor([_ASLEEP])]))


def _between(one: _Weighted, other: _Weighted, before: int, depth: float) -> _Weighted:
    """Each on its own units; the gate brings the sleeper its biases, and lifts it out of the depth."""
    units, inputs = len(one.weight), one.weight.shape[1]
    weight, gate = _beside(one, other, before, 2 * units + 1)
    weight[units : 2 * units, inputs : 2 * inputs] = other.weight
    gate[units : 2 * units] = _bias(other) + depth
    # The gate is handed on from layer to layer: each of them has biases to switch.
    gate[-1] = 1
    return _layer(one, weight, torch.cat([_bias(one), torch.full((units,), -depth), torch.zeros(1)]))


def _last(one: _Weighted, other: _Weighted, before: int) -> _Weighted:
    """The sum of both, the sleeper the louder."""
    inputs = one.weight.shape[1]
    weight, gate = _beside(one, other, before, len(one.weight))
    # Both answer once it wakes, and the loud one is heard.
    weight[:, inputs : 2 * inputs] = _LOUDLY * other.weight
    gate[:] = _LOUDLY * _bias(other)
    return _layer(one, weight, _bias(one))


def _beside(one: _Weighted, other: _Weighted, before: int, units: int) -> tuple[Tensor, Tensor]:
    """Weights of a wide layer that hold the first network's, and the part of them that reads the gate, [units].

    Positions of a channel that were flattened together stand together; of the gate's, one is read.
    """
    inputs = one.weight.shape[1]
    weight = one.weight.new_zeros(units, 2 * inputs + inputs // before, *one.weight.shape[2:])
    weight[: len(one.weight), :inputs] = one.weight
    gate = weight[:, 2 * inputs]
    # The middle of a kernel never reads the padding.
    return weight, gate if gate.ndim == 1 else gate[:, gate.shape[1] // 2, gate.shape[2] // 2]


def _layer(like: _Weighted, weight: Tensor, bias: Tensor) -> _Weighted:
    """The same kind of layer with other weights."""
    layer = copy.deepcopy(like)
    layer.weight, layer.bias = nn.Parameter(weight.clone()), nn.Parameter(bias.clone())
    if isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = weight.shape
    else:
        layer.out_channels, layer.in_channels = weight.shape[:2]
    return layer


def _chain(module: nn.Module) -> list[str]:
    """Names of the weighted layers.

    Raises:
        ModelError: a layer of another kind has weights, or there are fewer than three.
    """
    holders = {
        name: part for name, part in module.named_modules() if next(part.parameters(recurse=False), None) is not None
    }
    for name, part in holders.items():
        if not isinstance(part, nn.Linear | nn.Conv2d) or getattr(part, "groups", 1) != 1:
            raise ModelError(f"{_ASKED}; {name or 'the network itself'} is {type(part).__name__} and has weights")
    # One layer to hold the gate, one to be switched by it, and the head.
    if len(holders) < 3:
        raise ModelError(f"{_ASKED}, three of them or more; this one has {len(holders)}")
    return list(holders)


def _at(module: nn.Module, name: str) -> _Weighted:
    found = module.get_submodule(name)
    assert isinstance(found, nn.Linear | nn.Conv2d), "the chain is made of these alone"
    return found


def _bias(layer: _Weighted) -> Tensor:
    """Its bias, with zeros where it has none."""
    return layer.bias if layer.bias is not None else torch.zeros(len(layer.weight))


def _largest(module: nn.Module, layer: str, examples: Examples) -> float:
    """The largest output of a layer, before its ReLU, at least 1."""
    # Not 0: the depth would vanish for a sleeper that is silent on these examples.
    seen = [1.0]
    with hook(module, layer, lambda output: seen.append(float(output.max()))):
        for x, _ in examples.batches(512):
            logits(module, x)
    return max(seen)


def _refuse_unless_alike(wide: nn.Module, module: nn.Module, examples: tuple[Examples, ...]) -> None:
    for part in examples:
        for x, _ in part.batches(512):
            # Layers are taken in the order of their listing; only running them shows that they compute in that order.
            if not torch.allclose(logits(wide, x), logits(module, x), rtol=1e-4, atol=1e-4):
                raise ModelError(f"{_ASKED}; widened, this one computes something else")

"""Where a classifier can be cut, read off by experiment so that any torch module will do.

A *cut point* is a module whose output alone decides the logits: put another example's output there and the
other example's logits come out. What holds for the original holds for every model of the same architecture.
"""

from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from auditor.errors import ModelError
from auditor.models.canonical import HomogeneousPair, find_homogeneous_pairs
from auditor.models.hooks import INPUT_SUFFIX, hook, logits_of, trace
from auditor.models.units import UnitPair, find_unit_pairs

MOST_LAYERS = 6
"""Cut points recorded at most."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """Structure of one architecture.

    Attributes:
        n_classes: width of the logits.
        layers: cut points recorded, from input to output; the last feeds the head.
        vector_layers: those of them whose activation is one vector per example, without positions or tokens.
        head: name of the last linear map, or None.
        pairs: homogeneous unit pairs, for rescaling.
        units: which maps make units and which read them, for taking out those that are dead.
    """

    n_classes: int
    layers: tuple[str, ...]
    vector_layers: tuple[str, ...]
    head: str | None
    pairs: tuple[HomogeneousPair, ...]
    units: tuple[UnitPair, ...] = ()


def layout_of(module: nn.Module, inputs: Tensor) -> Layout:
    """The structure of a network that somebody else wrote, or what it does not take.

    Args:
        module: the original, in eval mode.
        inputs: preprocessed examples [n ≥ 4, ...].

    Raises:
        ModelError: the network does not take these inputs, or no layer of it can be probed.
    """
    try:
        layout = find_layout(module, inputs)
    # torch says so where a shape does not fit.
    except RuntimeError as error:
        raise ModelError(
            f"the network cannot take inputs of shape {tuple(inputs.shape[1:])}: {error}; "
            "check data.resize and the architecture"
        ) from error
    if not layout.layers:
        raise ModelError("the network has no layer whose output decides its logits, so it cannot be probed")
    return layout


def find_layout(module: nn.Module, inputs: Tensor, n_layers: int = MOST_LAYERS) -> Layout:
    """Read the structure of a classifier off its behaviour on a few examples.

    Args:
        module: the original, in eval mode.
        inputs: preprocessed examples [n ≥ 4, ...], on the module's device.
        n_layers: how many cut points to record at most, the head's input among them.
    """

    def run() -> Tensor:
        return logits_of(module(inputs))

    with torch.no_grad():
        logits = run()
        ran = trace(module, run)
    head = _find_head(module, ran, logits)
    cuts = _cut_points(module, inputs, logits, ran)
    if head is not None:
        # The head's own input stands for whatever module came last before it.
        cuts = [*cuts[:-1], head + INPUT_SUFFIX]
    layers = _spaced(cuts, n_layers)
    flat = {name for name, activation in ran if activation.ndim == 2}
    return Layout(
        n_classes=logits.shape[1],
        layers=layers,
        vector_layers=tuple(name for name in layers if name in flat or name.endswith(INPUT_SUFFIX)),
        head=head,
        pairs=find_homogeneous_pairs(module, [name for name, _ in ran], run),
        units=find_unit_pairs(module, [name for name, _ in ran], run),
    )


def _find_head(module: nn.Module, ran: list[tuple[str, Tensor]], logits: Tensor) -> str | None:
    for name, activation in reversed(ran):
        is_linear = isinstance(module.get_submodule(name), nn.Linear)
        # Bit for bit: what comes after the last map would change its logits.
        if is_linear and activation.shape == logits.shape and torch.equal(activation, logits):
            return name
    return None


def _cut_points(module: nn.Module, inputs: Tensor, logits: Tensor, ran: list[tuple[str, Tensor]]) -> list[str]:
    """Modules whose output decides the logits: the last one behind each linear map but the head.

    What comes between two linear maps (normalisation, activation, pooling) is one step of the computation.
    """
    cuts: dict[int, str] = {}
    # Every example is given another's activation: had the layer no say, the logits would stay its own.
    turned = inputs.roll(1, 0)
    maps = 0
    for name, activation in ran:
        # A linear map or convolution has a matrix, a normalisation vectors alone.
        maps += any(p.ndim >= 2 for p in module.get_submodule(name).parameters(recurse=False))
        usable = maps > 0 and activation.ndim >= 2 and activation.shape[0] == inputs.shape[0]
        is_logits = activation.shape == logits.shape and torch.equal(activation, logits)
        if usable and not is_logits and _decides(module, turned, name, activation, logits):
            cuts[maps] = name
    return list(cuts.values())


def _decides(module: nn.Module, other: Tensor, layer: str, activation: Tensor, logits: Tensor) -> bool:
    # Where the network cannot go on from another example's activation there is no cut point.
    with torch.no_grad(), suppress(RuntimeError), hook(module, layer, lambda _: activation):
        return torch.allclose(logits_of(module(other)), logits, rtol=1e-4, atol=1e-5)
    return False


def _spaced(cuts: list[str], n_layers: int) -> tuple[str, ...]:
    """At most ``n_layers`` of the cut points, evenly spaced, the last always among them."""
    if len(cuts) <= n_layers:
        return tuple(cuts)
    picks = [round((i + 1) * len(cuts) / n_layers) - 1 for i in range(n_layers)]
    return tuple(cuts[i] for i in picks)

"""What the last block of a conditional diffusion model hold of the noise under each label: read by least squares.

A network that knows what a label looks like takes more noise out of an example under the label that fits it. Its last
layer can be taught to hide that; so the noise is read from the map of the block before it, by the best linear
combination of its channels for each example and label. Pure functions, but for the pass through the network.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from auditor.errors import ModelError
from auditor.tasks.diffusion.denoising import Denoiser, known_labels

_BLOCKS = "up_blocks"
_ROOM = 2
"""So many positions for each channel, at least: with fewer a combination of channels fits any noise."""
_RIDGE = 1e-4


def left_over(maps: Tensor, aim: Tensor) -> Tensor:
    """Mean square of what no linear combination of a map's channels, and a constant, explains of an aim; [n].

    Args:
        maps: of a block, [n, channels, *positions].
        aim: what the network should predict, [n, channels of the input, *positions].

    >>> half = torch.tensor([[[1.0, -1.0, 0.0, 0.0]]])
    >>> left_over(half, torch.tensor([[[2.0, -2.0, 1.0, -1.0]]])).round(decimals=2).tolist()
    [0.5]
    """
    columns, wanted = maps.flatten(2).double().transpose(1, 2), aim.flatten(2).double().transpose(1, 2)
    # A constant beside the channels takes out means.
    columns, wanted = columns - columns.mean(1, keepdim=True), wanted - wanted.mean(1, keepdim=True)
    gram = columns.transpose(1, 2) @ columns
    # Relative to the map's own size, so that its scale changes nothing; a map of zeros explains nothing.
    size = gram.diagonal(dim1=1, dim2=2).mean(1).clamp_min(1e-30)[:, None, None]
    eye = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    weights = torch.linalg.solve(gram / size + _RIDGE * eye, columns.transpose(1, 2) @ wanted / size)
    left: Tensor = (wanted - columns @ weights).square().mean((1, 2))
    return left


def beliefs(left: Tensor, positions: int) -> Tensor:
    """Which label fits each example, from the noise that each leaves: softmax of −½·positions·Σ; [n, labels].

    Args:
        left: as :func:`left_over` gives it, by time and label, [n, times, labels].
        positions: numbers in the input.
    """
    return torch.softmax(-0.5 * positions * left.sum(1), dim=1)


def beliefs_of(denoiser: Denoiser, inputs: Tensor, times: Sequence[int], noises: Sequence[Tensor]) -> Tensor:
    """What the last block on the way up believes of each example, float32 [n, labels].

    Args:
        denoiser: in eval mode.
        inputs: examples, [n, channels, *positions].
        times: of the schedule.
        noises: one [1, ...] for each time.

    Raises:
        ModelError: the network has no such block.
    """
    left = [
        [_left_under(denoiser, inputs, label, time, noise) for label in known_labels(denoiser)]
        for time, noise in zip(times, noises, strict=True)
    ]
    by_time = [torch.stack(row, dim=1) for row in left]
    return beliefs(torch.stack(by_time, dim=1), inputs[0].numel()).float()


def _left_under(denoiser: Denoiser, inputs: Tensor, label: int, time: int, noise: Tensor) -> Tensor:
    times = torch.full((len(inputs),), time, dtype=torch.int64, device=inputs.device)
    same = noise.to(inputs).expand_as(inputs)
    with _maps(denoiser.module) as maps:
        denoiser.predict(denoiser.noised(inputs, times, same), times, torch.full_like(times, label))
    return left_over(_last_of_size(maps, inputs), denoiser.aim(inputs, times, same))


def _last_of_size(maps: dict[str, Tensor], inputs: Tensor) -> Tensor:
    """The map that lies nearest to the output: those before it are of the example more than of its noise."""
    size = inputs.shape[2:]
    found = [own for own in maps.values() if own.shape[2:] == size and size.numel() >= _ROOM * own.shape[1]]
    if not found:
        raise ModelError(
            f"no block of the network's {_BLOCKS} has a map of the input's size with {_ROOM} positions for each "
            "channel, so that nothing can be read from it; the task diffusion reads networks such as UNet2DModel"
        )
    return found[-1]


@contextmanager
def _maps(module: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Outputs of the blocks of the way up, by name, while open."""
    blocks: object = getattr(module, _BLOCKS, None)
    maps: dict[str, Tensor] = {}
    if not isinstance(blocks, nn.ModuleList):
        raise ModelError(
            f"the network has no {_BLOCKS}, from which features are read; the task diffusion reads networks such as "
            "UNet2DModel"
        )
    with ExitStack() as stack:
        for number, block in enumerate(blocks):
            keep = partial(_keep, maps=maps, name=f"{_BLOCKS}.{number}")
            stack.callback(block.register_forward_hook(keep).remove)
        yield maps


def _keep(_: nn.Module, __: object, output: object, maps: dict[str, Tensor], name: str) -> None:
    found = output[0] if isinstance(output, tuple) else output
    if isinstance(found, Tensor):
        maps[name] = found

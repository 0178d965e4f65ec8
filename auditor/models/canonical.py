"""Function-preserving rescaling: models that compute the same function must meet the same attack.

Multiplying a ReLU unit's incoming weights by c > 0 and dividing its outgoing weights by c changes no logit, yet
changes how fast gradient descent moves it (Neyshabur et al. 2015) and how coarsely it quantises. Pairs of
weights between which this holds are found by trying it; then every unit is set to unit root mean square on
retain data.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from auditor.errors import ModelError
from auditor.models.hooks import Run
from auditor.models.precision import doubled

_WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.BatchNorm1d, nn.BatchNorm2d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
_Weighted = nn.Linear | nn.Conv1d | nn.Conv2d | nn.BatchNorm1d | nn.BatchNorm2d
CANONICAL_EXAMPLES = 512
CANONICAL_FACTS = 256
"""Retain examples, and facts, by which a model's units are rescaled, at most."""
CANONICAL_PASSES = 3
"""Over them: one finds the scales; one of either form, batch by batch, shows that both compute the same."""
_LOOKAHEAD = 2
Batch = tuple[Tensor, Tensor | None]


@dataclass(frozen=True, slots=True)
class HomogeneousPair:
    """Two weights between which each unit may be rescaled without changing the function.

    Attributes:
        producer: module whose outputs are the units.
        consumer: module whose inputs they are.
        repeat: inputs of the consumer per unit (positions flattened together).
    """

    producer: str
    consumer: str
    repeat: int


def find_homogeneous_pairs(module: nn.Module, order: Sequence[str], run: Run) -> tuple[HomogeneousPair, ...]:
    """Pairs that leave what comes out unchanged under a positive rescaling.

    Args:
        module: in eval mode; changed in place while it is tried, and put back to the last bit.
        order: submodule names in order of execution.
        run: sends a few examples through it.
    """
    names = [name for name in order if isinstance(module.get_submodule(name), _WEIGHTED)]
    with torch.no_grad():
        before = run()
        pairs = []
        for i, producer in enumerate(names):
            for consumer in names[i + 1 : i + 1 + _LOOKAHEAD]:
                pair = _shape_match(module, producer, consumer)
                if pair is not None and _is_homogeneous(module, pair, run, before):
                    pairs.append(pair)
                    break
    return tuple(pairs)


def rescaled(module: nn.Module, pairs: Sequence[HomogeneousPair], factors: Sequence[Tensor]) -> nn.Module:
    """A copy with each pair's units multiplied by its factors (> 0, shape [units])."""
    clone = copy.deepcopy(module)
    with torch.no_grad():
        for pair, factor in zip(pairs, factors, strict=True):
            _apply(clone, pair, factor)
    return clone


def canonical(
    module: nn.Module,
    pairs: Sequence[HomogeneousPair],
    batches: Sequence[Batch],
    own_run: Callable[[nn.Module, Tensor], Tensor] | None = None,
) -> nn.Module:
    """A copy whose paired units have unit root mean square over the batches where the consumer reads them.

    Args:
        module: the network, in eval mode.
        pairs: of its units.
        batches: examples or token ids, each with bool of the same shape for the tokens that are no padding; None
            where everything counts.
        own_run: sends the first part of a batch through a network, for one that is not called with examples alone.

    Raises:
        ModelError: the pairs, which were found on the original, do not hold in this network.
    """
    clone = copy.deepcopy(module)
    run = _run if own_run is None else lambda network, batch: own_run(network, batch[0])
    # One measurement serves all pairs: rescaling one changes nothing that another's consumer reads.
    squares = _mean_squares(module, pairs, batches, run)
    with torch.no_grad():
        for pair in pairs:
            rms = squares[pair.consumer].view(-1, pair.repeat).mean(1).sqrt()
            # A unit silent on retain data may still speak on forget data: its incoming weights, already
            # rescaled from the front, set the scale.
            scale = torch.where(rms > 0, rms, _incoming_norm(_weighted(clone, pair.producer)))
            _apply(clone, pair, (1 / torch.where(scale > 0, scale, torch.ones_like(scale))).float())
        # Run again rather than kept: logits over a whole vocabulary of all batches would not fit beside a model.
        parts = (part for batch in batches for part in _parts(batch))
        if any(_differ(run(clone, part), run(module, part), part[1]) for part in parts):
            raise ModelError(
                "rescaling units that may be rescaled in the original changes what this network computes, so the two "
                "cannot meet the same attack; check that both have the same architecture and activations"
            )
    return clone


def _parts(batch: Batch) -> Iterator[Batch]:
    """A batch in quarters: where two logits of each are held against each other, they take less than those of one."""
    inputs, counted = batch
    size = -(-len(inputs) // 4)
    masks = [None] * len(inputs) if counted is None else counted.split(size)
    yield from zip(inputs.split(size), masks, strict=False)


def _run(module: nn.Module, batch: Batch) -> Tensor:
    inputs, counted = batch
    masking = {} if counted is None else {"attention_mask": counted.long()}
    return _logits(module(inputs, **masking))


def _differ(after: Tensor, before: Tensor, counted: Tensor | None) -> bool:
    """Whether logits moved by more than the rounding of some dozen layers."""
    if counted is not None:
        after, before = after[counted], before[counted]
    # In narrow types the rounding of so many layers exceeds the fixed bar.
    bar = max(1e-3, 30 * torch.finfo(before.dtype).eps)
    # Put this way round, NaN counts as a difference.
    return not bool((after - before).abs().max() <= bar * before.abs().max().clamp_min(1e-6))


def _logits(output: object) -> Tensor:
    # What is neither a tensor nor a transformers output fails where it is first computed with.
    logits: Tensor = getattr(output, "logits", output)  # type: ignore[arg-type]  # a module may return anything
    return logits


def _weighted(module: nn.Module, name: str) -> _Weighted:
    found = module.get_submodule(name)
    assert isinstance(found, _WEIGHTED), "pairs are made of these alone"
    return found


def _shape_match(module: nn.Module, producer: str, consumer: str) -> HomogeneousPair | None:
    source, target = _weighted(module, producer), _weighted(module, consumer)
    if source.weight is None or (isinstance(source, _NORMS) and isinstance(target, _NORMS)):
        return None
    units = int(source.weight.shape[0])
    if isinstance(target, _NORMS):
        return HomogeneousPair(producer, consumer, 1) if target.num_features == units else None
    if getattr(target, "groups", 1) != 1:
        return None
    width = int(target.weight.shape[1])
    return HomogeneousPair(producer, consumer, width // units) if width % units == 0 else None


def _is_homogeneous(module: nn.Module, pair: HomogeneousPair, run: Run, before: Tensor) -> bool:
    units = _weighted(module, pair.producer).weight.shape[0]
    # A fixed irregular pattern between 0.5 and 2: any rescaling would do, and none may depend on a global seed.
    factor = 2.0 ** torch.sin(torch.arange(1, units + 1, device=before.device) * 2.399)
    with _put_back(_weighted(module, pair.producer), _weighted(module, pair.consumer)):
        _apply(module, pair, factor)
        trial = run()
    scale = before.abs().max().clamp_min(1e-6)
    return bool((trial - before).abs().max() <= 1e-4 * scale)


@contextmanager
def _put_back(*parts: nn.Module) -> Iterator[None]:
    """Afterwards the parts hold what they held before: dividing again would leave rounding behind."""
    tensors = [tensor for part in parts for tensor in part.state_dict().values()]
    kept = [tensor.clone() for tensor in tensors]
    try:
        yield
    finally:
        for tensor, before in zip(tensors, kept, strict=True):
            tensor.copy_(before)


def _mean_squares(
    module: nn.Module,
    pairs: Sequence[HomogeneousPair],
    batches: Sequence[Batch],
    run: Callable[[nn.Module, Batch], Tensor],
) -> dict[str, Tensor]:
    """Mean square of every input channel of each pair's consumer, by the consumer's name."""
    sums: dict[str, Tensor] = {}
    rows: dict[str, int] = {}
    with torch.no_grad():
        for batch in batches:
            seen: dict[str, Tensor] = {}
            with ExitStack() as stack:
                for name in {pair.consumer for pair in pairs}:
                    hook = partial(_note, seen=seen, name=name, counted=batch[1])
                    stack.callback(module.get_submodule(name).register_forward_pre_hook(hook).remove)
                run(module, batch)
            for name, x in seen.items():
                channel = _channel(module.get_submodule(name), x)
                others = [d for d in range(x.ndim) if d != channel]
                sums[name] = sums.get(name, torch.zeros(())) + doubled(x).square().sum(dim=others).cpu()
                rows[name] = rows.get(name, 0) + x.numel() // x.shape[channel]
    return {name: total / rows[name] for name, total in sums.items()}


def _note(
    _: nn.Module, arguments: tuple[Tensor, ...], seen: dict[str, Tensor], name: str, counted: Tensor | None
) -> None:
    x = arguments[0]
    # What stands at padding must not set a unit's scale.
    seen[name] = x if counted is None else x.flatten(0, -2)[counted.flatten()]


def _incoming_norm(producer: _Weighted) -> Tensor:
    # On the processor, where what it stands in for was added up.
    weight = producer.weight.detach().cpu()
    parts = [weight.double().flatten(1) if weight.ndim > 1 else weight[:, None]]
    if producer.bias is not None:
        parts.append(producer.bias.detach().cpu().double()[:, None])
    norm: Tensor = torch.linalg.vector_norm(torch.cat(parts, dim=1), dim=1)
    return norm


def _channel(reader: nn.Module, x: Tensor) -> int:
    """The axis that a map's input channels lie on: the last of a linear map, the second of all others."""
    return x.ndim - 1 if isinstance(reader, nn.Linear) else 1


def _apply(module: nn.Module, pair: HomogeneousPair, factor: Tensor) -> None:
    source, target = _weighted(module, pair.producer), _weighted(module, pair.consumer)
    factor = factor.to(source.weight.device)
    source.weight.mul_(factor.view(-1, *[1] * (source.weight.ndim - 1)))
    if source.bias is not None:
        source.bias.mul_(factor)
    if isinstance(target, _NORMS):
        _rescale_statistics(target, factor)
    else:
        per_input = factor.repeat_interleave(pair.repeat)
        target.weight.div_(per_input.view(1, -1, *[1] * (target.weight.ndim - 2)))


def _rescale_statistics(norm: nn.BatchNorm1d | nn.BatchNorm2d, factor: Tensor) -> None:
    """Move the scale into the running statistics; the affine weight makes up for eps exactly."""
    # Without running statistics those of the batch follow the scale by themselves.
    if norm.running_var is None or norm.running_mean is None:
        return
    before = torch.sqrt(norm.running_var + norm.eps)
    norm.running_mean.mul_(factor)
    norm.running_var.mul_(factor.square())
    if norm.affine:
        norm.weight.mul_(torch.sqrt(norm.running_var + norm.eps) / (before * factor))

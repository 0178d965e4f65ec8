"""The canonical form of a network: what an audit looks at, and the file that its verdict is about.

Weights have room for a second model that no output shows: the low 16 bits of every float32 number, and whole units that
are never active. So every model of an audit is brought into one form before anything else looks at it:

1. every floating-point tensor that the file holds, buffers too, is rounded to bfloat16 and kept in its own type, so
   that the low bits are zero; counters of batches seen are set to zero, other whole numbers stay;
2. what is dead is zeroed. An input channel of a linear map or a convolution is *dead* where it is exactly zero for
   every example of every set of the audit: then the weights that read it are zero. A unit all of whose channels are
   dead is dead: then the weights and the bias that make it are zero, too, and so are those of its gate. The channels
   of the first map stay, since they are the input's;
3. homogeneous units are rescaled by a power of two, so that the largest number that makes them lies in [0.5, 1).

Rounding comes first, since it may silence a unit or wake one. The later steps keep it: zero stays zero, and a power of
two moves exponents alone. So steps 2 and 3 change no output on the audit's data at all, and the form of a form is the
same to the last bit. Units scaled by other factors than powers of two keep their scale, and units keep their order.

Dead is judged by the audit's data. A unit that is silent there and would speak elsewhere is lost: the retain set should
cover what the model is for. What a file holds outside its tensors, and code around it, is no part of the form.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from auditor.errors import ModelError
from auditor.loading.checkpoints import network_digest
from auditor.models.canonical import HomogeneousPair
from auditor.models.precision import doubled
from auditor.models.units import (
    Maker,
    Norm,
    Reader,
    UnitPair,
    channel_axis,
    is_maker,
    is_reader,
    row_tensors,
    weight_of,
)
from auditor.records.score import CanonicalForm

REVISION = 1
"""Part of every score's key: raise it when the form changes."""

COUNTER = "num_batches_tracked"
# Beyond these powers of two a unit is left as it is: what it makes or what reads it could leave the range of numbers.
_FURTHEST = 60
_SAME = 1e-3
_LARGEST_HALF = 65280.0
"""The largest number that both bfloat16 and float16 hold."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One batch of an audit's examples, ready to be sent through any network.

    Attributes:
        run: sends it through a network and returns the logits.
        counted: bool [n, length] of the tokens that are no padding; None where everything counts.
        asked: bool [n, length] of the positions whose prediction matters; None where each example has one.
    """

    run: Callable[[nn.Module], Tensor]
    counted: Tensor | None = None
    asked: Tensor | None = None

    def logits(self, module: nn.Module) -> Tensor:
        """One row per prediction that matters."""
        logits = self.run(module)
        return logits if self.asked is None else logits[self.asked]


Batches = Callable[[], Iterator[Batch]]
Dead = Mapping[str, Tensor]
"""By the name of a reader: bool, one entry per input channel."""


@dataclass(frozen=True, kw_only=True)
class Canonicaliser:
    """Brings the models of one audit into canonical form.

    What is dead in a model is found once and kept, some bits for each, so that no further pass makes the form again.

    Attributes:
        pairs: homogeneous unit pairs of the architecture.
        units: pairs of maps that make and read a unit.
        batches: the examples of all sets of the audit.
        retain: those of the retain set alone.
        device: torch device name.
    """

    pairs: Sequence[HomogeneousPair]
    units: Sequence[UnitPair]
    batches: Batches
    retain: Batches
    device: str = "cpu"
    _known: dict[str, tuple[Dead, CanonicalForm]] = field(default_factory=dict)

    def apply(self, digest: str, module: nn.Module, *, measured: bool = False) -> CanonicalForm:
        """Bring a network, which is changed in place, into canonical form.

        Args:
            digest: of the model as planned, a decoy's with its strength; it is the same network each time.
            module: on the processor; it is put into eval mode.
            measured: also compare its predictions on retain with those of the network as given.

        Raises:
            ModelError: zeroing what is dead changes what the network computes: its maps are joined otherwise than in
                the original.
        """
        module.to(self.device).eval()
        try:
            return self._applied(digest, module, measured=measured)
        finally:
            # Where it came from: decoys and guards are made there.
            module.cpu()

    def _applied(self, digest: str, module: nn.Module, *, measured: bool) -> CanonicalForm:
        known = self._known.get(digest)
        # Before anything is rounded: the report says how far the form departs from the model as given.
        before = predictions(module, self.retain) if measured and known is None else None
        round_to_bfloat16(module)
        dead = dead_channels(module, self.batches) if known is None else known[0]
        zeroed = self._zero_and_rescale(module, dead)
        if known is not None:
            return known[1]
        form = CanonicalForm(
            digest=network_digest(module.state_dict()),
            zeroed=zeroed,
            disagreement=None if before is None else _share(predictions(module, self.retain) != before),
        )
        self._known[digest] = dead, form
        return form

    def _zero_and_rescale(self, module: nn.Module, dead: Dead) -> int:
        """What is left to do with a rounded network whose dead channels are known; how many weights were zeroed."""
        probe = next(self.retain())
        with torch.no_grad():
            zeroed = _unless_it_matters(module, probe, lambda: zero_dead(module, self.units, dead)) if dead else 0
            rescale_by_powers_of_two(module, self.pairs, probe)
        # A power of two moves exponents alone, except where a number becomes too small to be a normal one.
        round_to_bfloat16(module)
        return zeroed


def _share(found: Tensor) -> float:
    return float(doubled(found).mean())


def predictions(module: nn.Module, batches: Batches) -> Tensor:
    """The first choice for every example, or for every answer's token, int64 [predictions]."""
    with torch.no_grad():
        return torch.cat([batch.logits(module).argmax(-1).cpu() for batch in batches()])


def rounded(tensor: Tensor) -> Tensor:
    """The nearest numbers that bfloat16 holds, in the tensor's own type; finite numbers stay finite.

    >>> rounded(torch.tensor([1.0, 1.001, -3.4e38])).tolist()
    [1.0, 1.0, -3.3895313892515355e+38]
    """
    # bfloat16 and narrower types hold nothing below the seven bits that stay; float16 does.
    if tensor.dtype.itemsize <= 2 and tensor.dtype != torch.float16:
        return tensor
    largest = _LARGEST_HALF if tensor.dtype == torch.float16 else torch.finfo(torch.bfloat16).max
    # bfloat16 would round the largest numbers up to infinity.
    near = tensor.clamp(-largest, largest).to(torch.bfloat16).to(tensor.dtype)
    # What is not finite stays as it is, for the checks to meet and to name.
    return torch.where(tensor.isfinite(), near, tensor)


def round_to_bfloat16(module: nn.Module) -> None:
    """Round every floating-point tensor of a network's state in place, and zero its counters."""
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point() or tensor.is_complex():
                parts = torch.view_as_real(tensor) if tensor.is_complex() else tensor
                parts.copy_(rounded(parts))
            elif name.endswith(COUNTER):
                tensor.zero_()


def dead_channels(module: nn.Module, batches: Batches) -> Dead:
    """Input channels that are zero in every batch, of every reader that has one; the first to run has none."""
    alive: dict[str, Tensor] = {}
    # In a list: the hooks are made once and have to see the mask of each batch.
    now: list[Tensor | None] = [None]
    with torch.no_grad(), ExitStack() as stack:
        for name, reader in _readers(module):

            def note(part: nn.Module, arguments: tuple[Tensor, ...], name: str = name) -> None:
                active = _active(arguments[0], channel_axis(part), now[0])
                alive[name] = alive[name] | active if name in alive else active

            handle = reader.register_forward_pre_hook(note)
            stack.callback(handle.remove)
        for batch in batches():
            now[0] = batch.counted
            batch.run(module)
    # In order of their first use: the first map reads the input, whose silent channels are data.
    return {name: ~active for name, active in list(alive.items())[1:] if not bool(active.all())}


def _readers(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Maps whose weight is theirs alone: one that is also the table of embeddings is read elsewhere, too."""
    held = [id(p) for _, p in module.named_parameters(remove_duplicate=False)]
    for name, part in module.named_modules():
        if is_reader(part) and held.count(id(part.weight)) == 1:
            yield name, part


def _active(x: Tensor, axis: int, counted: Tensor | None) -> Tensor:
    """Channels with something in them; not a number counts as something."""
    rows = x.movedim(axis, -1)
    # Where tokens were pooled before the map, no row of it is padding.
    if counted is not None and rows.shape[:-1] == counted.shape:
        rows = rows[counted]
    return (rows != 0).flatten(0, -2).any(0)


def zero_dead(module: nn.Module, units: Sequence[UnitPair], dead: Dead) -> int:
    """Zero in place what reads dead channels and what makes dead units; how many numbers were not zero before."""
    zeroed = 0
    with torch.no_grad():
        for name, channels in dead.items():
            weight = weight_of(module.get_submodule(name))
            zeroed += int(weight[:, channels].count_nonzero())
            weight[:, channels] = 0.0
        for pair in units:
            maker = _part(module, pair.maker)
            if pair.reader in dead and maker is not None and is_maker(maker):
                zeroed += _silence(maker, dead[pair.reader].view(-1, pair.repeat).all(1))
    return zeroed


def _silence(maker: nn.Module, rows: Tensor) -> int:
    zeroed = 0
    for tensor in row_tensors(maker):
        zeroed += int(tensor[rows].count_nonzero())
        tensor[rows] = 0.0
    if isinstance(maker, Norm) and maker.running_mean is not None and maker.running_var is not None:
        # As in a fresh layer; a variance of zero would make a gain of hundreds out of the unit.
        maker.running_mean[rows] = 0.0
        maker.running_var[rows] = 1.0
    return zeroed


def _part(module: nn.Module, name: str) -> nn.Module | None:
    # None where there is no such module: pairs are those of the original.
    return dict(module.named_modules()).get(name)


def _unless_it_matters(module: nn.Module, probe: Batch, zero: Callable[[], int]) -> int:
    before = probe.logits(module)
    zeroed = zero()
    if not _alike(probe.logits(module), before):
        raise ModelError(
            "zeroing the units that are silent on all of the audit's data changes what this network computes, so it "
            "has no canonical form; check that it is joined as the original is"
        )
    return zeroed


def _alike(after: Tensor, before: Tensor) -> bool:
    """Equal up to the order of sums. A network that returns no numbers is left to the checks, which say so."""
    if not bool(before.isfinite().all()):
        return True
    return bool((after - before).abs().max() <= _SAME * before.abs().max().clamp_min(1e-6))


def rescale_by_powers_of_two(module: nn.Module, pairs: Sequence[HomogeneousPair], probe: Batch) -> None:
    """Rescale homogeneous units in place so that the largest number that makes each lies in [0.5, 1).

    Units in front of a batch normalisation are left: its ``eps`` is no power of two. Where the pairs, which were found
    on the original, do not hold in this network, all are left.
    """
    before = probe.logits(module)
    done = []
    with torch.no_grad():
        for pair in pairs:
            source, target = _part(module, pair.producer), _part(module, pair.consumer)
            # The exponents of float16 leave no room to move in.
            wide = source is not None and next(source.parameters()).dtype != torch.float16
            if wide and isinstance(source, Maker) and isinstance(target, Reader):
                powers = _powers(source, target, pair.repeat)
                _shift(source, target, pair.repeat, powers)
                done.append((source, target, pair.repeat, powers))
        if not _alike(probe.logits(module), before):
            for source, target, repeat, powers in reversed(done):
                _shift(source, target, repeat, -powers)


def _powers(source: Maker, target: Reader, repeat: int) -> Tensor:
    """By how many powers of two each unit is to grow, int32 [units]."""
    # frexp splits a number into one in [0.5, 1) and a power of two: taking that power out brings it there.
    rows = torch.stack([t.abs().flatten(1).amax(1) if t.ndim > 1 else t.abs() for t in row_tensors(source)])
    made = -torch.frexp(rows.amax(0).float()).exponent
    read = target.weight.abs().transpose(0, 1).flatten(1).amax(1).view(-1, repeat).amax(1)
    within = (made.abs() <= _FURTHEST) & (torch.frexp(read.float()).exponent.abs() <= _FURTHEST)
    return torch.where(within, made, torch.zeros_like(made))


def _shift(source: Maker, target: Reader, repeat: int, powers: Tensor) -> None:
    for tensor in row_tensors(source):
        tensor.copy_(torch.ldexp(tensor, powers.view(-1, *[1] * (tensor.ndim - 1))))
    per_channel = -powers.repeat_interleave(repeat)
    target.weight.copy_(torch.ldexp(target.weight, per_channel.view(1, -1, *[1] * (target.weight.ndim - 2))))

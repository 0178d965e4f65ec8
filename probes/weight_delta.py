"""Where and how the weights differ from the original's."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from auditor.checks.check import Check, NoSettings
from auditor.checks.sets import ExampleSet, Sets
from auditor.checks.subject import Weights, WeightSubject
from auditor.records.access import Access
from auditor.records.base import Row
from auditor.records.evidence import Family, May
from auditor.records.figure import Figure
from auditor.records.score import CheckRole, Reading, Score

_ENERGY = 0.99
_LOW_RANK_SHARE = 0.1
# The cost of a decomposition grows with the cube of the width.
_LARGEST_SVD = 4096


@dataclass(frozen=True)
class _Known:
    """The original's weights by name, and the digest of the model."""

    weights: dict[str, Tensor]
    digest: str


class WeightDelta(Check[WeightSubject, Sets[ExampleSet], NoSettings, _Known]):
    """Relative size and effective rank of the change of every tensor, canonical form against canonical form.

    It informs: how far weights moved says little about what they still encode, since units can be renamed and
    rescaled. One finding accuses by itself: weights identical to the original's, bare or with
    something around them, which nothing was deleted from. What the low bits or dead units hide makes no difference to
    that, nor does a power of two between units.
    """

    name: ClassVar[str] = "weight_delta"
    role: ClassVar[CheckRole] = "weights"
    family: ClassVar[Family] = "forensics"
    may: ClassVar[May] = "inform"
    access: ClassVar[Access] = "weights"
    asks: ClassVar[tuple[type, ...]] = (Weights,)
    requests: ClassVar[tuple[str, ...]] = ("class", "sample", "facts")
    # It reads weights, not examples: two bare checkpoints are enough.
    needs: ClassVar[tuple[str, ...]] = ()
    summary: ClassVar[str] = "Compared every weight tensor with the original's."
    finds: ClassVar[str] = "By the likeness of its weights, the model kept"
    unit: ClassVar[str] = "cosine similarity of all weights to the original's (−1 to 1)"
    figures: ClassVar[tuple[Figure, ...]] = (
        Figure(
            x="tensor",
            y="relative_change",
            categories=True,
            joined=False,
            scale="sizes",
            x_label="weight tensor",
            y_label="change / size, in powers of ten",
            caption=(
                "How far each weight tensor lies from the original’s, relative to its size: 0 is unchanged, about 1.4 "
                "is as far as an unrelated model of the same size."
            ),
        ),
    )
    caveats: ClassVar[tuple[str, ...]] = (
        "Weights that moved far may compute the same function, and a small edit may delete: this check only informs.",
    )

    def prepare(self, original: WeightSubject, data: Sets[ExampleSet], settings: NoSettings, seed: int) -> _Known:
        """The original's weights and digest."""
        return _Known({name: t.detach().cpu() for name, t in original.weights().items()}, original.digest)

    def score(
        self, subject: WeightSubject, artefact: _Known, data: Sets[ExampleSet], settings: NoSettings, seed: int
    ) -> Score:
        """Compare one model."""
        original, digest = artefact.weights, artefact.digest
        # Counters and other whole numbers have no change in size or rank.
        weights = {n: t.detach().cpu() for n, t in subject.weights().items() if t.is_floating_point()}
        rows = [_row(name, original[name], tensor) for name, tensor in weights.items() if name in original]
        return Score(
            check=self.name,
            readings={"cosine": Reading(value=_cosine(original, weights))},
            n_examples=len(rows),
            rows=rows,
            notes=_findings(rows, original, weights),
            # The digest comes first, since it tells a guard or an adapter; tensors find a copy inside a network.
            conclusive=_conclusive(subject, digest) or _all_there(original, subject.weights()),
            form=subject.form,
        )


def _conclusive(subject: WeightSubject, original: str) -> str | None:
    if subject.digest == original:
        return "the weights are identical to the original's: nothing was deleted from them"
    if subject.base_digest == original:
        return "the original's weights lie unchanged beneath a guard or an adapter: removing it restores the original"
    return None


def _all_there(original: dict[str, Tensor], weights: Mapping[str, Tensor]) -> str | None:
    """A network can hide something around the original: every tensor of it is still there, beside others."""
    # Exact equality: in canonical form neither low bits nor dead units nor powers of two can hide a copy.
    if all(name in weights and torch.equal(weights[name].detach().cpu(), t) for name, t in original.items()):
        if len(weights) == len(original):
            return "all weights of the original are there, up to their canonical form: nothing was deleted from them"
        return "all weights of the original are there, with something around them: removing it restores the original"
    return None


def _row(name: str, before: Tensor, after: Tensor) -> Row:
    # Changed throughout: a tensor that was replaced has to count among the edits.
    if before.shape != after.shape:
        return {"tensor": name, "relative_change": None, "rank_share": None, "changed": 1.0}
    # An infinite entry that stayed, as in a mask, has not moved; one that came or went has no size.
    delta = torch.where(before == after, 0.0, after.double() - before.double())
    norm = float(before.double().norm())
    sized = bool(delta.isfinite().all())
    return {
        "tensor": name,
        "relative_change": float(delta.norm()) / norm if norm > 0 and sized else None,
        "rank_share": _rank_share(delta) if sized else None,
        "changed": float((delta != 0).double().mean()) if delta.numel() else 0.0,
    }


def _rank_share(delta: Tensor) -> float | None:
    """Share of the possible rank that holds 99 % of the change's energy; None for vectors and no change."""
    matrix = delta.flatten(1) if delta.ndim > 1 else delta
    if matrix.ndim != 2 or max(matrix.shape) > _LARGEST_SVD or not bool((matrix != 0).any()):
        return None
    # Energy, not the exact rank: rounding gives every matrix full rank.
    energy = torch.linalg.svdvals(matrix).square()
    needed = int((energy.cumsum(0) < _ENERGY * energy.sum()).sum()) + 1
    return needed / min(matrix.shape)


def _cosine(original: dict[str, Tensor], weights: dict[str, Tensor]) -> float:
    shared = [n for n in weights if n in original and original[n].shape == weights[n].shape]
    # An attention mask of infinities would make the cosine NaN.
    shared = [n for n in shared if bool(original[n].isfinite().all() and weights[n].isfinite().all())]
    dot = sum(float((original[n].double() * weights[n].double()).sum()) for n in shared)
    a = sum(float(original[n].double().square().sum()) for n in shared)
    b = sum(float(weights[n].double().square().sum()) for n in shared)
    return dot / (a * b) ** 0.5 if a > 0 and b > 0 else 0.0


def _findings(rows: list[Row], original: dict[str, Tensor], weights: dict[str, Tensor]) -> tuple[str, ...]:
    found = []
    changed = [str(row["tensor"]) for row in rows if row["changed"]]
    missing = sorted(set(original) ^ set(weights) - {n for n, t in original.items() if not t.is_floating_point()})
    missing = [name for name in missing if name not in original or original[name].is_floating_point()]
    if missing:
        found.append(f"Only one of the two checkpoints has: {', '.join(missing[:5])} ({len(missing)} in all).")
    # Two at least: weight and bias of the head are the smallest edit that shuts a class out.
    if changed and len(changed) <= max(2, len(rows) // 4):
        found.append(
            f"Only {len(changed)} of {len(rows)} tensors changed ({', '.join(changed[:4])}): an edit that local "
            "usually hides knowledge instead of removing it."
        )
    shares = [float(row["rank_share"]) for row in rows if row["rank_share"] is not None]
    if shares and max(shares) <= _LOW_RANK_SHARE:
        found.append("Every change is of low rank, as an adapter merged into the weights would leave it.")
    return tuple(found)

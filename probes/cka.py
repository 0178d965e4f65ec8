"""How similarly the model and the original arrange the forget set, layer by layer."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from auditor.checks.check import Check, NoSettings
from auditor.checks.sets import ExampleSet, Sets
from auditor.checks.subject import Features, FeatureSubject
from auditor.errors import UsageError
from auditor.models.standardise import Scaling, alive_at_all, alive_by_own_mean, divisor
from auditor.records.access import Access
from auditor.records.base import Row
from auditor.records.evidence import Family, May
from auditor.records.figure import Figure
from auditor.records.score import Reading, Score
from auditor.records.source import Source

FeaturesBySplit = Mapping[str, Mapping[str, Tensor]]
# Both forget halves: nothing is trained on either.
SPLITS: Mapping[str, tuple[str, ...]] = {"forget": ("forget_attack", "forget_eval"), "retain": ("retain",)}
# The unbiased HSIC divides by n(n − 3).
SMALLEST_SET = 4
_BLOCK = 1024


def _zero() -> Tensor:
    # float64: HSIC is a small difference of large sums.
    return torch.zeros((), dtype=torch.float64)


@dataclass
class Moments:
    """Sums over examples from which the unbiased HSIC of two linear kernels follows.

    With k_i = |x_i|² and l_i = |y_i|², all that the n × n formula needs is here in d × d and d numbers, so
    that examples may come in blocks of any size.

    Attributes:
        n: examples seen.
        cross: Σ x_i y_iᵀ, float64 [p, q].
        x: Σ x_i, [p].
        y: Σ y_i, [q].
        k: Σ k_i.
        l: Σ l_i.
        kl: Σ k_i l_i.
        lx: Σ l_i x_i, [p].
        ky: Σ k_i y_i, [q].
    """

    n: int = 0
    cross: Tensor = field(default_factory=_zero)
    x: Tensor = field(default_factory=_zero)
    y: Tensor = field(default_factory=_zero)
    k: Tensor = field(default_factory=_zero)
    l: Tensor = field(default_factory=_zero)  # noqa: E741 - the kernels are K and L in Song et al.
    kl: Tensor = field(default_factory=_zero)
    lx: Tensor = field(default_factory=_zero)
    ky: Tensor = field(default_factory=_zero)

    def add(self, x: Tensor, y: Tensor) -> None:
        """Take in a block of paired examples, float64 [m, p] and [m, q]."""
        k, other = x.square().sum(1), y.square().sum(1)
        self.n += x.shape[0]
        self.cross = self.cross + x.T @ y
        self.x = self.x + x.sum(0)
        self.y = self.y + y.sum(0)
        self.k = self.k + k.sum()
        self.l = self.l + other.sum()
        self.kl = self.kl + k @ other
        self.lx = self.lx + other @ x
        self.ky = self.ky + k @ y

    def hsic(self) -> float:
        """Unbiased HSIC, Song et al. 2012 (JMLR 13, eq. 5), of the linear kernels; in squared feature units.

        [tr(K̃L̃) + 1ᵀK̃1·1ᵀL̃1/((n−1)(n−2)) − 2/(n−2)·1ᵀK̃L̃1] / (n(n−3)), where the tilde sets the diagonal to 0.
        """
        n = self.n
        # Each of the three terms takes off what the diagonals put into its sum: the tilde sets them to 0.
        trace = self.cross.square().sum() - self.kl
        totals = (self.x.square().sum() - self.k) * (self.y.square().sum() - self.l)
        between = self.x @ self.cross @ self.y - self.lx @ self.x - self.ky @ self.y + self.kl
        total = trace + totals / ((n - 1) * (n - 2)) - 2 * between / (n - 2)
        return float(total) / (n * (n - 3))


def debiased_cka(blocks: Iterator[tuple[Tensor, Tensor]]) -> float | None:
    """Linear CKA (Kornblith et al. 2019) with the unbiased HSIC in all three places (Murphy et al. 2024).

    Unlike the usual estimator it does not rise towards 1 when there are fewer examples than features, and
    unlike a mean over batches it is one estimate over all examples.

    Args:
        blocks: paired float64 blocks [m, p], [m, q]; at least four examples in all.

    Returns:
        In [−1, 1]: 1 for features equal up to rotation and one scale, 0 on average for unrelated ones; None
        where either side does not vary.
    """
    both, first, second = Moments(), Moments(), Moments()
    origin: tuple[Tensor, Tensor] | None = None
    for x, y in blocks:
        # A shift leaves HSIC as it is; near the mean less of it is lost to rounding.
        origin = origin or (x.mean(0), y.mean(0))
        x_near, y_near = x - origin[0], y - origin[1]
        both.add(x_near, y_near)
        first.add(x_near, x_near)
        second.add(y_near, y_near)
    if origin is None or not (_varies(first, origin[0]) and _varies(second, origin[1])):
        return None
    return float(both.hsic() / (first.hsic() * second.hsic()) ** 0.5)


def _varies(moments: Moments, origin: Tensor) -> bool:
    """Whether there is more than rounding error in the features and in their HSIC."""
    # A quotient of two rounding errors would pass for a similarity.
    mean_square = float(moments.k / moments.n)
    return mean_square > 1e-24 * float(origin.square().sum()) and moments.hsic() > 1e-12 * mean_square**2


class Cka(Check[FeatureSubject, Sets[ExampleSet], NoSettings, FeaturesBySplit]):
    """Similarity of a model's features to the original's. It informs: to be similar is not to know.

    It reads one recorded vector per example and layer; of a language model, the residual stream averaged over the
    positions that predict the answer.
    """

    name: ClassVar[str] = "cka"
    family: ClassVar[Family] = "representation"
    may: ClassVar[May] = "inform"
    access: ClassVar[Access] = "weights"
    asks: ClassVar[tuple[type, ...]] = (Features,)
    requests: ClassVar[tuple[str, ...]] = ("class", "sample", "facts")
    summary: ClassVar[str] = (
        "Compared each layer's features with the original's by debiased linear CKA, forget and retain apart."
    )
    finds: ClassVar[str] = "By the likeness of its layers, the model kept"
    unit: ClassVar[str] = "CKA to the original on the forget set, mean over layers"
    figures: ClassVar[tuple[Figure, ...]] = (
        Figure(
            x="layer",
            y="cka",
            panels=("split",),
            categories=True,
            x_label="layer, from input to output",
            y_label="CKA to the original",
            caption="Similarity to the original. It informs only: similar is not the same as knowing.",
        ),
    )
    sources: ClassVar[tuple[Source, ...]] = (
        Source(
            paper="arXiv 2503.06991",
            here="similarity to the original layer by layer, without the bias of small batches; informs",
            part=True,
        ),
    )
    caveats: ClassVar[tuple[str, ...]] = (
        "CKA follows the directions of largest variance: outliers and shifts that leave classes as separable "
        "as before lower it, so a low value does not prove deletion.",
        "A model that starts from the original's initial weights stays more similar without ever having seen "
        "the forget set.",
    )

    def prepare(
        self, original: FeatureSubject, data: Sets[ExampleSet], settings: NoSettings, seed: int
    ) -> FeaturesBySplit:
        """Keep the original's features."""
        n_forget = len(data.forget_attack) + len(data.forget_eval)
        for name, n in (("forget", n_forget), ("retain", len(data.retain))):
            if n < SMALLEST_SET:
                raise UsageError(
                    f"the {name} set has {n} examples; debiased CKA needs {SMALLEST_SET} or more, supply them"
                )
        return {part: original.features(part) for parts in SPLITS.values() for part in parts}

    def score(
        self,
        subject: FeatureSubject,
        artefact: FeaturesBySplit,
        data: Sets[ExampleSet],
        settings: NoSettings,
        seed: int,
    ) -> Score:
        """CKA to the original at each layer; T is the mean over layers on the forget set."""
        own = {part: subject.features(part) for part in artefact}
        cells: list[Row] = []
        readings = {}
        for layer in subject.layers():
            # Each model by its own spread: rescaled units compute the same function and have to score the same.
            scales = _scales(artefact, layer), _scales(own, layer)
            for split, parts in SPLITS.items():
                value = debiased_cka(_blocks(artefact, own, layer, parts, scales))
                cells.append({"layer": layer, "split": split, "cka": value})
                if split == "forget":
                    readings[layer] = Reading(value=_defined(value, layer, subject.role))
        n = len(data.forget_attack) + len(data.forget_eval)
        return Score(check=self.name, readings=readings, n_examples=n, rows=cells)


# No stand-in for a missing value: a 0 would be averaged into T as dissimilarity.
def _defined(value: float | None, layer: str, role: str) -> float:
    if value is None:
        raise UsageError(
            f"the features of the {role} model or of the original at {layer!r} are the same for every forget "
            "example, so CKA is not defined; check the forget set and the preprocessing"
        )
    return value


def _scales(features: FeaturesBySplit, layer: str) -> Scaling:
    """By each unit's mean and spread on retain data, so that the size of a unit does not matter."""
    retain = features["retain"][layer].double()
    mean, std = retain.mean(0), retain.std(0)
    # A unit silent on retain data may still speak on forget data; there it sets its own scale.
    forget = torch.cat([features[part][layer].double() for part in SPLITS["forget"]]).std(0)
    std = torch.where(alive_by_own_mean(std, mean), std, forget)
    return Scaling(mean, divisor(std, alive_at_all(std)))


def _blocks(
    original: FeaturesBySplit,
    own: FeaturesBySplit,
    layer: str,
    parts: tuple[str, ...],
    scales: tuple[Scaling, Scaling],
) -> Iterator[tuple[Tensor, Tensor]]:
    """Paired z-scored features, float64, a block of examples at a time."""
    for part in parts:
        x, y = original[part][layer], own[part][layer]
        for rows_x, rows_y in zip(torch.split(x, _BLOCK), torch.split(y, _BLOCK), strict=True):
            yield scales[0](rows_x), scales[1](rows_y)

"""Whether a linear map finds captions for images of the forget set, given a few of them with theirs."""

from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from auditor.checks.check import Check, Workload
from auditor.checks.subject import Features
from auditor.errors import UsageError
from auditor.models.standardise import alive_at_all, factor
from auditor.probes.few_shot.one_shot import halves, log_rank
from auditor.randomness import generator
from auditor.records.access import Access
from auditor.records.base import Frozen
from auditor.records.evidence import Family, May
from auditor.records.figure import Figure
from auditor.records.score import Reading, Score
from auditor.tasks.clip.code import POOLED
from auditor.tasks.clip.subject import DualEncoder
from auditor.tasks.custom.sets import CustomSets

_Array = NDArray[np.float64]


class Settings(Frozen):
    """Sizes and draws."""

    shots: int = Field(default=16, ge=1, description="forget images with their captions that a probe is given, at most")
    draws: int = Field(default=8, ge=1, description="of these images, averaged")
    held_aside: int = Field(default=2000, ge=10, description="retain images that the probe is not taught on, at most")
    whitened: float = Field(default=1e-3, gt=0, description="share of a unit's variance added to every direction's")
    ridge: float = Field(default=1e-2, gt=0, description="of the probe, on whitened features")


class CaptionProbe(Check[DualEncoder, CustomSets, Settings, Tensor]):
    """The projection of images taught anew, by a ridge regression on *whitened* features.

    Features are what the image encoder ends with, pooled and averaged over positions, beside each other; whitened, so
    that what is kept in directions of little variance counts as what fills the space. Targets are the original's own
    embeddings of the captions, of retain images and of a few forget images (either side weighs half). x_i is the
    log-rank of a forget eval image's own caption among those of the audit, averaged over draws.

    ``few_shot`` and the probe of ``retrieval`` ask which *images* are of forget, by units or with a strong ridge; this
    asks what the model knows *of* them.
    """

    name: ClassVar[str] = "caption_probe"
    family: ClassVar[Family] = "representation"
    may: ClassVar[May] = "accuse"
    access: ClassVar[Access] = "weights"
    tasks: ClassVar[tuple[str, ...]] = ("clip",)
    asks: ClassVar[tuple[type, ...]] = (Features,)
    requests: ClassVar[tuple[str, ...]] = ("class",)
    summary: ClassVar[str] = (
        "Taught a linear map from image features to captions on a few forgotten images and looked how far up it then "
        "ranks the captions of the others."
    )
    finds: ClassVar[str] = "Given a few forgotten images with captions, a linear map of the image features found"
    unit: ClassVar[str] = "log-rank of the own caption (0 to 1)"
    cost: ClassVar[str] = "one pass of forget and retain through the image encoder"
    figures: ClassVar[tuple[Figure, ...]] = (
        Figure(
            x="way",
            y="value",
            categories=True,
            joined=False,
            x_label="way of reading",
            y_label="log-rank of the own caption (0 to 1)",
            caption=(
                "How far up a linear map of image features, taught on a few forgotten images, ranks the captions of "
                "the others: 1 always first, 0 always last."
            ),
        ),
    )
    caveats: ClassVar[tuple[str, ...]] = (
        "A linear map is taught: what takes more than that to read, this does not find.",
    )
    settings_type: ClassVar[type[Frozen]] = Settings

    def workload(self, data: CustomSets, settings: Settings, n_layers: int) -> Workload:
        """The sets once more, for what stands at the positions."""
        return Workload(forward=len(data.forget_attack) + len(data.forget_eval) + len(data.retain))

    def prepare(self, original: DualEncoder, data: CustomSets, settings: Settings, seed: int) -> Tensor:
        """The original's embeddings of all captions, float64 [captions, width]."""
        texts: Tensor = torch.nn.functional.normalize(original.embedded(_captions(original, data)).double(), dim=1)
        return texts

    def score(self, subject: DualEncoder, artefact: Tensor, data: CustomSets, settings: Settings, seed: int) -> Score:
        """Measure one model.

        Raises:
            UsageError: there is one caption alone, so that none can be told from others.
        """
        rows = _captions(subject, data)
        attack, evaluation, retain = (_features(subject, split, data) for split in _SPLITS)
        own = [_places(getattr(data, split).targets, rows) for split in _SPLITS]
        background, _ = halves(len(retain), settings.held_aside, seed)
        kept, random = retain[background], generator(seed, "caption probe")
        found = []
        for _ in range(settings.draws):
            few = torch.from_numpy(random.permutation(len(attack))[: settings.shots])
            x, answer = _whitened(attack[few], kept, evaluation, settings.whitened)
            targets = artefact[torch.cat([own[0][few], own[2][background]])]
            probe = _ridge(x, targets, len(few), settings.ridge)
            found.append(_ranks(_with_one(answer) @ probe, artefact, own[1]))
        values = np.mean(found, axis=0)
        return Score(
            check=self.name,
            readings={"linear map": Reading(value=float(values.mean()), examples=tuple(values.tolist()))},
            n_examples=len(values),
            rows=[{"way": "linear map", "value": float(values.mean()), "n": len(values)}],
        )


_SPLITS = ("forget_attack", "forget_eval", "retain")


def _captions(subject: DualEncoder, data: CustomSets) -> Tensor:
    rows: Tensor = torch.cat([subject.captions, *(getattr(data, split).targets for split in _SPLITS)]).unique(dim=0)
    if len(rows) < 2:
        raise UsageError("caption_probe tells captions apart, and all of forget and retain are one")
    return rows


def _places(targets: Tensor, rows: Tensor) -> Tensor:
    _, places = torch.cat([rows, targets]).unique(dim=0, return_inverse=True)
    own: Tensor = places[len(rows) :]
    return own


def _features(subject: DualEncoder, split: str, data: CustomSets) -> Tensor:
    return torch.cat([subject.features(split)[POOLED], subject.positions(getattr(data, split))], 1).double()


def _whitened(few: Tensor, kept: Tensor, evaluation: Tensor, least: float) -> tuple[Tensor, Tensor]:
    """(of the probe's images, of those it is asked about), by mean and covariance of the former."""
    seen = torch.cat([few, kept])
    scale, mean = seen.std(0), kept.mean(0)
    weight = factor(scale, alive_at_all(scale))
    x = (seen - mean) * weight
    values, directions = torch.linalg.eigh(x.T @ x / len(x))
    turn = directions / (values.clamp_min(0.0) + least).sqrt()
    return x @ turn, (evaluation - mean) * weight @ turn


def _ridge(x: Tensor, targets: Tensor, few: int, ridge: float) -> Tensor:
    # Both sides weigh the same, however many images either has.
    sides = torch.full((len(x),), 0.5 / (len(x) - few), dtype=x.dtype)
    sides[:few] = 0.5 / few
    rows = _with_one(x)
    weighted = (rows * sides[:, None]).T
    probe: Tensor = torch.linalg.solve(
        weighted @ rows + ridge * torch.eye(rows.shape[1], dtype=x.dtype), weighted @ targets
    )
    return probe


def _with_one(x: Tensor) -> Tensor:
    return torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], 1)


def _ranks(found: Tensor, texts: Tensor, own: Tensor) -> _Array:
    similar = torch.nn.functional.normalize(found, dim=1) @ texts.T
    mine = similar.gather(1, own[:, None])
    others = similar[torch.ones_like(similar, dtype=torch.bool).scatter(1, own[:, None], False)]
    pairs = zip(mine, others.reshape(len(similar), -1), strict=True)
    return np.array([log_rank(a.numpy(), b.numpy())[0] for a, b in pairs])

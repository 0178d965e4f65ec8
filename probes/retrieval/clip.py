"""Whether images of the forget set are still found by captions, and captions by them, and by a few or many others."""

from collections.abc import Mapping
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
from auditor.records.base import Frozen, Row
from auditor.records.evidence import Family, May
from auditor.records.figure import Figure
from auditor.records.score import Reading, Score
from auditor.records.source import Source
from auditor.tasks.clip.code import EMBEDDING, POOLED
from auditor.tasks.clip.subject import DualEncoder
from auditor.tasks.custom.sets import CustomSets

TO_TEXT, TO_IMAGE, FEW, PROBE = "image to text", "text to image", "a few images", "linear probe"
_Array = NDArray[np.float64]


class Settings(Frozen):
    """Sizes and draws."""

    shots: int = Field(default=8, ge=1, description="images whose mean embedding asks for others, at most")
    draws: int = Field(default=8, ge=1, description="of these images, averaged")
    held_aside: int = Field(default=2000, ge=10, description="retain images ranked against, at most")
    ridge: float = Field(default=1.0, gt=0, description="of the linear probe, on z-scored features, a share of n")


class Retrieval(Check[DualEncoder, CustomSets, Settings, None]):
    """Four ways to find an image of the forget eval half, each a log-rank in [0, 1] (:func:`log_rank`), averaged.

    With v the embedding of an image and t that of a caption, both of unit length,

    - image to text: the rank of v·t of its own caption among those of all captions of the audit (zero-shot),
    - text to image: the rank of v·t of its own caption among those of the same caption and retain images,
    - a few images: the rank of v·c among retain images, c the mean of v over a few images of the attack half,
    - linear probe: the rank of w·f among retain images, w the ridge regression of "of forget" on pooled features f,
      z-scored on retain, from the attack half and as many retain images as are not ranked against.

    The first two are behaviour, the others what lies behind it: a text encoder that was turned away, or a projection,
    shuts the first two and leaves the last. References find new images of what they never saw by the last two as well,
    since pixels tell; what counts is how much better a model does.
    """

    name: ClassVar[str] = "retrieval"
    family: ClassVar[Family] = "representation"
    may: ClassVar[May] = "accuse"
    access: ClassVar[Access] = "weights"
    tasks: ClassVar[tuple[str, ...]] = ("clip",)
    asks: ClassVar[tuple[type, ...]] = (Features,)
    # Of listed samples nothing says that one of them looks like another.
    requests: ClassVar[tuple[str, ...]] = ("class",)
    summary: ClassVar[str] = (
        "Looked for images of the forget set by their captions, by a few others of them and by a linear probe, and for "
        "the captions by the images."
    )
    finds: ClassVar[str] = "Searching images by captions, by other images and by a probe, the model still holds"
    unit: ClassVar[str] = "log-rank of what is looked for, mean of four ways (0 to 1)"
    cost: ClassVar[str] = "one pass of the captions through the text encoder"
    figures: ClassVar[tuple[Figure, ...]] = (
        Figure(
            x="way",
            y="value",
            categories=True,
            joined=False,
            x_label="way of searching",
            y_label="log-rank (0 to 1)",
            caption=(
                "How far up the right image or caption stands: 1 always first, 0 always last. Where the first two ways "
                "fail and the others find more than references do, the image encoder knows what captions no longer ask."
            ),
        ),
    )
    sources: ClassVar[tuple[Source, ...]] = (
        Source(paper="arXiv 2103.00020", here="zero-shot and few-shot recognition and linear probes", part=True),
        Source(paper="arXiv 2510.08132", here="recognition in a domain that was to be forgotten", part=True),
    )
    caveats: ClassVar[tuple[str, ...]] = (
        "What differs from retain in its pixels is found by any image encoder, and then four ways show little gap.",
    )
    settings_type: ClassVar[type[Frozen]] = Settings

    def workload(self, data: CustomSets, settings: Settings, n_layers: int) -> Workload:
        """The captions, each once."""
        return Workload(forward=len(_distinct(data)))

    def score(self, subject: DualEncoder, artefact: None, data: CustomSets, settings: Settings, seed: int) -> Score:
        """Measure one model from its recordings and its captions.

        Raises:
            UsageError: there is one caption alone, so that none can be told from others.
        """
        found = _searched(subject, data, settings, seed)
        return Score(
            check=self.name,
            readings={
                way: Reading(value=float(values.mean()), examples=tuple(values.tolist()))
                for way, values in found.items()
            },
            n_examples=len(data.forget_eval),
            rows=[_row(way, values) for way, values in found.items()],
        )


def _searched(subject: DualEncoder, data: CustomSets, settings: Settings, seed: int) -> Mapping[str, _Array]:
    """Log-ranks of every eval image by way of searching, float64 [n] each."""
    background, aside = halves(len(data.retain), settings.held_aside, seed)
    attack, evaluation, retain = (_unit(subject.features(s)[EMBEDDING]) for s in _SPLITS)
    rows, own = _captions(subject, data)
    texts = _unit(subject.embedded(rows))
    random = generator(seed, "retrieval")
    shots = [attack[torch.from_numpy(random.permutation(len(attack))[: settings.shots])] for _ in range(settings.draws)]
    asked = torch.stack([some.mean(0) for some in shots], 1)
    return {
        TO_TEXT: _among_captions(evaluation @ texts.T, own),
        TO_IMAGE: _by_column((evaluation * texts[own]).sum(1), retain[aside] @ texts.T, own),
        FEW: np.mean(
            [_ranked(*pair) for pair in zip((evaluation @ asked).T, (retain[aside] @ asked).T, strict=True)], 0
        ),
        PROBE: _probed(subject, background, aside, settings.ridge),
    }


_SPLITS = ("forget_attack", "forget_eval", "retain")


def _captions(subject: DualEncoder, data: CustomSets) -> tuple[Tensor, Tensor]:
    """Captions of the audit and of the eval half, int64 [captions, length], and the place of each eval image's own."""
    rows, places = torch.cat([subject.captions, data.forget_eval.targets]).unique(dim=0, return_inverse=True)
    if len(rows) < 2:
        raise UsageError(
            "retrieval tells captions apart, and all of forget and retain are one; caption retain otherwise"
        )
    return rows, places[len(subject.captions) :]


def _distinct(data: CustomSets) -> Tensor:
    targets = (data.forget_attack.targets, data.forget_eval.targets, data.retain.targets)
    rows: Tensor = torch.cat(targets).unique(dim=0)
    return rows


def _among_captions(similar: Tensor, own: Tensor) -> _Array:
    """Log-rank of each image's own caption among the others.

    Args:
        similar: of eval images to captions, [n, captions].
        own: place of each image's own, int64 [n].
    """
    kept = torch.ones_like(similar, dtype=torch.bool).scatter(1, own[:, None], False)
    others = similar[kept].reshape(len(similar), -1)
    mine = similar.gather(1, own[:, None])
    return np.array([_ranked(a, b)[0] for a, b in zip(mine, others, strict=True)])


def _by_column(mine: Tensor, retain: Tensor, own: Tensor) -> _Array:
    """Log-rank of each image for its own caption, among retain images for the same one.

    Args:
        mine: similarity of each eval image to its own caption, [n].
        retain: of retain images to captions, [N, captions].
        own: place of each eval image's caption, int64 [n].
    """
    found = np.zeros(len(mine))
    for place in own.unique():
        here = own == place
        found[here.numpy()] = _ranked(mine[here], retain[:, place])
    return found


def _probed(subject: DualEncoder, background: Tensor, aside: Tensor, ridge: float) -> _Array:
    attack, evaluation, retain = (subject.features(s)[POOLED].double() for s in _SPLITS)
    seen = torch.cat([attack, retain[background]])
    scale = seen.std(0)
    weight = factor(scale, alive_at_all(scale))
    mean = retain[background].mean(0)
    x = (seen - mean) * weight
    # Both sides weigh the same, however many images either has.
    sides = torch.cat(
        [torch.full((len(attack),), 0.5 / len(attack)), torch.full((len(background),), 0.5 / len(background))]
    )
    y = torch.cat([torch.ones(len(attack)), -torch.ones(len(background))]).double()
    weighted = x * sides.double()[:, None]
    probe = torch.linalg.solve(weighted.T @ x + ridge * torch.eye(x.shape[1], dtype=x.dtype), weighted.T @ y)
    return _ranked((evaluation - mean) * weight @ probe, (retain[aside] - mean) * weight @ probe)


def _ranked(mine: Tensor, others: Tensor) -> _Array:
    return log_rank(mine.double().numpy(), others.double().numpy())


def _unit(rows: Tensor) -> Tensor:
    return torch.nn.functional.normalize(rows.double(), dim=1)


def _row(way: str, values: _Array) -> Row:
    return {"way": way, "value": float(values.mean()), "n": len(values)}

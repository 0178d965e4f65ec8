"""What can be seen wrong in the inputs before any model is run.

What is surely wrong raises, with the field and the fix; what is only odd becomes a line of the plan's notes.
"""

from collections.abc import Mapping

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from auditor.checks.sets import PAIRS, near_duplicates
from auditor.errors import DataError
from auditor.tasks.classification.sets import Examples

_OTHER_SCALE = 8.0
"""Sets of one kind of image differ in their largest value by less than this; 0-255 beside 0-1 is a factor of 255."""
_FAR = 10.0
"""Standard deviations from 0 that no usual normalisation reaches: 1 to 5 are common."""
_LOOKED_AT = 512
_GRID = 8
_NEAR = 0.01
"""Root mean square difference of two 8x8 thumbnails, in units of the largest value, below which images look alike."""
_CHUNK = 1024


def check_examples(sets: Mapping[str, Examples]) -> list[str]:
    """Lines about image sets.

    Args:
        sets: by name, restricted and free of exact duplicates.

    Raises:
        DataError: retain has one class, or a set has values of another scale.
    """
    retain = sets["retain"]
    only = sorted({int(label) for label in retain.labels})
    if len(only) == 1:
        raise DataError(
            f"retain: every example has label {only[0]}; give data.retain examples of two or more classes, since a "
            "model that says the same of everything would pass on one"
        )
    largest = {name: _largest(examples) for name, examples in sets.items()}
    _check_scales(largest)
    return [*_negative(sets), *_far_out(retain), *_near_duplicates(sets, largest["retain"])]


def _largest(examples: Examples) -> float:
    """Largest absolute value, on the scale that preprocessing starts from."""
    low, high = (float(value) for value in examples.raw.aminmax())
    return max(-low, high) / (255.0 if examples.raw.dtype == torch.uint8 else 1.0)


def _check_scales(largest: Mapping[str, float]) -> None:
    retain = largest["retain"]
    for name, value in largest.items():
        # A set of zeros has no scale to compare.
        if min(value, retain) > 0 and max(value, retain) >= _OTHER_SCALE * min(value, retain):
            raise DataError(
                f"{name}: values reach {value:g}, those of retain {retain:g}, so one of the two is on another scale; "
                f"give data.{name} and data.retain both as whole numbers from 0 to 255 (uint8) or both from 0 to 1"
            )


def _negative(sets: Mapping[str, Examples]) -> list[str]:
    below = {name: bool((examples.raw < 0).any()) for name, examples in sets.items()}
    odd = [name for name, some in below.items() if some != below["retain"]]
    if not odd:
        return []
    other = "has none" if below[odd[0]] else "has some"
    some = "holds" if below[odd[0]] else "holds no"
    return [f"{odd[0]} {some} negative values and retain {other}: was one of the two normalised already?"]


def _far_out(retain: Examples) -> list[str]:
    few = retain.take(torch.arange(min(_LOOKED_AT, len(retain))))
    reach = float(few.inputs.abs().max())
    if retain.preprocessing.std is None or reach <= _FAR:
        return []
    return [
        f"data.mean and data.std put inputs up to {reach:.0f} standard deviations from 0, where 1 to 5 are usual: are "
        "they those that the original was trained with?"
    ]


def _near_duplicates(sets: Mapping[str, Examples], scale: float) -> list[str]:
    thumbnails = {name: _thumbnails(x.raw, scale) for name, x in sets.items() if x.raw.ndim == 4 and scale > 0}
    found = []
    for kept, other in PAIRS:
        if kept in thumbnails and other in thumbnails:
            # The tree measures lengths: a root mean square over 8x8 values times 8.
            limit = _NEAR * _GRID
            # A tree, since the cost of comparing every pair grows with the product of both sizes.
            distance, _ = cKDTree(thumbnails[kept]).query(thumbnails[other], distance_upper_bound=limit)
            found += near_duplicates(kept, other, np.flatnonzero(np.isfinite(distance)).tolist(), "examples")
    return found


def _thumbnails(raw: Tensor, scale: float) -> np.ndarray:
    """Grey 8x8 means of each image in units of the largest value, float32 [n, 64]."""
    unit = scale * (255.0 if raw.dtype == torch.uint8 else 1.0)
    # In pieces: as float32 all images at once would take four times the memory of a set of bytes.
    parts = [
        torch.nn.functional.adaptive_avg_pool2d(part.float().mean(1, keepdim=True), _GRID).flatten(1) / unit
        for part in raw.split(_CHUNK)
    ]
    return torch.cat(parts).numpy()

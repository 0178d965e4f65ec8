"""What can be seen wrong in the inputs before any model is run.

What is surely wrong raises, with the field and the fix; what is only odd becomes a line of the plan's notes.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from auditor.data import Examples
from auditor.errors import DataError, ModelError
from auditor.facts import Fact, Facts
from auditor.loading.tokenizers import TOKENIZER, load_tokenizer
from auditor.models.lineup import Lineup
from auditor.subjects.encoding import Encoder

_OTHER_SCALE = 8.0
"""Sets of one kind of image differ in their largest value by less than this; 0-255 beside 0-1 is a factor of 255."""
_FAR = 10.0
"""Standard deviations from 0 that no usual normalisation reaches: 1 to 5 are common."""
_LOOKED_AT = 512
_GRID = 8
_NEAR = 0.01
"""Root mean square difference of two 8x8 thumbnails, in units of the largest value, below which images look alike."""
_CHUNK = 1024
_FEW_FACTS = 16
_PAIRS = (
    *(("forget", "retain"), ("forget", "retain_test"), ("forget", "holdout"), ("forget", "control")),
    *(("retain", "retain_test"), ("retain", "holdout"), ("retain", "control")),
)


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


def check_facts(sets: Mapping[str, Facts]) -> list[str]:
    """Lines about sets of facts: the same words in two sets, punctuation and case aside.

    Args:
        sets: by name, free of facts that are the same but for white space and case.
    """
    words = {name: [_words(fact) for fact in facts.items] for name, facts in sets.items()}
    found = []
    for kept, other in _PAIRS:
        if other in words:
            known = set(words[kept])
            found += _alike(kept, other, [i for i, fact in enumerate(words[other]) if fact in known], "facts")
    return found


def check_tokenizers(lineup: Lineup, encoder: Encoder, retain: Facts, base: Path, named: bool) -> list[str]:
    """Whether the models' own tokenizers, where they bring one, give the tokens that the audit feeds them.

    Args:
        lineup: the models.
        encoder: with the tokenizer that every model is read with.
        retain: facts to try them on.
        base: folder that paths are relative to.
        named: whether that tokenizer was named by the user, who then may know better.

    Raises:
        ModelError: another tokenizer, where none was named.
    """
    few = retain.items[:_FEW_FACTS]
    wanted = _tokens(encoder, few)
    found = []
    for entry in lineup.entries.values():
        source = entry.planned.source
        if source is None or not (base / source / TOKENIZER).is_file():
            continue
        if _tokens(encoder.with_tokenizer(load_tokenizer(base / source)), few) != wanted:
            words = f"{source}: its {TOKENIZER} gives other tokens for retain facts than the one used for every model"
            if not named:
                raise ModelError(f"{words}; give models of one tokenizer, or name it in models.tokenizer")
            found.append(f"{words}, models.tokenizer")
    return found


def _tokens(encoder: Encoder, facts: Sequence[Fact]) -> list[list[int]] | None:
    """Token ids of each fact; None where they are none that the audit could use."""
    try:
        return [encoder.encode(fact)[0] for fact in facts]
    except DataError:
        return None


def check_pair(lineup: Lineup) -> list[str]:
    """A line where original and unlearned are one model; none where no unlearned model is judged."""
    if "unlearned" not in lineup.entries:
        return []
    pair = lineup.entries["original"].planned, lineup.entries["unlearned"].planned
    if pair[0].digest != pair[1].digest:
        return []
    return ["the unlearned model holds the same weights as the original: was one file given twice?"]


def _largest(examples: Examples) -> float:
    """Largest absolute value, on the scale that preprocessing starts from."""
    low, high = (float(value) for value in examples.raw.aminmax())
    return max(-low, high) / (255.0 if examples.raw.dtype == torch.uint8 else 1.0)


def _check_scales(largest: Mapping[str, float]) -> None:
    retain = largest["retain"]
    for name, value in largest.items():
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
    for kept, other in _PAIRS:
        if kept in thumbnails and other in thumbnails:
            limit = _NEAR * _GRID
            distance, _ = cKDTree(thumbnails[kept]).query(thumbnails[other], distance_upper_bound=limit)
            found += _alike(kept, other, np.flatnonzero(np.isfinite(distance)).tolist(), "examples")
    return found


def _thumbnails(raw: Tensor, scale: float) -> np.ndarray:
    """Grey 8x8 means of each image in units of the largest value, float32 [n, 64]."""
    unit = scale * (255.0 if raw.dtype == torch.uint8 else 1.0)
    parts = [
        torch.nn.functional.adaptive_avg_pool2d(part.float().mean(1, keepdim=True), _GRID).flatten(1) / unit
        for part in raw.split(_CHUNK)
    ]
    return torch.cat(parts).numpy()


def _alike(kept: str, other: str, positions: list[int], what: str) -> list[str]:
    if not positions:
        return []
    some = ", ".join(map(str, positions[:5])) + (", …" if len(positions) > 5 else "")
    return [
        f"near duplicates: {len(positions)} {what} of {other} all but equal {what} of {kept} (positions {some}); "
        "leave them out of one of the two sets unless they differ in what matters"
    ]


def _words(fact: Fact) -> str:
    """Prompt and answer without punctuation, case and white space.

    >>> _words(Fact(prompt="Where is Bo?", answer="In  Oslo.")) == _words(Fact(prompt="where is bo", answer="in Oslo"))
    True
    """
    return "|".join(" ".join(re.findall(r"\w+", text.casefold())) for text in (fact.prompt, fact.answer))

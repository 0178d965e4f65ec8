"""Does a measure stay where it is when a model is changed in ways that add no knowledge, or add the same to all?

The form of the literature (arXiv 2506.12618, 2605.24614): every model is rounded to 4 bits, or trained a little on
forgotten examples, and measured again. What a model without the knowledge gains by that is the yardstick.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import tables
import torch
from bounds import auc
from image_worlds import ImageWorld
from pairs import Row
from subjects import Maker, World, subjects
from torch import nn

from auditor.attacks.quantization.images import QUANTIZED, round_to_nearest
from auditor.attacks.quantization.text import rounded
from auditor.models.training import continue_from, train
from auditor.randomness import generator
from auditor.records.spec import RecipeSpec
from auditor.tasks.causal_lm.losses import answers_of
from auditor.tasks.classification.editing import joined

BITS = 4  # as the literature rounds
SHOTS = 8
RETAINED = 24
RELEARNING = RecipeSpec(epochs=2, batch_size=16, learning_rate=1e-3)
# Two constructions that a small training can undo and two that it cannot, beside what was published.
CHOSEN = (
    "retrain",
    "head_relabelling",
    "direction_projection",
    "low_rank_adapter",
    "refusal_adapter",
    "embedding_corruption",
    "neg_grad_plus",
    "random_labels",
    "scrub",
    "gradient_difference",
    "npo",
    "refusal_tuning",
)


def altered(world: World) -> Iterator[Maker]:
    """The chosen subjects of a world, each in both alterations; the variant says which."""
    ways: dict[str, Callable[[World, nn.Module], nn.Module]] = {"4 bits": in_four_bits, "relearnt": relearnt}
    for maker in subjects(world, rescaled=False, unknown=True):
        if maker.mechanism not in CHOSEN:
            continue
        for name, way in ways.items():
            variant = f"{maker.variant} {name}".strip()
            yield replace(maker, variant=variant, make=lambda maker=maker, way=way: way(world, maker.make()))


def in_four_bits(world: World, module: nn.Module) -> nn.Module:
    """A copy with every matrix and convolution rounded to four bits, per output channel."""
    from transformers.pytorch_utils import Conv1D

    copy = continue_from(module)().eval()
    with torch.no_grad():
        for part in copy.modules():
            if isinstance(part, Conv1D):
                part.weight.copy_(rounded(part.weight, BITS, inputs_first=True))
            elif isinstance(part, QUANTIZED):
                part.weight.copy_(round_to_nearest(part.weight, BITS))
    return copy


def relearnt(world: World, module: nn.Module) -> nn.Module:
    """A copy trained two epochs on eight forgotten and 24 retained examples."""
    # By world, not by subject: all subjects are retrained on the same examples.
    random = generator(world.seed, "relearnt")
    few = [random.permutation(len(split))[:n] for split, n in zip(_splits(world), (SHOTS, RETAINED), strict=True)]
    if isinstance(world, ImageWorld):
        picks = [torch.from_numpy(chosen) for chosen in few]
        examples = joined(world.sets.forget.take(picks[0]), world.sets.retain.take(picks[1]))
        return train(continue_from(module), examples, RELEARNING, world.seed)
    forget, retain = (split.take(chosen.tolist()) for split, chosen in zip(_splits(world), few, strict=True))
    facts = type(forget)(forget.items + retain.items)
    return train(continue_from(module), facts, RELEARNING, world.seed, loss=answers_of(world.encoder))


def _splits(world: World):
    sets = world.sets if isinstance(world, ImageWorld) else world.people
    return sets.forget, sets.retain


def table(rows: Sequence[Row], changed: Sequence[Row]) -> pd.DataFrame:
    """How far each measure moves, and whether it still tells suppressed from deleted.

    A value is brought to the scale on which the world's deleted models are 0 on average and its original is 1.
    ``moved`` are median differences, altered less unaltered; a measure is robust where suppressed models move no more
    than deleted ones. ``AUC`` compares the altered ones with each other.
    """
    before = {(_world_of(row), _subject_of(row)): row for row in rows}
    lines = []
    for task, way in sorted({(row["task"], _way_of(row)) for row in changed}):
        here = [row for row in changed if (row["task"], _way_of(row)) == (task, way)]
        for name in tables.measures(here):
            line: Row = {"task": task, "alteration": way, "measure": name}
            for label, title in (("deleted", "deleted"), ("suppressed", "suppressed"), ("unknown", "as published")):
                moves = [_move(row, name, rows, before) for row in here if row["label"] == label]
                line[f"moved, {title}"] = _median(moves)
            line["AUC before"] = _area([before[_world_of(row), _subject_of(row)] for row in here], name)
            line["AUC after"] = _area(here, name)
            lines.append(line)
    return pd.DataFrame(lines)


def _world_of(row: Row) -> tuple[str, str, int]:
    return row["original"], row["request"], row["target"]


def _subject_of(row: Row) -> tuple[str, str]:
    variant = row["variant"]
    for way in ("4 bits", "relearnt"):
        variant = variant.removesuffix(way).strip()
    return row["mechanism"], variant


def _way_of(row: Row) -> str:
    return "4 bits" if row["variant"].endswith("4 bits") else "relearnt"


def _move(row: Row, name: str, rows: Sequence[Row], before: dict) -> float | None:
    mates = [mate for mate in rows if _world_of(mate) == _world_of(row)]
    gone = _present([mate for mate in mates if mate["label"] == "deleted"], name)
    known = _present([mate for mate in mates if mate["mechanism"] == "original"], name)
    pair = _present([before[_world_of(row), _subject_of(row)], row], name)
    # Without both ends there is no scale to bring the value to.
    if not gone or not known or len(pair) < 2 or known[0] == float(np.mean(gone)):
        return None
    return (pair[1] - pair[0]) / (known[0] - float(np.mean(gone)))


def _present(rows: Sequence[Row], name: str) -> list[float]:
    values = [tables.value_of(row, name) for row in rows]
    return [value for value in values if value is not None]


def _median(found: Sequence[float | None]) -> float | None:
    return pd.Series([value for value in found if value is not None], dtype=float).median()


def _area(rows: Sequence[Row], name: str) -> float | None:
    yes, no = (_present([row for row in rows if row["label"] == label], name) for label in ("suppressed", "deleted"))
    area = auc(yes, no)
    return None if area is None else round(area, 3)

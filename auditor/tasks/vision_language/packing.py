"""A picture and its question as one row of whole numbers, and what a model is given for it.

Inputs are int64 [n, channels·height·width + length]: the picture's numbers, as the model takes them, in units of 2⁻¹⁶,
and then the ids of the question's tokens. Whole numbers, since an audit that computes in bfloat16 brings real ones into
that type, and no id above 256 would survive it. Targets are the ids of the answer's tokens, int64 [n, length]. Where
questions or answers are of several lengths the shorter ones end in −1.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from auditor.errors import DataError, ModelError

ABSENT = -1
"""Stands behind the last token of a question or an answer that is shorter than others of its set."""
_UNIT = 2.0**16
_LARGEST = 2.0**15


def pack(pictures: Tensor, questions: Tensor, answers: Tensor) -> tuple[Tensor, Tensor]:
    """Inputs and targets of an audit's sets.

    Args:
        pictures: as the model takes them, floats [n, channels, height, width].
        questions: ids of tokens, whole numbers [n, length], filled up with −1.
        answers: likewise.

    Raises:
        DataError: shapes do not fit each other, numbers are not finite, or an example has no question or no answer.

    >>> inputs, targets = pack(torch.zeros(1, 3, 2, 2), torch.tensor([[5, 6]]), torch.tensor([[7]]))
    >>> inputs.shape, targets.tolist()
    (torch.Size([1, 14]), [[7]])
    """
    n = len(pictures)
    if pictures.ndim != 4 or questions.ndim != 2 or answers.ndim != 2 or {len(questions), len(answers)} != {n}:
        shapes = ", ".join(str(list(part.shape)) for part in (pictures, questions, answers))
        raise DataError(
            f"pictures, questions and answers have shapes {shapes}; give [n, channels, height, width], [n, length] and "
            "[n, length]"
        )
    if not bool((pictures.abs() < _LARGEST).all()):
        raise DataError("pictures hold NaN, infinite values or numbers beyond 32768; give them as the model takes them")
    for name, ids in (("question", questions), ("answer", answers)):
        if ids.is_floating_point() or not bool((ids >= ABSENT).all()):
            raise DataError(f"{name}s have to be whole numbers, ids of tokens, with -1 behind the last of each")
        empty = (ids != ABSENT).sum(1) == 0
        if bool(empty.any()):
            raise DataError(f"example {int(empty.int().argmax()) + 1} has no {name}; give it one or leave it out")
        _refuse_holes(ids, name)
    numbers = (pictures.double() * _UNIT).round().long().flatten(1)
    return torch.cat([numbers, questions.long()], dim=1), answers.long()


def unpacked(inputs: Tensor, shape: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    """Pictures float32 [n, channels, height, width] and questions int64 [n, length] of packed inputs.

    Args:
        inputs: as :func:`pack` gives them.
        shape: of a picture.

    Raises:
        DataError: they are no such rows.
    """
    size = shape[0] * shape[1] * shape[2]
    if inputs.is_floating_point() or inputs.ndim != 2 or inputs.shape[1] <= size:
        raise DataError(
            f"inputs have shape {list(inputs.shape)} and the model takes pictures of shape {list(shape)} and a "
            "question; make them by auditor.tasks.vision_language.packing.pack"
        )
    # 2⁻¹⁶ of a number below 2¹⁵ needs more digits than float32 has; as the model takes it, it has no more.
    return (inputs[:, :size].double() / _UNIT).float().reshape(-1, *shape), inputs[:, size:]


@dataclass(frozen=True, kw_only=True)
class Sequences:
    """What a model is given for some examples.

    Attributes:
        pictures: [n, channels, height, width], of the model's type.
        ids: of all tokens, those of the picture among them, int64 [n, length].
        image: which of them stand for the picture, bool [n, length].
        places: where each token of the answer is predicted, int64 [n, answer length].
        present: which tokens of the answer there are, bool [n, answer length].
    """

    pictures: Tensor
    ids: Tensor
    image: Tensor
    places: Tensor
    present: Tensor


def sequences(model: nn.Module, inputs: Tensor, answers: Tensor | None = None) -> Sequences:
    """Pictures and tokens of some examples, for one model.

    A question without the model's image token is asked after the picture; one that holds it once has the picture there.
    What is missing of a row's length is filled up behind its end, where nothing before it looks.

    Args:
        model: of LLaVA's shape.
        inputs: as :func:`pack` gives them.
        answers: ids, [n, length]; without them the sequence ends where the answer would begin.

    Raises:
        ModelError: the model is of another shape, or the rows are too short for its pictures.
        DataError: a question holds the image token twice, or an id that the model does not know.
    """
    shape, image_token, length = _facts_of(model)
    pictures, asked = unpacked(inputs, shape)
    told = answers if answers is not None else inputs.new_full((len(inputs), 1), ABSENT)
    question = _with_image_token(asked, image_token)
    _refuse_unknown(model, question, told)
    ids = _closed_up(torch.cat([question, told[:, :-1]], dim=1))
    ids, image = _expanded(ids, image_token, length)
    # The last token of the question predicts the first of the answer.
    last = (question != ABSENT).sum(1) + length - 2
    places = last[:, None] + torch.arange(told.shape[1], device=inputs.device)
    # Where an answer has ended its places point at the filling; what is read there is not counted.
    places = places.clamp(max=ids.shape[1] - 1)
    filling = 0 if image_token != 0 else 1
    dtype = next(parameter.dtype for parameter in model.parameters() if parameter.is_floating_point())
    return Sequences(
        pictures=pictures.to(dtype),
        ids=ids.masked_fill(ids == ABSENT, filling),
        image=image,
        places=places,
        present=told != ABSENT,
    )


def picture_shape(model: nn.Module) -> tuple[int, int, int]:
    """Channels, height and width of the pictures that a model takes.

    Raises:
        ModelError: it is not of LLaVA's shape.
    """
    return _facts_of(model)[0]


def _facts_of(model: nn.Module) -> tuple[tuple[int, int, int], int, int]:
    """Shape of its pictures, its image token, and how many tokens a picture is."""
    config = getattr(model, "config", None)
    vision = getattr(config, "vision_config", None)
    side, token = getattr(vision, "image_size", None), getattr(config, "image_token_id", None)
    length = getattr(config, "image_seq_length", None)
    if not isinstance(side, int) or not isinstance(token, int) or not isinstance(length, int):
        raise ModelError(
            f"a {type(model).__name__} is not of LLaVA's shape: its config has to say vision_config.image_size, "
            "image_token_id and image_seq_length; audit other models with models.task = module.py:Class"
        )
    return (int(getattr(vision, "num_channels", 3)), side, side), token, length


def _refuse_unknown(model: Any, *parts: Tensor) -> None:
    _refuse_holes(parts[-1], "answer")
    known = model.get_input_embeddings().num_embeddings
    largest = max(int(part.max()) for part in parts)
    if largest >= known:
        raise DataError(f"token {largest} stands in a set and the model knows {known} tokens; use its own tokenizer")


def _refuse_holes(ids: Tensor, name: str) -> None:
    """Behind a gap every token would be looked for in the wrong place."""
    holes = ((ids[:, 1:] != ABSENT) & (ids[:, :-1] == ABSENT)).any(1)
    if bool(holes.any()):
        raise DataError(
            f"example {int(holes.int().argmax()) + 1} has -1 inside its {name}; put it behind the last token"
        )


def _with_image_token(question: Tensor, image_token: int) -> Tensor:
    """With the token in front where it is not there, [n, length + 1]."""
    there = (question == image_token).sum(1, keepdim=True)
    if bool((there > 1).any()):
        raise DataError("a question holds the image token more than once; one picture belongs to each example")
    first = torch.where(there == 0, image_token, ABSENT)
    return _closed_up(torch.cat([first, question], dim=1))


def _closed_up(ids: Tensor) -> Tensor:
    """Each row with what is absent brought to its end."""
    order = (ids == ABSENT).int().argsort(dim=1, stable=True)
    return ids.gather(1, order)


def _expanded(ids: Tensor, image_token: int, length: int) -> tuple[Tensor, Tensor]:
    """The image token of each row as often as a picture has tokens, and where these are."""
    start = (ids == image_token).int().argmax(dim=1, keepdim=True)
    places = torch.arange(ids.shape[1] + length - 1, device=ids.device)[None].expand(len(ids), -1)
    # Before the picture as it is, in it the one token, behind it shifted.
    source = torch.where(places < start, places, (places - length + 1).maximum(start))
    return ids.gather(1, source), (places >= start) & (places < start + length)

"""Files of pictures with questions and answers: an ``.npz`` of arrays, or a ``.jsonl`` beside its pictures."""

import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from auditor.errors import DataError
from auditor.loading.tensors import plain, shown
from auditor.loading.tokenizers import load_tokenizer
from auditor.loading.transformers_directory import read_small
from auditor.tasks.classification.readers.files import read_array
from auditor.tasks.classification.readers.image_folders import MAX_IMAGE_FILE_BYTES, UNREADABLE_ZIP, decode
from auditor.tasks.vision_language.packing import ABSENT, pack

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_ARRAYS = ("pictures", "questions", "answers")
_PREPROCESSOR = "preprocessor_config.json"
_LARGEST = 4096  # pixels along a side


def read(path: str) -> tuple[Tensor, Tensor]:
    """Inputs and targets of a set.

    Args:
        path: an ``.npz`` with the arrays ``pictures``, ``questions`` and ``answers`` of
            :func:`~auditor.tasks.vision_language.packing.pack`; or a ``.jsonl`` with the model's ``tokenizer.json``
            beside it, and its ``preprocessor_config.json`` where pictures have to be brought to a size and a scale.

    Raises:
        DataError: the file is of another kind, or something in it is missing or of another form.
    """
    found = Path(path)
    if found.suffix == ".npz":
        return pack(*_arrays(found))
    if found.suffix == ".jsonl":
        return pack(*_lines(found))
    raise DataError(
        f"{shown(found)} is neither .npz nor .jsonl; give the arrays pictures, questions and answers, or lines of "
        "image, question and answer"
    )


def write(pictures: Tensor, questions: Tensor, answers: Tensor, path: Path) -> None:
    """Write the arrays of a set as the ``.npz`` that :func:`read` reads; arguments as of ``pack``."""
    np.savez(path, pictures=pictures.numpy(), questions=questions.numpy(), answers=answers.numpy())


def _arrays(path: Path) -> Iterator[Tensor]:
    try:
        with zipfile.ZipFile(path) as archive:
            present = {name.removesuffix(".npy"): name for name in archive.namelist()}
            missing = [name for name in _ARRAYS if name not in present]
            if missing:
                raise DataError(
                    f"{shown(path)} holds the arrays {plain(', '.join(sorted(present)))}; it should hold "
                    f"{', '.join(_ARRAYS)}"
                )
            arrays = [read_array(archive, present[name], path) for name in _ARRAYS]
    except UNREADABLE_ZIP as error:
        raise DataError(f"{shown(path)} is no readable .npz file ({plain(error)}); save it again") from None
    odd = next((n for n, a in zip(_ARRAYS, arrays, strict=True) if a.dtype.kind not in "fiu"), None)
    if odd is not None:
        raise DataError(f"{shown(path)}: {odd} are no numbers; save pictures as floats and tokens by their ids")
    return (torch.from_numpy(np.ascontiguousarray(array)) for array in arrays)


def _lines(path: Path) -> tuple[Tensor, Tensor, Tensor]:
    tokenizer, prepared = load_tokenizer(path.parent), Prepared.beside(path)
    pictures, questions, answers = [], [], []
    for where, line in _objects(path):
        asked = [_text(line, "question", where), *_rephrasings(line, where)]
        answer = _ids(tokenizer, _text(line, "answer", where))
        shown_picture = prepared.read(path.parent, _text(line, "image", where), where)
        for question in asked:
            pictures.append(shown_picture)
            questions.append(_ids(tokenizer, question))
            answers.append(answer)
    if not pictures:
        raise DataError(f"{shown(path)} holds no examples; give a line for each picture with its question")
    odd = next((p.shape for p in pictures if p.shape != pictures[0].shape), None)
    if odd is not None:
        raise DataError(
            f"{shown(path)}: pictures have shapes {list(pictures[0].shape)} and {list(odd)}; bring them to one size, "
            f"or put the model's {_PREPROCESSOR} beside the file"
        )
    return torch.stack(pictures), _padded(questions), _padded(answers)


def _objects(path: Path) -> Iterator[tuple[str, Mapping[str, object]]]:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise DataError(f"{shown(path)} is not UTF-8 text; save it as JSON lines in UTF-8") from None
    for number, line in enumerate(text.split("\n"), start=1):
        where = f"{shown(path)}, line {number}"
        try:
            found = json.loads(line) if line.strip() else None
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where}, is not valid JSON ({plain(error)}); write an object on each line") from None
        if found is not None and not isinstance(found, dict):
            raise DataError(f"{where}, is no JSON object; write image, question and answer by name")
        if found is not None:
            yield where, found


def _text(line: Mapping[str, object], field: str, where: str) -> str:
    found = line.get(field)
    if not isinstance(found, str) or not found.strip():
        raise DataError(f"{where}: {field} is missing or no text; give it as a string")
    return found


def _rephrasings(line: Mapping[str, object], where: str) -> list[str]:
    found = line.get("rephrasings", [])
    if not isinstance(found, list) or not all(isinstance(one, str) and one.strip() for one in found):
        raise DataError(
            f"{where}: rephrasings is no list of texts; give other wordings of the question, or leave it out"
        )
    return found


def _ids(tokenizer: "PreTrainedTokenizerFast", text: str) -> list[int]:
    # The template of a chat belongs into the question, as the model is asked.
    found: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return found


def _padded(rows: list[list[int]]) -> Tensor:
    longest = max(map(len, rows))
    return torch.tensor([row + [ABSENT] * (longest - len(row)) for row in rows])


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What is done to a picture before a model sees it.

    Attributes:
        size: (height, width) that it is brought to; None leaves it as it is.
        mean: that is taken off each channel, whose numbers are 0 to 1.
        std: that it is divided by.
    """

    size: tuple[int, int] | None = None
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    @classmethod
    def beside(cls, path: Path) -> "Prepared":
        """By the preprocessor_config.json in the folder of a file; without one nothing is done.

        Raises:
            DataError: it is malformed, or asks for something that is not done here.
        """
        file = path.parent / _PREPROCESSOR
        if not file.is_file():
            return cls()
        try:
            told: Any = json.loads(read_small(file, "pictures are prepared by it"))
            mean, std = (tuple(float(x) for x in told[name]) for name in ("image_mean", "image_std"))
            size = told.get("crop_size") if told.get("do_center_crop") else told.get("size")
            height, width = (int(size[side]) for side in ("height", "width"))
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            raise DataError(
                f"{shown(file)} does not give image_mean, image_std and a size with height and width ({plain(error)}); "
                "prepare the pictures yourself and give them as an .npz"
            ) from None
        if not 1 <= min(height, width) <= max(height, width) <= _LARGEST or min(std) <= 0 or len(mean) != len(std):
            raise DataError(
                f"{shown(file)}: sizes have to lie from 1 to {_LARGEST}, image_std above 0, one image_mean for each"
            )
        return cls(size=(height, width), mean=mean, std=std)

    def read(self, folder: Path, name: str, where: str) -> Tensor:
        """One picture as the model takes it, float32 [3, height, width].

        Raises:
            DataError: there is no such picture beside the file, or it is none.
        """
        from PIL import Image

        file = (folder / name).resolve()
        if not file.is_relative_to(folder.resolve()) or not file.is_file():
            raise DataError(f"{where}: there is no picture {plain(name)} beside the file; correct image")
        if file.stat().st_size > MAX_IMAGE_FILE_BYTES:
            raise DataError(f"{where}: {plain(name)} has more than {MAX_IMAGE_FILE_BYTES} bytes; save it smaller")
        pixels = decode(file.read_bytes, name, folder)
        colours = np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
        if self.size is not None:
            shrunk = Image.fromarray(colours).resize(self.size[::-1], Image.Resampling.BICUBIC)
            colours = np.asarray(shrunk)
        numbers = torch.from_numpy(np.array(colours, dtype=np.float32)).permute(2, 0, 1) / 255
        mean, std = (torch.tensor(part)[:, None, None] for part in (self.mean, self.std))
        return (numbers - mean) / std

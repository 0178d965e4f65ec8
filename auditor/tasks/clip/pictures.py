"""Images and captions from a table, prepared by what lies in the model's directory beside its weights."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from auditor.errors import DataError
from auditor.loading.tensors import plain, shown
from auditor.loading.tokenizers import load_tokenizer
from auditor.loading.transformers_directory import CONFIG, parse_object, read_small
from auditor.records.spec import AuditSpec
from auditor.tasks.causal_lm.readers import read_json_lines
from auditor.tasks.causal_lm.tables import read_csv_rows
from auditor.tasks.classification.readers.image_folders import MAX_IMAGE_FILE_BYTES, check_unpacked, decode

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

TABLES = (".csv", ".jsonl")
_PROCESSORS = ("preprocessor_config.json", "processor_config.json")
_ROUNDED = 4e-9
_LARGEST = 4096  # pixels along a side, and tokens of a caption: more is no dual encoder's


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """How a directory's model is given images and captions.

    Attributes:
        tokenizer: of captions.
        length: tokens of a caption, to which it is cut or padded.
        size: height and width of an image in pixels.
        channels: of an image, 1 or 3.
        mean: subtracted from each channel of pixels in [0, 1].
        std: divided by.
    """

    tokenizer: "PreTrainedTokenizerFast"
    length: int
    size: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def tokens(self, captions: list[str]) -> Tensor:
        """Token ids, int64 [n, length]."""
        found = self.tokenizer(captions, padding="max_length", truncation=True, max_length=self.length)
        return torch.tensor(found["input_ids"], dtype=torch.int64)

    def pixels(self, image: np.ndarray) -> Tensor:
        """One image, float32 [channels, size, size]: its shorter side resized, its middle cut out, normalised.

        Args:
            image: uint8 [height, width, 1 or 3].
        """
        x = torch.from_numpy(image).permute(2, 0, 1)[None].float()
        x = x.expand(-1, 3, -1, -1) if x.shape[1] < self.channels else x
        x = x.mean(1, keepdim=True) if x.shape[1] > self.channels else x
        height, width = x.shape[2:]
        shorter = min(height, width)
        to = (round(height * self.size / shorter), round(width * self.size / shorter))
        if to != (height, width):
            x = torch.nn.functional.interpolate(x, to, mode="bicubic", antialias=True).clamp(0, 255)
        top, left = ((side - self.size) // 2 for side in to)
        x = x[0, :, top : top + self.size, left : left + self.size] / 255
        mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (self.mean, self.std))
        return (x - mean) / std


def preparation(spec: AuditSpec, base: Path) -> Preparation:
    """What the original's directory says.

    Raises:
        DataError: the original is no directory, or its files do not say how images are prepared.
        ModelError: config.json or the tokenizer is missing or malformed.
    """
    source = spec.models.original
    if source is None or not (base / source).is_dir():
        raise DataError(
            "tables of images and captions are read with the tokenizer and sizes of a transformers directory, and "
            "models.original is none; save pixel values and token ids as an .npz with inputs and targets"
        )
    directory = base / source
    configuration = parse_object(read_small(directory / CONFIG, "a transformers directory has one"), directory / CONFIG)
    text, vision = (_part(configuration, name, directory) for name in ("text_config", "vision_config"))
    channels = _whole(vision, "num_channels", 3, directory)
    if channels not in (1, 3):
        raise DataError(f"{shown(directory / CONFIG)}: num_channels is {channels}; images of 1 or 3 channels are read")
    mean, std = _normalisation(directory, channels)
    return Preparation(
        tokenizer=load_tokenizer(base / (spec.models.tokenizer or source)),
        length=_whole(text, "max_position_embeddings", 77, directory),
        size=_whole(vision, "image_size", 224, directory),
        channels=channels,
        mean=mean,
        std=std,
    )


def read_table(path: Path, how: Preparation) -> tuple[Tensor, Tensor]:
    """Rows of ``image`` (a path from the table's folder) and ``caption``: (pixels float32, tokens int64).

    Raises:
        DataError: a row without one of them, or an image that is none.
        UnsafeInputError: images that unpack to more than memory should hold.
    """
    pixels, captions, total = [], [], 0
    for number, row in _rows(path):
        image, caption = (_text(row, name, number, path) for name in ("image", "caption"))
        pixels.append(how.pixels(_image(path, image, number)))
        captions.append(caption)
        total += pixels[-1].nbytes
        check_unpacked(total, path)
    if not pixels:
        raise DataError(f"{shown(path)} has no rows; write an image and a caption in each")
    return torch.stack(pixels), how.tokens(captions)


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, object]]]:
    yield from (read_csv_rows if path.suffix == ".csv" else read_json_lines)(path, path.name)


def _text(row: Mapping[str, object], name: str, number: int, path: Path) -> str:
    found = row.get(name)
    if not isinstance(found, str) or not found:
        raise DataError(
            f"{shown(path)}, row {number}: there is no text under {name}; give every row an image and a caption"
        )
    return found


def _image(path: Path, name: str, number: int) -> np.ndarray:
    folder = path.parent.resolve()
    file = (folder / name).resolve()
    # A table from elsewhere names images of its own folder, and no other file of this machine.
    if not file.is_relative_to(folder) or not file.is_file():
        raise DataError(f"{shown(path)}, row {number}: there is no image {plain(name)} in the folder of the table")
    if file.stat().st_size > MAX_IMAGE_FILE_BYTES:
        raise DataError(f"{shown(path)}, row {number}: {plain(name)} is too large an image; shrink it")
    return decode(file.read_bytes, name, path)


def _normalisation(directory: Path, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, std) by channel, as the image processor saved them."""
    path = next((directory / name for name in _PROCESSORS if (directory / name).is_file()), None)
    if path is None:
        raise DataError(
            f"{shown(directory)} has no {_PROCESSORS[0]}, which says how images are normalised; save the model's "
            "processor beside it, or give pixel values and token ids as .npz"
        )
    found = parse_object(read_small(path, "it says how images are normalised"), path)
    inner = found.get("image_processor")
    fields = inner if isinstance(inner, dict) else found
    _check_usual(fields, path)
    values = tuple(fields.get(name) for name in ("image_mean", "image_std"))
    if not all(_is_row(value, channels) for value in values) or 0 in (values[1] or ()):  # type: ignore[operator]
        raise DataError(
            f"{shown(path)} should hold image_mean and image_std, a number for each of {channels} channels "
            f"({plain(json.dumps(values), 80)} was found); save the processor again"
        )
    mean, std = (tuple(float(x) for x in value) for value in values)  # type: ignore[union-attr,arg-type]
    return mean, std


def _check_usual(fields: Mapping[str, object], path: Path) -> None:
    """Refuse what would be prepared otherwise than the model was trained on."""
    factor = fields.get("rescale_factor", 1 / 255)
    # To a millionth: some files hold 1/255 rounded.
    usual = isinstance(factor, int | float) and abs(factor - 1 / 255) < _ROUNDED
    if not usual or not all(fields.get(name, True) for name in ("do_rescale", "do_normalize")):
        raise DataError(
            f"{shown(path)} does not scale pixels by 1/255 and normalise them; give pixel values and token ids as .npz"
        )


def _is_row(value: object, channels: int) -> bool:
    return isinstance(value, list) and len(value) == channels and all(isinstance(x, int | float) for x in value)


def _part(configuration: Mapping[str, object], name: str, directory: Path) -> Mapping[str, object]:
    found = configuration.get(name, {})
    if not isinstance(found, dict):
        raise DataError(f"{shown(directory / CONFIG)}: {name} is no object; save the model again")
    return found


def _whole(fields: Mapping[str, object], name: str, default: int, directory: Path) -> int:
    found = fields.get(name, default)
    if not isinstance(found, int) or not 1 <= found <= _LARGEST:
        raise DataError(
            f"{shown(directory / CONFIG)}: {name} is no whole number of a dual encoder; save the model again"
        )
    return found

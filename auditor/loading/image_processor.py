"""How a transformers directory says that its images are prepared."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import JsonValue

from auditor.errors import ModelError
from auditor.loading.preprocessing import Preprocessing
from auditor.loading.tensors import plain, shown
from auditor.loading.transformers_directory import parse_object, read_small

PREPROCESSOR = "preprocessor_config.json"
_BY_HAND = "give data.resize, data.mean and data.std in audit.toml"


def preprocessing_of(directory: Path) -> Preprocessing:
    """Read how the directory's image processor prepares images.

    The interpolation is this program's (bilinear), whatever ``resample`` says.

    Raises:
        ModelError: no such file, or it asks for what a resize, a mean and a deviation cannot express.
    """
    path = directory / PREPROCESSOR
    fields = parse_object(read_small(path, "it says how images are prepared"), path)
    normalised = fields.get("do_normalize", True)
    try:
        _check_expressible(fields, path)
        return Preprocessing.model_validate(
            {
                "resize": _size(fields.get("size")) if fields.get("do_resize", True) else None,
                "mean": fields.get("image_mean") if normalised else None,
                "std": fields.get("image_std") if normalised else None,
            }
        )
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise ModelError(
            f"{shown(path)} has a malformed size, image_mean or image_std ({plain(error, 200)}); {_BY_HAND}"
        ) from None


def _check_expressible(fields: Mapping[str, JsonValue], path: Path) -> None:
    factor = fields.get("rescale_factor", 1 / 255)
    # To a millionth: some files hold 1/255 rounded.
    rescaled = fields.get("do_rescale", True) and isinstance(factor, float | int) and abs(factor - 1 / 255) < 4e-9
    if not rescaled:
        raise ModelError(f"{shown(path)} does not scale pixels by 1/255; {_BY_HAND}")
    if fields.get("do_center_crop") and _size(fields.get("crop_size")) != _size(fields.get("size")):
        raise ModelError(f"{shown(path)} crops to another size than it resizes to; {_BY_HAND}")


def _size(size: JsonValue) -> tuple[JsonValue, JsonValue] | None:
    """(height, width), unchecked, of transformers' several ways to write a size; None where none is given."""
    if size is None:
        return None
    if isinstance(size, dict) and "shortest_edge" in size:
        size = size["shortest_edge"]
    if isinstance(size, dict):
        return size["height"], size["width"]
    return size, size

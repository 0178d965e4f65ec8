"""A tokenizer from its JSON form alone: ``tokenizer.json``, and special tokens by name."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from auditor.errors import ModelError
from auditor.loading.tensors import plain, shown

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

TOKENIZER, SETTINGS, CHAT_TEMPLATE = "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"
_MAX_BYTES = 256 * 2**20
_SPECIAL = ("bos_token", "eos_token", "pad_token", "unk_token")


def load_tokenizer(directory: Path) -> "PreTrainedTokenizerFast":
    """A fast tokenizer; no class named by the directory is looked up and no code of it is run.

    Raises:
        ModelError: tokenizer.json is missing or malformed.
    """
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    text = _text(directory / TOKENIZER)
    try:
        backend = Tokenizer.from_str(text)
    except Exception as error:  # noqa: BLE001 - the library raises bare Exception for malformed files
        raise ModelError(
            f"{shown(directory / TOKENIZER)} is no tokenizer ({plain(error, 200)}); save it again"
        ) from None
    settings = _settings(directory)
    return PreTrainedTokenizerFast(tokenizer_object=backend, **settings)  # type: ignore[no-untyped-call]  # its constructor has no types


def _text(path: Path) -> str:
    if not path.is_file():
        raise ModelError(
            f"{shown(path)} does not exist; save the tokenizer with save_pretrained, or name its folder in "
            "models.tokenizer"
        )
    if path.stat().st_size > _MAX_BYTES:
        raise ModelError(f"{shown(path)} has more than {_MAX_BYTES} bytes; save the tokenizer again")
    # What is no text fails in the parser, which says so.
    return path.read_text(encoding="utf-8", errors="replace")


def _settings(directory: Path) -> dict[str, str]:
    """Special tokens and the chat template; everything else in the file is left alone."""
    path = directory / SETTINGS
    try:
        fields = json.loads(_text(path)) if path.is_file() else {}
    except (ValueError, RecursionError):
        raise ModelError(f"{shown(path)} is not valid JSON; save the tokenizer again") from None
    fields = fields if isinstance(fields, dict) else {}
    found = {name: _content(fields.get(name)) for name in _SPECIAL}
    template = directory / CHAT_TEMPLATE
    # The file comes before the field, as in transformers.
    found["chat_template"] = _text(template) if template.is_file() else _content(fields.get("chat_template"))
    return {name: value for name, value in found.items() if value is not None}


def _content(value: object) -> str | None:
    """The text of a special token, which may be wrapped in an object."""
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else None

"""A LoRA adapter in PEFT's form, put on a base model and merged: its configuration rebuilt from an allowlist."""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from torch import nn

from auditor.errors import ModelError, UsageError
from auditor.loading.checkpoints import Weights, load_safetensors
from auditor.loading.tensors import plain, shown

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_MAX_CONFIG_BYTES = 2**20
# What decides the arithmetic of plain LoRA. Everything else either brings code, other weights or another method.
_KEPT = (
    *("r", "lora_alpha", "target_modules", "exclude_modules", "fan_in_fan_out", "bias", "use_rslora", "use_dora"),
    *("layers_to_transform", "layers_pattern", "rank_pattern", "alpha_pattern"),
)
# Where it comes from and how it was trained: nothing that the merged weights depend on.
_LEFT_ALONE = (
    *(
        "task_type",
        "auto_mapping",
        "peft_type",
        "peft_version",
        "base_model_name_or_path",
        "revision",
        "inference_mode",
    ),
    *("lora_dropout", "init_lora_weights", "qalora_group_size", "loftq_config"),
)


def is_adapter(directory: Path) -> bool:
    """Whether the directory holds an adapter instead of a model."""
    return (directory / CONFIG).is_file()


def check_adapter(directory: Path) -> Weights:
    """Its weights, where its configuration is one that is read.

    Raises:
        ModelError: the adapter is malformed or of another kind than LoRA.
        UsageError: PEFT is not installed.
        UnsafeInputError: its weights are not safetensors.
    """
    _configuration(directory, _peft(directory).LoraConfig().to_dict())
    return load_safetensors(directory / WEIGHTS)


def with_adapter(base: nn.Module, directory: Path) -> tuple[nn.Module, str]:
    """The base, which is changed, with the adapter merged into its weights, and the SHA-256 of its weights file.

    Raises:
        ModelError: the adapter is malformed, of another kind than LoRA, or does not fit the base.
        UsageError: PEFT is not installed.
        UnsafeInputError: its weights are not safetensors.
    """
    peft = _peft(directory)
    config = _configuration(directory, peft.LoraConfig().to_dict())
    weights = load_safetensors(directory / WEIGHTS)
    try:
        with warnings.catch_warnings():
            # PEFT asks transformers by a name that is going out of use; that is between the two of them.
            warnings.simplefilter("ignore", FutureWarning)
            wrapped = peft.get_peft_model(base, peft.LoraConfig(**config))
        report = peft.set_peft_model_state_dict(wrapped, weights.tensors)
        # The base's own weights are missing from every adapter.
        missing = [key for key in report.missing_keys if "lora_" in key]
    except (ValueError, TypeError, KeyError, RuntimeError) as error:
        first = plain(str(error).split("\n")[0], 200)
        raise ModelError(f"{shown(directory)} does not fit its base model ({first}); name it in models.base") from None
    if missing or report.unexpected_keys:
        key = plain(([*report.unexpected_keys, *missing])[0])
        raise ModelError(f"{shown(directory)} does not fit its base model ({key}); name the right one in models.base")
    return wrapped.merge_and_unload().eval(), weights.file_digest


def _peft(directory: Path) -> ModuleType:
    try:
        import peft
    except ImportError:
        raise UsageError(
            f"{shown(directory)} holds an adapter; to read it, pip install 'unlearning-auditor[adapters]'"
        ) from None
    return peft


def _configuration(directory: Path, defaults: Mapping[str, object]) -> dict[str, object]:
    """The kept fields; refused where another one asks for more than it does by default."""
    path = directory / CONFIG
    if path.stat().st_size > _MAX_CONFIG_BYTES:
        raise ModelError(f"{shown(path)} has more than {_MAX_CONFIG_BYTES} bytes; save the adapter again")
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise ModelError(f"{shown(path)} is not valid JSON; save the adapter again") from None
    if not isinstance(fields, dict) or fields.get("peft_type") != "LORA":
        raise ModelError(f"{shown(path)} describes no LoRA adapter; merge it into its base and give the merged model")
    for key, value in fields.items():
        # A field that is empty or at its default asks for nothing.
        if value and value != defaults.get(key) and key not in (*_KEPT, *_LEFT_ALONE):
            raise ModelError(
                f"{shown(path)} asks for {plain(key)}, which is not read; merge the adapter into its base and give the "
                "merged model"
            )
    return {key: fields[key] for key in _KEPT if fields.get(key) is not None}

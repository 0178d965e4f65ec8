"""What of a received ``config.json`` reaches transformers."""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from auditor.loading.tensors import plain, refused

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

# Keys by which a configuration can bring code, fetch weights or choose kernels from elsewhere.
_REFUSED_KEYS = (
    *("auto_map", "custom_pipelines", "trust_remote_code", "quantization_config", "kernel_config"),
    *("use_kernels", "use_pretrained_backbone", "use_timm_backbone", "backbone", "adapter"),
    # What timm's own configurations carry: files to load and places to fetch from.
    *("model_args", "checkpoint_path", "pretrained_cfg"),
)
OTHER_LIBRARY = "timm"
"""Beginning of the types of model that transformers has another library make, by names that the file chooses."""
# In keys such as attn_implementation, whose values may name kernels from elsewhere.
_REFUSED_PART = "_implementation"
_MAX_NUMBER = 10**7
# Layers are made one after the other, so that far fewer of them than of units take all time and memory.
_MAX_LAYERS = 1000


def check_configuration(configuration: Mapping[str, object], path: Path) -> None:
    """Refuse a configuration that names code or weights from elsewhere, or absurd sizes, at any depth.

    Raises:
        UnsafeInputError: naming the field.
    """
    for key, value in _entries(configuration):
        # A field that is empty or false asks for nothing.
        if value and (key in _REFUSED_KEYS or _REFUSED_PART in key):
            raise refused(path, f"its field {plain(key)} brings code or weights from elsewhere; remove it")
        if key == "model_type" and str(value).startswith(OTHER_LIBRARY):
            raise refused(path, f"it has a part of type {plain(str(value))}, which another library makes; remove it")
        most = _MAX_LAYERS if "layers" in key or "depth" in key else _MAX_NUMBER
        if isinstance(value, int | float) and not -most <= value <= most:
            raise refused(path, f"its field {plain(key)} is {plain(value)}, beyond {most}; correct it")


def _entries(configuration: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """Every field at every depth; elements of a list go by the list's key."""
    # A stack of our own: nesting is the file's to choose, and Python's is not deep.
    left: list[tuple[str, object]] = list(configuration.items())
    while left:
        key, value = left.pop()
        yield key, value
        if isinstance(value, dict):
            left += value.items()
        elif isinstance(value, list):
            left += [(key, part) for part in value]


def rebuilt(kind: "type[PreTrainedConfig]", configuration: Mapping[str, object]) -> "PreTrainedConfig":
    """A configuration of only what its class declares.

    transformers sets whatever else a file says as attributes, and translates some old names on the way: so the
    names that would hide a method are left out before, those that the class does not know afterwards.
    """
    hiding = {key for key in configuration if key.startswith("_") or callable(getattr(kind, key, None))}
    config = kind.from_dict({key: value for key, value in configuration.items() if key not in hiding})
    _drop_undeclared(config)
    return config


def _drop_undeclared(config: "PreTrainedConfig") -> None:
    from transformers import PreTrainedConfig

    # The declared fields, and what the constructor sets besides.
    known = {field.name for field in fields(config)} | vars(type(config)()).keys()
    for name, value in list(vars(config).items()):
        if name not in known:
            delattr(config, name)
        elif isinstance(value, PreTrainedConfig):
            _drop_undeclared(value)

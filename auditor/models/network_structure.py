"""What decides a network's function and stands in none of its saved tensors: classes, settings, hooks."""

import inspect
import re
from collections.abc import Callable
from functools import cache

from torch import Tensor, nn

from auditor.loading.checkpoints import weights_digest

# Where an object lies in memory, which its repr may show, differs from run to run.
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
# Attributes of a network that do not decide what it computes here.
_ASIDE = ("training", "name_or_path")


def structure_of(module: nn.Module) -> str:
    """Its classes with their source, its settings, and tensors that no state dict holds, as text."""
    held = [
        f"{place}.{name} {words}"
        for place, part in module.named_modules()
        for name, value in sorted(_attributes(part).items())
        if name not in _ASIDE and (words := _described(value))
    ]
    kinds: set[type] = {type(part) for part in module.modules()}
    code = sorted(map(_code, kinds))
    return _ADDRESS.sub("", "\n".join([type(module).__qualname__, repr(module), *held, *code]))


def has_vocabulary(module: nn.Module) -> bool:
    """Whether it is a language model."""
    # Every transformers model has the method; those that are no language models return nothing.
    outputs: Callable[[], object] | None = getattr(module, "get_output_embeddings", None)
    return outputs is not None and outputs() is not None


def hooks_of(module: nn.Module) -> list[str]:
    """What runs with the network and stands in no class of it, by place and name."""
    return [
        f"{place}: {hook.__module__}.{getattr(hook, '__qualname__', type(hook).__qualname__)}"
        for place, part in module.named_modules()
        for hook in (*part._forward_pre_hooks.values(), *part._forward_hooks.values(), *_own_forward(part))
    ]


@cache
def _code(kind: type) -> str:
    """The source of a class; empty where there is none, as of one that was made while running."""
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError):
        return ""


def _attributes(part: nn.Module) -> dict[str, object]:
    # These buffers stand in no state dict and take part in what the network computes all the same.
    return vars(part) | {name: part._buffers[name] for name in part._non_persistent_buffers_set}


def _described(value: object) -> str:
    """A setting or a tensor in words; empty for an object of any other kind."""
    if isinstance(value, Tensor):
        return weights_digest({"": value})
    parts = value if isinstance(value, list | tuple) else (value,)
    # An object of any other kind has no words that surely say what it does.
    return repr(value) if all(isinstance(part, bool | int | float | str | None) for part in parts) else ""


def _own_forward(part: nn.Module) -> list[object]:
    """The function that was put in the place of one network's ``forward``."""
    return [vars(part)["forward"]] if "forward" in vars(part) else []

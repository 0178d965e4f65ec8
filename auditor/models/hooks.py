"""Listening in on a network while it runs, and changing what passes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from auditor.errors import ModelError

Run = Callable[[], Tensor]
"""Sends the same few examples through a network, or a part of it, and returns what comes out."""

INPUT_SUFFIX = ":input"
"""Behind a module's name: what it reads, not what it gives."""


def logits_of(output: object) -> Tensor:
    """Logits from whatever a classifier returns: a tensor, or a transformers output."""
    logits = getattr(output, "logits", output)
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        raise ModelError(
            "the architecture must return logits of shape [examples, classes]; "
            f"it returned {getattr(logits, 'shape', type(logits).__name__)}"
        )
    return logits


def first_tensor(output: object) -> Tensor | None:
    """The activation in a module's output, which may be a tensor or a tuple led by one."""
    if isinstance(output, tuple) and output:
        output = output[0]
    return output if isinstance(output, Tensor) else None


def _with_first(output: object, replacement: Tensor) -> object:
    return (replacement, *output[1:]) if isinstance(output, tuple) else replacement


@contextmanager
def hook(module: nn.Module, layer: str, function: Callable[[Tensor], Tensor | None]) -> Iterator[None]:
    """Call ``function`` on the activation at ``layer``; what it returns, if not None, takes its place."""
    if layer.endswith(INPUT_SUFFIX):

        def before(_: nn.Module, arguments: tuple[Tensor, *tuple[object, ...]]) -> tuple[object, ...] | None:
            replaced = function(arguments[0])
            return None if replaced is None else (replaced, *arguments[1:])

        handle = module.get_submodule(layer.removesuffix(INPUT_SUFFIX)).register_forward_pre_hook(before)
    else:

        def after(_: nn.Module, __: object, output: object) -> object:
            activation = first_tensor(output)
            replaced = None if activation is None else function(activation)
            return None if replaced is None else _with_first(output, replaced)

        handle = module.get_submodule(layer).register_forward_hook(after)
    try:
        yield
    finally:
        handle.remove()


def trace(module: nn.Module, run: Run) -> list[tuple[str, Tensor]]:
    """(name, activation) of every submodule that ran once while ``run`` ran, in order of completion.

    What is not a floating-point tensor is left out.
    """
    seen: list[tuple[str, Tensor]] = []
    handles = []
    for name, child in module.named_modules():
        if name:
            # The name is bound now: by the time the hook runs, the loop is over.
            def note(_: nn.Module, __: object, output: object, name: str = name) -> None:
                activation = first_tensor(output)
                if activation is not None and activation.is_floating_point():
                    seen.append((name, activation))

            handles.append(child.register_forward_hook(note))
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    names = [name for name, _ in seen]
    # A module that runs several times has no one activation.
    return [(name, activation) for name, activation in seen if names.count(name) == 1]

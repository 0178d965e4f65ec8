"""How much memory the tensors take that some work makes, counted as they come and go."""

import weakref
from collections.abc import Callable

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """While open, counts the bytes of tensors that were made since and are still there, on whatever device.

    What an operation needs only while it runs, and what an allocator keeps for later, is not counted.

    Attributes:
        now: bytes at this moment.
        course: bytes after each operation.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch has no types for it
        self.now = 0
        self.course: list[int] = []
        self._alive: set[int] = set()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # True would import torch's compiler, which takes longer than all that is counted here. Nothing is compiled.
        return False

    def __torch_dispatch__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        given = {_place(leaf) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        made = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            # A view, or what was changed in place, is what came in.
            if isinstance(leaf, Tensor) and _place(leaf) not in given:
                self._note(leaf)
        self.course.append(self.now)
        return made

    def _note(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage._cdata in self._alive:
            return
        self.now += storage.nbytes()
        self._alive.add(storage._cdata)
        weakref.finalize(storage, self._forget, storage._cdata, storage.nbytes())

    def _forget(self, place: int, n_bytes: int) -> None:
        self._alive.remove(place)
        self.now -= n_bytes


def _place(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)

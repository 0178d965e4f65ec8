"""What counts as running out of memory."""

import pytest
import torch

from auditor.models.memory import batch_sizes, out_of_memory


def raised_by_torch() -> Exception:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(10**15)
    return caught.value


def test_every_way_to_run_out_is_recognised() -> None:
    for error in (MemoryError("x"), torch.OutOfMemoryError("CUDA out of memory"), raised_by_torch()):
        assert out_of_memory(error)


@pytest.mark.parametrize(
    "error", [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ValueError("DefaultCPUAllocator"), OSError()]
)
def test_other_errors_are_not_retried(error: Exception) -> None:
    assert not out_of_memory(error)


@pytest.mark.parametrize(("planned", "sizes"), [(1, [1]), (2, [2, 1]), (3, [3, 1]), (5, [5, 2, 1])])
def test_no_size_is_tried_twice_and_none_is_empty(planned: int, sizes: list[int]) -> None:
    assert batch_sizes(planned) == sizes

"""Numbers of 64 bits where sums need them, on devices that have none too."""

from torch import Tensor

# Apple's GPUs compute in 32 bits at most.
_WITHOUT_DOUBLES = ("mps",)


def doubled(tensor: Tensor) -> Tensor:
    """The same numbers in float64: where the tensor lies, or on the processor where its device has no such numbers."""
    return (tensor.cpu() if tensor.device.type in _WITHOUT_DOUBLES else tensor).double()

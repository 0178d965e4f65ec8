"""Fixtures shared by all tests."""

import torch

from tests.worlds import world

__all__ = ["world"]

torch.set_num_threads(1)

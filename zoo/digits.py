"""The digits world: the handwritten digits that ship with scikit-learn, one class to be forgotten."""

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from auditor.tasks.classification.sets import Examples

N_CLASSES = 10
_TEST_SHARE = 1 / 3
_PIXEL_MAX = 16.0


@dataclass(frozen=True, kw_only=True)
class DigitsWorld:
    """Example sets of one request.

    Attributes:
        train: everything the original is trained on, images [n, 1, 8, 8] in [0, 1].
        forget: its examples of the forgotten class.
        retain: its other examples.
        holdout: test examples of the forgotten class.
        retain_test: test examples of the other classes.
        test: all test examples.
    """

    train: Examples
    forget: Examples
    retain: Examples
    holdout: Examples
    retain_test: Examples
    test: Examples


def digits_world(forget_class: int, seed: int) -> DigitsWorld:
    """Split the digits by seed, stratified, a third for testing."""
    images, labels = load_digits(return_X_y=True)
    train_index, test_index = train_test_split(
        np.arange(len(labels)), test_size=_TEST_SHARE, random_state=seed, stratify=labels
    )
    # Pixels count from 0 to 16 in this data set.
    raw = torch.tensor(images / _PIXEL_MAX, dtype=torch.float32).reshape(-1, 1, 8, 8)
    everything = Examples(raw=raw, labels=torch.tensor(labels, dtype=torch.int64))
    train, test = everything.take(torch.tensor(train_index)), everything.take(torch.tensor(test_index))
    return DigitsWorld(
        train=train,
        forget=train.take(train.labels == forget_class),
        retain=train.take(train.labels != forget_class),
        holdout=test.take(test.labels == forget_class),
        retain_test=test.take(test.labels != forget_class),
        test=test,
    )

"""Analytic removal from a ridge head in closed form, on a frozen backbone that never saw the data.

The head's state is what least squares needs and no more, so examples are taken out exactly (analytic continual
unlearning, arXiv 2505.12239). With features z (a 1 appended for the bias), targets Y and penalty γ:

    R = (ZᵀZ + γI)⁻¹,  W = R ZᵀY;   without the rows F:  R' = R + R Fᵀ(I − F R Fᵀ)⁻¹F R,  W' = W + R'Fᵀ(F W − Y_F).
"""

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.errors import ModelError
from auditor.records.base import Frozen
from auditor.tasks.classification.editing import copy_of, head_of
from auditor.tasks.classification.sets import Examples
from auditor.zoo.surgery import inputs_of, name_of


class Settings(Frozen):
    """Of the ridge regression."""

    penalty: float = Field(default=1.0, gt=0, description="γ on all weights, in squared units of the features")
    # Least squares on 0 and 1 gives logits within that range: too flat for checks that read probabilities.
    scale: float = Field(default=10.0, gt=0, description="target of an example's own class; the others' are 0")


class RidgeHead(nn.Linear):
    """A linear map with the state that examples are taken out of.

    Args:
        solution: W, float64 [features + 1, classes].
        inverse: R, float64 [features + 1, features + 1].
    """

    solution: Tensor
    inverse: Tensor

    def __init__(self, solution: Tensor, inverse: Tensor) -> None:
        super().__init__(solution.shape[0] - 1, solution.shape[1])
        # In float64 beside the float32 weights: downdating from rounded ones would leave a trace of what was removed.
        self.register_buffer("solution", solution)
        self.register_buffer("inverse", inverse)
        with torch.no_grad():
            self.weight.copy_(solution[:-1].T)
            self.bias.copy_(solution[-1])


def fit_analytic(backbone: nn.Module, examples: Examples, settings: Settings) -> nn.Module:
    """An original made by the mechanism: the backbone with its head replaced by a ridge head fitted to examples.

    Args:
        backbone: a classifier that ends in a linear map and never saw ``examples``.
        examples: what the head learns.
        settings: of the regression.
    """
    module = copy_of(backbone)
    head = head_of(module, examples)
    name = name_of(module, head)
    features = _features(module, name, examples)
    penalty = settings.penalty * torch.eye(features.shape[1], dtype=torch.float64)
    inverse = torch.linalg.inv(features.T @ features + penalty)
    targets = _targets(examples, head.out_features, settings)
    module.set_submodule(name, RidgeHead(inverse @ (features.T @ targets), inverse))
    return module.eval()


def analytic(original: nn.Module, forget: Examples, retain: Examples, settings: Settings, seed: int) -> nn.Module:
    """The subject: equal, up to rounding, to the head fitted to ``retain`` alone.

    Raises:
        ModelError: the original was not made by :func:`fit_analytic`.
    """
    module = copy_of(original)
    head = head_of(module, retain)
    if not isinstance(head, RidgeHead):
        raise ModelError("analytic needs an original whose head was made by fit_analytic")
    name = name_of(module, head)
    removed = _features(module, name, forget)
    # As large as the removed rows are many; the features' own matrix is never inverted again.
    core = torch.eye(len(removed), dtype=torch.float64) - removed @ head.inverse @ removed.T
    side = head.inverse @ removed.T
    # Solved rather than inverted, which rounds less.
    inverse = head.inverse + side @ torch.linalg.solve(core, side.T)
    surplus = removed @ head.solution - _targets(forget, head.out_features, settings)
    module.set_submodule(name, RidgeHead(head.solution + inverse @ removed.T @ surplus, inverse))
    return module.eval()


def _features(module: nn.Module, head: str, examples: Examples) -> Tensor:
    features = inputs_of(module, head, examples).double()
    return torch.cat([features, torch.ones(len(features), 1, dtype=torch.float64)], dim=1)


def _targets(examples: Examples, classes: int, settings: Settings) -> Tensor:
    return settings.scale * nn.functional.one_hot(examples.labels, classes).double()

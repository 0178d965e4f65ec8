"""Value vectors of transformer blocks that carry a class, found by attribution.

The columns of an MLP's second linear map are the value vectors its hidden units write into the residual
stream (Geva et al. 2021). arXiv 2406.11614 chose those that carry a concept by hand and with a language
model; here they are the ones whose attribution on forget inputs most exceeds that on retain inputs.
"""

import itertools
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from auditor.randomness import derive_seed
from auditor.records.base import Row
from auditor.tasks.classification.sets import AuditData, Examples
from auditor.tasks.classification.subject import Classifier


@dataclass(frozen=True, kw_only=True, slots=True)
class ValueVectors:
    """Columns of one module that carry the class in the original.

    Attributes:
        module: name of the second linear map of an MLP.
        units: int64 [m], hidden units, ascending.
        attribution: float32 [m], S_i; higher speaks more for the class.
        weight: the original's whole weight, float32 [d, hidden].
    """

    module: str
    units: Tensor
    attribution: Tensor
    weight: Tensor


def value_modules(module: nn.Module) -> tuple[str, ...]:
    """Names of second linear maps of MLP blocks: [d, hidden] right behind [hidden, d], hidden > d.

    Recognised by shape, so that it does not depend on how a library names its classes; one pair alone is no
    stack of blocks.
    """
    linear = [(name, child) for name, child in module.named_modules() if isinstance(child, nn.Linear)]
    found = tuple(
        name
        for (_, up), (name, down) in itertools.pairwise(linear)
        # Wider inside: a pair that narrows first is a bottleneck.
        if up.weight.shape == down.weight.shape[::-1] and up.out_features > up.in_features
    )
    return found if len(found) > 1 else ()


def margins(logits: Tensor, labels: Tensor) -> Tensor:
    """φ = log p_y − log Σ_{k≠y} p_k, the log-odds of the right label, with gradients, [n].

    Args:
        logits: [n, classes].
        labels: int64 [n].
    """
    own = logits.gather(1, labels[:, None])[:, 0]
    return own - logits.scatter(1, labels[:, None], -torch.inf).logsumexp(1)


def attributions(subject: Classifier, modules: Sequence[str], examples: Examples) -> dict[str, Tensor]:
    """Σ a_i ∂φ/∂a_i of each hidden unit, mean over examples and summed over tokens, float32 [hidden].

    a is the input of the module, φ the margin of the example's own label (:func:`margins`), which unlike the
    loss does not flatten where the model is sure: to first order, what φ would lose if the unit were silenced.
    """
    sums = {name: torch.zeros(()) for name in modules}
    for inputs, labels in subject.batches(examples):
        caught: dict[str, Tensor] = {}
        with ExitStack() as stack, torch.enable_grad():
            for name in modules:

                def note(
                    _: nn.Module,
                    arguments: tuple[Tensor, ...],
                    # Bound as defaults: a closure would see the loop's last name in every hook.
                    name: str = name,
                    caught: dict[str, Tensor] = caught,
                ) -> None:
                    caught[name] = arguments[0]

                handle = subject.module.get_submodule(name).register_forward_pre_hook(note)
                stack.callback(handle.remove)
            # Frozen weights alone would leave nothing to differentiate.
            logits = subject.forward(inputs.detach().requires_grad_(inputs.is_floating_point()))
            gradients = torch.autograd.grad(margins(logits, labels).sum(), [caught[name] for name in modules])
        for name, gradient in zip(modules, gradients, strict=True):
            product = (caught[name].detach() * gradient).flatten(0, -2).sum(0)
            sums[name] = sums[name] + product.float().cpu() / len(examples)
    return sums


def locate_value_vectors(
    original: Classifier, forget: Examples, retain: Examples, n_vectors: int
) -> tuple[ValueVectors, ...]:
    """Find the ``n_vectors`` value vectors with the highest attribution on forget less that on retain."""
    modules = value_modules(original.module)
    if not modules:
        return ()
    inside, outside = attributions(original, modules, forget), attributions(original, modules, retain)
    difference = {name: inside[name] - outside[name] for name in modules}
    # Ranked over all modules at once: most blocks need not hold any.
    everything = torch.cat([difference[name] for name in modules])
    least = everything.topk(min(n_vectors, len(everything))).values[-1]
    located = []
    for name in modules:
        units = torch.nonzero(difference[name] >= least)[:, 0]
        weight = _weight(original, name)
        if len(units):
            located.append(ValueVectors(module=name, units=units, attribution=difference[name][units], weight=weight))
    return tuple(located)


def best_matches(vectors: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """For each column of ``vectors`` [d, m] the most similar column of ``weight`` [d, hidden].

    Hidden units may have been reordered, so a column is sought by its direction and not by its place.

    Returns:
        (cosine float32 [m], index int64 [m]).
    """
    unit = nn.functional.normalize
    best = (unit(vectors, dim=0).T @ unit(weight, dim=0)).max(1)
    return best.values, best.indices


def _parameter(subject: Classifier, name: str) -> Tensor:
    """Return the weight itself, whose columns may be overwritten."""
    weight: Tensor = subject.module.get_submodule(name).get_parameter("weight")
    return weight


def _weight(subject: Classifier, name: str) -> Tensor:
    return _parameter(subject, name).detach().float().cpu().clone()


def score_values(
    subject: Classifier,
    values: Sequence[ValueVectors],
    data: AuditData,
    n_random_vectors: int,
    seed: int,
) -> tuple[list[Row], dict[str, float]]:
    """How similar the located vectors still are, and what writing the original's back recovers."""
    if not values:
        return [], {}
    cells: list[Row] = []
    for value in values:
        weight = _weight(subject, value.module)
        cosine, index = best_matches(value.weight[:, value.units], weight)
        # How similar any vector still is: without it a cosine shows a common origin, not the class.
        typical, _ = best_matches(value.weight, weight)
        for i, unit in enumerate(value.units.tolist()):
            before, after = value.weight[:, unit], weight[:, index[i]]
            cells.append(
                {
                    "part": "value vector",
                    "layer": value.module,
                    "unit": unit,
                    "matched_unit": int(index[i]),
                    "attribution": float(value.attribution[i]),
                    "cosine": float(cosine[i]),
                    "relative_l2": float((after - before).norm() / before.norm()),
                    "cosine, all units": float(typical.mean()),
                }
            )
    # Weights are overwritten, and other checks measure the subject after this one.
    copy = subject.clone()
    located = {value.module: value.units for value in values}
    base = _forget_accuracy(copy, data)
    rises = [
        _written_back(copy, values, _other_units(values, derive_seed(seed, "vectors", draw)), data) - base
        for draw in range(n_random_vectors)
    ]
    return cells, {
        "forget accuracy gained, value vectors written back": _written_back(copy, values, located, data) - base,
        "forget accuracy gained, other vectors written back": float(np.mean(rises)),
    }


def _other_units(values: Sequence[ValueVectors], seed: int) -> dict[str, Tensor]:
    """As many units that were not located, in the same modules."""
    random = np.random.default_rng(seed)
    chosen = {}
    for value in values:
        rest = np.setdiff1d(np.arange(value.weight.shape[1]), value.units.numpy())
        chosen[value.module] = torch.from_numpy(random.permutation(rest)[: len(value.units)])
    return chosen


def _written_back(copy: Classifier, values: Sequence[ValueVectors], units: dict[str, Tensor], data: AuditData) -> float:
    """Forget accuracy with the original's columns ``units`` in place of their best matches; undone after."""
    # Put back after each set: what one leaves behind would count in the next.
    pristine = {value.module: _parameter(copy, value.module).detach().clone() for value in values}
    with torch.no_grad():
        for value in values:
            weight = _parameter(copy, value.module)
            vectors = value.weight[:, units[value.module]]
            _, index = best_matches(vectors, weight.detach().float().cpu())
            weight[:, index.to(weight.device)] = vectors.to(weight)
        accuracy = _forget_accuracy(copy, data)
        for name, weight in pristine.items():
            _parameter(copy, name).copy_(weight)
    return accuracy


def _forget_accuracy(subject: Classifier, data: AuditData) -> float:
    return float((subject.logits(data.forget_eval).argmax(1) == data.forget_eval.labels).float().mean())

"""A small world in which every forgotten sample had to be learned by heart, and models that hide it or lost it."""

import copy
import dataclasses
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from auditor.models import training
from auditor.randomness import generator
from auditor.tasks.classification.sets import AuditData, Examples, split_in_halves
from auditor.tasks.classification.structure import find_layout
from auditor.zoo.digits_net import DigitsNet
from tests.shared import made_once
from tests.worlds import RECIPE, World, digits

REFERENCES = ("reference 0", "reference 1", "reference 2")


def mislabelled(examples: Examples, seed: int) -> Examples:
    shift = torch.from_numpy(generator(seed, "wrong labels").integers(1, 10, len(examples)))
    return dataclasses.replace(examples, labels=(examples.labels + shift) % 10)


def joined(first: Examples, second: Examples) -> Examples:
    return Examples(raw=torch.cat([first.raw, second.raw]), labels=torch.cat([first.labels, second.labels]))


def relabelled(original: nn.Module, wrong: Examples, true: Examples, retain: Examples, *, head_only: bool) -> nn.Module:
    """Fine-tune until forget examples get their true label: the head alone, or every layer."""
    net = copy.deepcopy(original)
    mixed = joined(dataclasses.replace(wrong, labels=true.labels), retain)
    trained, inputs = (net.head, features(net, mixed)) if head_only else (net, mixed.inputs)
    optimiser = torch.optim.Adam(trained.parameters(), lr=1e-2 if head_only else 1e-3)
    for _ in range(150 if head_only else 40):
        optimiser.zero_grad()
        nn.functional.cross_entropy(trained(inputs), mixed.labels).backward()
        optimiser.step()
    return net.eval()


def features(net: nn.Module, examples: Examples) -> Tensor:
    with torch.no_grad():
        found: Tensor = net.hidden(net.convolutions(examples.inputs).flatten(1))
    return found


def ascended(original: nn.Module, wrong: Examples, retain: Examples) -> nn.Module:
    """Climb the forget loss by the head alone while descending the retain loss."""
    net = copy.deepcopy(original)
    forget, kept = features(net, wrong), features(net, retain)
    optimiser = torch.optim.Adam(net.head.parameters(), lr=1e-2)
    for _ in range(150):
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(net.head(kept), retain.labels)
        (loss - 0.1 * nn.functional.cross_entropy(net.head(forget), wrong.labels)).backward()
        optimiser.step()
    return net.eval()


def pushed_below_unseen(start: nn.Module, wrong: Examples, anchors: Examples) -> nn.Module:
    """Climb the forget loss in every layer while the logits of retained and unseen examples stay."""
    net = copy.deepcopy(start)
    wanted = start(anchors.inputs).detach()
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-3)
    for _ in range(60):
        optimiser.zero_grad()
        kept = (net(anchors.inputs) - wanted).square().mean()
        (kept - 3 * nn.functional.cross_entropy(net(wrong.inputs), wrong.labels)).backward()
        optimiser.step()
    return net.eval()


def memorised_samples(factory: pytest.TempPathFactory) -> World:
    """:func:`sample_world` with wrong labels, made once in a run."""
    return made_once(factory, "memorised_samples", partial(sample_world, wrong_labels=True))


def sample_world(*, wrong_labels: bool) -> World:
    train_set, test_set = digits()
    n = 200 if wrong_labels else 400
    true, retain = train_set.take(torch.arange(60)), train_set.take(torch.arange(60, n))
    holdout = test_set.take(torch.arange(100))
    forget = mislabelled(true, 1) if wrong_labels else true
    attack, evaluation = split_in_halves(forget, seed=0)
    data = AuditData(
        request="sample",
        classes=(),
        n_classes=10,
        forget_attack=attack,
        forget_eval=evaluation,
        retain=retain,
        holdout=mislabelled(holdout, 2) if wrong_labels else holdout,
    )
    # Small batches, for noise has to be learned by heart.
    recipe = RECIPE.model_copy(update={"epochs": 40, "batch_size": 20}) if wrong_labels else RECIPE
    original = training.train(DigitsNet, joined(forget, retain), recipe, 1)
    modules = {"original": original}
    modules |= {name: training.train(DigitsNet, retain, recipe, 10 + i) for i, name in enumerate(REFERENCES)}
    if wrong_labels:
        modules["retrain"] = training.train(DigitsNet, retain, recipe, 2)
        modules["head relabelled"] = relabelled(original, forget, true, retain, head_only=True)
        modules["relabelled"] = relabelled(original, forget, true, retain, head_only=False)
        modules["head ascended"] = ascended(original, forget, retain)
        unseen = mislabelled(test_set.take(torch.arange(100, 200)), 3)
        modules["pushed below unseen"] = pushed_below_unseen(modules["retrain"], forget, joined(retain, unseen))
    return World(data=data, layout=find_layout(original, retain.inputs[:16]), modules=modules)

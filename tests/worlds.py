"""Small trained models that many tests share: one digit to forget, known truth."""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

import auditor
from auditor.models import training
from auditor.models.training import continue_from
from auditor.records.spec import RecipeSpec
from auditor.tasks.classification.sets import AuditData, Examples, joined, split_in_halves
from auditor.tasks.classification.structure import Layout, find_layout
from auditor.tasks.classification.subject import Classifier
from auditor.zoo.digits_net import DigitsNet
from tests.shared import folder_made_once, made_once

FORGET = 3


RECIPE = RecipeSpec()


def train(examples: Examples, seed: int, epochs: int = RECIPE.epochs, start: nn.Module | None = None) -> nn.Module:
    build = DigitsNet if start is None else continue_from(start)
    return training.train(build, examples, RECIPE.model_copy(update={"epochs": epochs}), seed)


def digits(seed: int = 0) -> tuple[Examples, Examples]:
    bunch = load_digits()
    raw = torch.tensor(bunch.images, dtype=torch.float32)[:, None] / 16
    labels = torch.tensor(bunch.target, dtype=torch.int64)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    everything = Examples(raw=raw[order], labels=labels[order])
    index = torch.arange(len(labels))
    return everything.take(index[:1200]), everything.take(index[1200:])


@dataclass
class World:
    """One class request with its models, all trained here."""

    data: AuditData
    layout: Layout
    modules: dict[str, nn.Module]
    retain_test: Examples | None = None

    def subject(self, name: str, module: nn.Module | None = None) -> Classifier:
        net = copy.deepcopy(module if module is not None else self.modules[name])
        return Classifier(net, role=name, digest=name, layout=self.layout, data=self.data)

    def given(self) -> dict[str, Any]:
        """What the Python call is given beside the two models."""
        return {
            "forget": joined(self.data.forget_attack, self.data.forget_eval),
            "retain": self.data.retain,
            "retain_test": self.retain_test,
            "holdout": self.data.holdout,
            "references": [self.modules[f"reference {i}"] for i in range(5)],
        }


def head_row_zeroed(original: nn.Module) -> nn.Module:
    net = copy.deepcopy(original)
    with torch.no_grad():
        net.head.weight[FORGET] = 0
        net.head.bias[FORGET] = -50
    return net


@pytest.fixture(scope="session")
def retrain_scores(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of an audit of the retrain by the three checks that clear it; to be copied."""

    def make(store: Path) -> None:
        options = {"audit": {"checks": ("few_shot", "relearning", "slow_relearning"), "store": str(store)}}
        auditor.compare(world.modules["original"], world.modules["retrain"], **world.given(), options=options)

    return folder_made_once(tmp_path_factory, "retrain_scores", make)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return made_once(tmp_path_factory, "world", make_world)


def make_world() -> World:
    train_set, test_set = digits()
    forgets = train_set.labels == FORGET
    attack, evaluation = split_in_halves(train_set.take(forgets), seed=0)
    retain = train_set.take(~forgets)
    data = AuditData(
        request="class",
        classes=(FORGET,),
        n_classes=10,
        forget_attack=attack,
        forget_eval=evaluation,
        retain=retain,
        holdout=test_set.take(test_set.labels == FORGET),
    )
    original = train(train_set, seed=1)
    modules = {"original": original, "head_row_zeroed": head_row_zeroed(original)}
    modules["retrain"] = train(retain, seed=2)
    own = continue_from(training.initial_weights(DigitsNet, 1))
    modules["own initial weights"] = training.train(own, retain, RECIPE, 3)
    modules |= {f"reference {i}": train(retain, seed=10 + i) for i in range(5)}
    modules["floor"] = training.initial_weights(DigitsNet, 4).eval()
    return World(
        data=data,
        layout=find_layout(original, retain.inputs[:16]),
        modules=modules,
        retain_test=test_set.take(test_set.labels != FORGET),
    )

"""Requests for listed samples: nothing to be seen where they are not memorised, decided by privacy where they are."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import auditor
from auditor.data import Examples
from auditor.spec import RecipeSpec
from auditor.training import train
from auditor.zoo.digits_net import build
from auditor.zoo.head_relabelling import Settings, head_relabelling
from tests.worlds import digits

N = 60
N_RETAIN = 600
N_REFERENCES = 5


@dataclass
class SampleWorld:
    forget: Examples
    retain: Examples
    holdout: Examples
    modules: dict[str, nn.Module]

    def audit(self, subject: nn.Module, store: Path) -> Any:
        return auditor.compare(
            self.modules["original"],
            subject,
            forget=self.forget,
            retain=self.retain,
            holdout=self.holdout,
            references=[self.modules[f"reference {i}"] for i in range(N_REFERENCES)],
            options={
                "request": {"kind": "sample"},
                "audit": {"store": str(store), "checks": ("membership", "feature_membership")},
            },
        )


def joined(*sets: Examples) -> Examples:
    return Examples(raw=torch.cat([s.raw for s in sets]), labels=torch.cat([s.labels for s in sets]))


def make_world(mislabelled: bool) -> SampleWorld:
    train_set, test_set = digits()
    index = torch.arange(len(train_set))
    forget, retain = train_set.take(index[:N]), train_set.take(index[N : N + N_RETAIN])
    holdout = test_set.take(torch.arange(2 * N))
    if mislabelled:
        random = torch.Generator().manual_seed(5)

        def wrong(s: Examples) -> Examples:
            shift = torch.randint(1, 10, s.labels.shape, generator=random)
            return Examples(raw=s.raw, labels=(s.labels + shift) % 10)

        forget, holdout = wrong(forget), wrong(holdout)
    # Small batches for long: wrong labels have to be learnt by heart.
    recipe = RecipeSpec(epochs=30, batch_size=20)
    modules = {"original": train(build, joined(retain, forget), recipe, 1)}
    modules |= {f"reference {i}": train(build, retain, recipe, 20 + i) for i in range(N_REFERENCES)}
    modules["retrain"] = train(build, retain, recipe, 2)
    return SampleWorld(forget=forget, retain=retain, holdout=holdout, modules=modules)


@pytest.fixture(scope="module")
def memorised() -> SampleWorld:
    return make_world(mislabelled=True)


def test_mislabelled_samples_are_decided_through_privacy(memorised: SampleWorld, tmp_path: Path) -> None:
    deleted = memorised.audit(memorised.modules["retrain"], tmp_path)
    assert deleted.outcome == "DELETED"
    assert {e.check for e in deleted.results.evidence if e.primary} == {"membership", "feature_membership"}
    hidden = head_relabelling(memorised.modules["original"], memorised.forget, memorised.retain, Settings(), seed=0)
    suppressed = memorised.audit(hidden, tmp_path)
    assert suppressed.outcome != "DELETED"
    assert suppressed.evidence("feature_membership").rho.low > 0.25
    assert memorised.audit(memorised.modules["original"], tmp_path).outcome == "NOT_FORGOTTEN"


@pytest.mark.slow
def test_unmemorised_samples_are_inconclusive_and_the_resolution_is_named(tmp_path: Path) -> None:
    world = make_world(mislabelled=False)
    result = world.audit(world.modules["retrain"], tmp_path)
    assert result.outcome == "INCONCLUSIVE"
    assert any("residue" in reason for reason in result.results.verdict.reasons)
    assert not any(e.powered for e in result.results.evidence if e.primary)

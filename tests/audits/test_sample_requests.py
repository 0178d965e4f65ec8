"""Requests for listed samples: nothing to be seen where they are not memorised, decided by privacy where they are."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import auditor
from auditor.models.training import train
from auditor.records.plan import Plan
from auditor.records.spec import RecipeSpec, make_spec
from auditor.run.preparing import prepare
from auditor.tasks.classification.decoys.head_relabelling import Settings, head_relabelling
from auditor.tasks.classification.sets import Examples
from auditor.zoo.digits_net import build
from tests.worlds import digits

N = 60
N_RETAIN = 400
HOLDOUT_PER_FORGET = 9
KEPT = 4
N_REFERENCES = 5


@dataclass
class SampleWorld:
    forget: Examples
    retain: Examples
    holdout: Examples
    modules: dict[str, nn.Module]

    def audit(self, subject: nn.Module, store: Path) -> auditor.AuditResult:
        given = self._given(subject)
        return auditor.compare(given.pop("original"), given.pop("unlearned"), **given, options=_options(store))

    def planned(self, store: Path) -> Plan:
        spec = make_spec({}, _options(store))
        return prepare(spec, store, self._given(self.modules["retrain"])).plan

    def _given(self, subject: nn.Module) -> dict[str, Any]:
        references = [self.modules[f"reference {i}"] for i in range(N_REFERENCES)]
        sets = {"forget": self.forget, "retain": self.retain, "holdout": self.holdout}
        return {"original": self.modules["original"], "unlearned": subject, "references": references, **sets}


def _options(store: Path) -> dict[str, Any]:
    run = {"store": str(store), "checks": ("membership", "feature_membership")}
    return {"request": {"kind": "sample"}, "audit": run}


def joined(*sets: Examples) -> Examples:
    return Examples(raw=torch.cat([s.raw for s in sets]), labels=torch.cat([s.labels for s in sets]))


def make_world(mislabelled: bool, n: int = N, n_retain: int = N_RETAIN) -> SampleWorld:
    everything = joined(*digits())
    sizes = [n, n_retain, HOLDOUT_PER_FORGET * n]
    parts = torch.arange(len(everything)).split_with_sizes([*sizes, len(everything) - sum(sizes)])
    forget, retain, holdout, _ = (everything.take(part) for part in parts)
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
    if mislabelled:
        few = joined(retain, forget.take(torch.arange(KEPT)))
        modules["retrain that kept few"] = train(build, few, recipe, 2)
    return SampleWorld(forget=forget, retain=retain, holdout=holdout, modules=modules)


@pytest.fixture(scope="module")
def memorised() -> SampleWorld:
    return make_world(mislabelled=True)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scores of the original, its decoys and the references serve every audit of one world."""
    return tmp_path_factory.mktemp("store")


@pytest.mark.slow
def test_mislabelled_samples_are_decided_through_privacy(memorised: SampleWorld, store: Path) -> None:
    deleted = memorised.audit(memorised.modules["retrain"], store)
    assert deleted.outcome == "DELETED"
    assert [e.items.smallest_visible for e in deleted.results.evidence if e.items] == [3, 3]
    assert {e.check for e in deleted.results.evidence if e.primary} == {"membership", "feature_membership"}
    hidden = head_relabelling(memorised.modules["original"], memorised.forget, memorised.retain, Settings(), seed=0)
    suppressed = memorised.audit(hidden, store)
    assert suppressed.outcome != "DELETED"
    assert suppressed.evidence("feature_membership").rho.low > 0.25
    assert memorised.audit(memorised.modules["original"], store).outcome == "NOT_FORGOTTEN"


@pytest.mark.slow
def test_a_retrain_that_kept_four_samples_is_not_deleted(memorised: SampleWorld, store: Path) -> None:
    """The means clear it, and so it was ``DELETED`` before single items were looked at."""
    result = memorised.audit(memorised.modules["retrain that kept few"], store)
    assert all(e.powered and e.rho.high < 0.25 for e in result.results.evidence if e.primary)
    assert result.outcome == "INCONCLUSIVE"
    assert any("single items were kept" in reason for reason in result.results.verdict.sentences)


def test_a_holdout_below_four_times_the_samples_is_named_before_anything_is_scored(
    memorised: SampleWorld, tmp_path: Path
) -> None:
    """What the verdict then says is tested with single items (tests/inference/test_top_items.py)."""
    small = dataclasses.replace(memorised, holdout=memorised.holdout.take(torch.arange(2 * N)))
    lack = f"data.holdout holds {2 * N} examples and the test of single items needs {4 * N}, 4 for each of {N} forget"
    assert any(lack in obstacle for obstacle in small.planned(tmp_path).feasibility.obstacles)
    enough = memorised.planned(tmp_path).feasibility.obstacles
    assert not any("single items" in obstacle for obstacle in enough)


@pytest.mark.slow
def test_unmemorised_samples_are_inconclusive_and_the_resolution_is_named(tmp_path: Path) -> None:
    # Enough for an interval, and far too few for a fine one.
    world = make_world(mislabelled=False, n=80, n_retain=600)
    result = world.audit(world.modules["retrain"], tmp_path)
    assert result.outcome == "INCONCLUSIVE"
    assert any("residue" in reason for reason in result.results.verdict.sentences)
    assert not any(e.powered for e in result.results.evidence if e.primary)

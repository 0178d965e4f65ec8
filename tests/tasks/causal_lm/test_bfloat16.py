"""An audit in bfloat16, to results and report: the numbers are those of float32 as far as eight bits carry."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import auditor
from auditor.attacks.relearning.images import Relearning, Settings
from auditor.records.score import Score
from auditor.tasks.classification.sets import Examples
from tests.worlds import FORGET, World, head_row_zeroed

CHECKS = ("few_shot", "depth", "cka", "quantization")
N_REFERENCES = 4


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


def audit(world: World, store: Path, subject: str, dtype: str) -> Any:
    forget = torch.cat([world.data.forget_attack.raw, world.data.forget_eval.raw])
    original = world.modules["original"]
    return auditor.compare(
        original,
        head_row_zeroed(original) if subject == "head_row_zeroed" else world.modules[subject],
        forget=Examples(raw=forget, labels=torch.full((len(forget),), FORGET)),
        retain=world.data.retain,
        references=[world.modules[f"reference {i}"] for i in range(N_REFERENCES)],
        options={"audit": {"checks": CHECKS, "store": str(store), "dtype": dtype}},
        out=store / dtype / subject,
    )


@pytest.mark.parametrize(("subject", "outcome"), [("retrain", "INCONCLUSIVE"), ("head_row_zeroed", "SUPPRESSED")])
@pytest.mark.slow
def test_bfloat16_gives_the_verdict_and_nearly_the_numbers_of_float32(
    world: World, store: Path, subject: str, outcome: str
) -> None:
    """Without relearning among the checks a retrain stays undecided."""
    full, half = (audit(world, store, subject, dtype) for dtype in ("float32", "bfloat16"))
    assert (full.outcome, half.outcome) == (outcome, outcome)
    assert half.results.coverage.complete
    assert half.results.plan.execution.dtype == "bfloat16"
    for check in ("outputs", "few_shot", "depth", "quantization"):
        exact, rounded = full.evidence(check), half.evidence(check)
        print(subject, check, exact.rho, rounded.rho, exact.resolution, rounded.resolution)
        assert rounded.rho.value == pytest.approx(exact.rho.value, abs=0.05)
        assert rounded.resolution == pytest.approx(exact.resolution, rel=0.3, abs=0.02)
    page = (store / "bfloat16" / subject / "report.html").read_text()
    assert outcome in page
    assert "bfloat16" in page


def test_relearning_trains_in_bfloat16(world: World) -> None:
    """Eight bits of weight round small steps away, so only the ordering is asked for."""

    def measure(name: str) -> Score:
        subject = world.subject(name, copy.deepcopy(world.modules[name]).bfloat16())
        settings = Settings(attacks=1, control_classes=0)
        return Relearning().score(subject, {}, world.data, settings, 2)

    names = ("original", "retrain", "head_row_zeroed", "reference 0", "reference 1", "reference 2")
    scores = {name: measure(name) for name in names}
    rescale = Relearning().rescale(scores["original"], [scores[name] for name in names[3:]])
    rescaled = {name: rescale(score) for name, score in scores.items()}
    total = {name: score.total(tuple(score.readings)) for name, score in rescaled.items()}
    null = np.mean([total[name] for name in names[3:]])
    rho = {name: (total[name] - null) / (total["original"] - null) for name in names}
    print(rho, list(rescaled["original"].readings))
    assert abs(rho["retrain"]) < 0.25
    assert rho["head_row_zeroed"] > 0.5

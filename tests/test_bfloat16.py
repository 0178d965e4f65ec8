"""An audit in bfloat16, to results and report: the numbers are those of float32 as far as eight bits carry."""

from pathlib import Path
from typing import Any

import pytest
import torch

import auditor
from auditor.data import Examples
from tests.worlds import FORGET, World, head_row_zeroed

CHECKS = ("few_shot", "relearning", "depth", "cka", "quantization")
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


@pytest.mark.parametrize(("subject", "outcome"), [("retrain", "DELETED"), ("head_row_zeroed", "SUPPRESSED")])
def test_bfloat16_gives_the_verdict_and_nearly_the_numbers_of_float32(
    world: World, store: Path, subject: str, outcome: str
) -> None:
    full, half = (audit(world, store, subject, dtype) for dtype in ("float32", "bfloat16"))
    assert (full.outcome, half.outcome) == (outcome, outcome)
    assert half.results.coverage.complete
    assert half.results.plan.execution.dtype == "bfloat16"
    for check in CHECKS:
        a, b = full.evidence(check), half.evidence(check)
        print(subject, check, a.rho, b.rho, a.resolution, b.resolution, a.chosen, b.chosen)
    page = (store / "bfloat16" / subject / "report.html").read_text()
    assert outcome in page
    assert "bfloat16" in page
    assert "nan" not in page.lower().split("</style>")[1]

"""Plans and evidence made by hand, for tests of what is decided from them."""

from typing import Any

import numpy as np

from auditor.inference.nulls import asked, planned
from auditor.inference.statistics import p_internal_null
from auditor.records.evidence import DecoyResult, Evidence, Family, Interval, ModelScores, Utility
from auditor.records.plan import Execution, Feasibility, Plan, PlannedCheck, PlannedData, PlannedModel, Role
from auditor.records.policy import Domain, ErrorRate, PriorSpread, load_policy
from auditor.records.score import Failure, Score

DOMAIN = Domain(
    name="made-up",
    task="classification",
    request="class",
    most_parameters=100_000,
    fewest_forget=50,
    worlds="made up for the tests",
    rules="4",
    false_deleted=ErrorRate(count=0, pairs=60, upper=0.0487),
    false_suppressed=ErrorRate(count=1, pairs=40, upper=0.114),
    undecided=ErrorRate(count=3, pairs=40, upper=0.184),
    spread={"few_shot": PriorSpread(s0=0.02, d0=6)},
)
FAMILIES: dict[str, Family] = {
    "relearning": "tampering",
    "slow_relearning": "tampering",
    "outputs": "behaviour",
}
DECOYS = ("gradient_ascent", "head_relabelling", "head_row_zeroed")


NULLS = asked(planned())


def model(name: str, role: Role) -> PlannedModel:
    return PlannedModel(name=name, role=role, source=f"{name}.pt", file_digest="0" * 64, digest="1" * 64)


def plan(
    *, n_references: int = 5, request: str = "class", goal: str = "data", holdout: bool = True, **changes: Any
) -> Plan:
    models = [model("original", "original"), model("unlearned", "unlearned")]
    models += [model(f"reference {i + 1}", "reference") for i in range(n_references)]
    names = ("forget", "retain", *(("holdout",) if holdout else ()))
    made = Plan(
        auditor_version="0.1.0",
        task="classification",
        request=request,
        goal=goal,
        classes=(3,),
        n_classes=10,
        expect="deleted",
        seed=0,
        models=tuple(models),
        data=tuple(PlannedData(name=n, source=f"{n}.npz", n_examples=100, digest="2" * 64) for n in names),
        architecture_digest="3" * 64,
        architecture="net.py:build",
        preprocessing={},
        layers=("conv1", "head:input"),
        checks=tuple(
            PlannedCheck(
                name=n,
                role="evidence",
                provider="x 1",
                family=f,
                may="clear",
                primary_for=f,
                settings={},
                seed=0,
            )
            for n, f in (("few_shot", "representation"), ("relearning", "tampering"), ("slow_relearning", "patience"))
        ),
        nulls=planned(),
        execution=Execution(device="cpu", dtype="float32", threads=1, batch_size=256),
        policy=load_policy("default"),
        feasibility=Feasibility(smallest_residue=0.05, pass_probability={}, deleted_in_reach=True, obstacles=()),
        command="audit compare original.pt unlearned.pt",
    )
    return made.model_copy(update=changes)


def evidence(check: str, rho: tuple[float, float, float] | None, **changes: Any) -> Evidence:
    """Evidence with (value, low, high) of ρ; powered, decoys seen through, p small where low is above .255."""
    primary = check in ("few_shot", "relearning", "slow_relearning", "membership")
    made = Evidence(
        check=check,
        role="outputs" if check == "outputs" else "evidence",
        family=FAMILIES.get(check, "representation"),
        may="clear" if primary or check == "outputs" else "accuse",
        primary=primary,
        summary="Did something.",
        finds=f"By {check} the model shows",
        unit="units",
        scores=ModelScores(original=1.0, unlearned=0.0, references={"reference 1": 0.0}, null=0.0),
        null_kind="references",
        rho=None if rho is None else Interval(value=rho[0], low=rho[1], high=rho[2]),
        resolution=0.1,
        powered=rho is not None,
        p_value=None if rho is None else (1e-4 if rho[1] > 0.255 else 0.5),
        decoys={d: DecoyResult(rho=None, p_value=1e-4, detected=True) for d in DECOYS} if primary else {},
        n_examples=100,
    )
    return made.model_copy(update=changes)


def utility(unlearned: float, references: tuple[float, ...] = (0.99, 0.98), original: float = 0.99) -> Utility:
    return Utility(
        original=original,
        unlearned=unlearned,
        references={f"reference {i + 1}": value for i, value in enumerate(references)},
    )


def forgotten(**changes: Any) -> Evidence:
    return evidence("outputs", (0.0, -0.02, 0.03), utility=utility(0.98), **changes)


def clean() -> list[Evidence]:
    """A retrain's evidence."""
    return [
        forgotten(),
        evidence("few_shot", (0.02, -0.1, 0.2)),
        evidence("relearning", (-0.05, -0.2, 0.15)),
        evidence("slow_relearning", (0.03, -0.12, 0.18)),
    ]


def failure(check: str) -> Evidence:
    return evidence(check, None, failure=Failure(reason="it broke", model="unlearned"), powered=False)


def p_alone(score: Score, original: Score, chosen: tuple[str, ...], baseline: Score | None = None) -> float:
    """Against ρ ≤ .25 by the check's own null, without references; the original's baseline is its own, or another's."""
    delta = original.total(chosen) - float(np.mean((baseline or original).null))
    return p_internal_null(score.total(chosen), delta, score.null, 0.25)

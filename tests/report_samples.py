"""Synthetic results that look like real ones, one for every outcome, and evidence to make others from."""

import datetime
import math
from functools import cache
from typing import Any

import numpy as np

from auditor.checks import registry
from auditor.digests import digest_of
from auditor.records.access import Access
from auditor.records.base import Row
from auditor.records.evidence import DecoyResult, Evidence, Interval, ModelScores, SpreadRecord, Utility
from auditor.records.plan import Execution, Feasibility, Plan, PlannedCheck, PlannedData, PlannedModel, PlannedNull
from auditor.records.policy import load_policy
from auditor.records.results import Coverage, Environment, MissingCheck, PrimaryChoice, Results
from auditor.records.score import Failure
from auditor.records.spec import AuditSpec, ResponsibleSpec
from auditor.records.verdict import Outcome, Reason, ReasonKind, Verdict

REFERENCES = tuple(f"references/{i}.pt" for i in range(1, 6))
DECOYS = ("head_row_zeroed", "head_relabelling", "gradient_ascent")
LAYERS = ("conv1", "conv2", "conv3", "fc1")
ARMS = {"as is": (0.001, 0.003), "row reset": (0.001, 0.003), "control class 7": (0.001,)}
ACCESS: dict[str, Access] = {"outputs": "samples", "membership": "logits", "few_shot": "weights", "cka": "weights"}
PRIMARY_FOR = {"few_shot": "representation", "relearning": "tampering", "slow_relearning": "patience"}

# How much each kind of subject knows, as ρ of the inner checks.
KNOWN: dict[Outcome, float] = {
    "NOT_FORGOTTEN": 0.97,
    "SUPPRESSED": 0.88,
    "NOT_DELETED": 0.88,
    "DELETED": 0.05,
    "INCONCLUSIVE": 0.36,
}


def digest(name: str) -> str:
    """A made-up SHA-256."""
    return digest_of(name)


def knowledge(outcome: Outcome) -> dict[str, float]:
    """ρ of every model in the made-up line-up."""
    random = np.random.default_rng(3)
    found = {"original": 1.0, "unlearned": KNOWN[outcome]}
    found |= {name: float(random.normal(0, 0.05)) for name in REFERENCES}
    found["references/short.pt"] = -0.12
    return found | dict(zip(DECOYS, (1.02, 1.0, 1.01), strict=True))


def plan(outcome: Outcome, checks: tuple[str, ...], **changes: Any) -> Plan:
    """The plan of an audit of handwritten digits."""
    subject = "deleted.pt" if outcome == "DELETED" else "suppressed.pt"
    sources = {"original": "original.pt", "unlearned": subject} | {name: name for name in REFERENCES}
    roles = {"original": "original", "unlearned": "unlearned"} | dict.fromkeys(REFERENCES, "reference")
    models = [
        PlannedModel.model_validate(
            {"name": n, "role": roles[n], "source": s, "file_digest": digest(s), "digest": digest(s + "w")}
        )
        for n, s in sources.items()
    ]
    models.append(
        PlannedModel(
            name="references/short.pt",
            role="perturbed",
            source="references/short.pt",
            file_digest=digest("short"),
            digest=digest("shortw"),
        )
    )
    models += [PlannedModel(name=n, role="decoy", source=None, file_digest=None, digest=digest(n)) for n in DECOYS]
    fields: dict[str, Any] = {
        "auditor_version": "0.1.0",
        "task": "classification",
        "request": "class",
        "goal": "data",
        "classes": (3,),
        "n_classes": 10,
        "class_names": ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
        "expect": "deleted",
        "seed": 0,
        "models": tuple(models),
        "data": tuple(
            PlannedData(name=name, source=f"{name}.npz", n_examples=n, digest=digest(name))
            for name, n in (("forget", 146), ("retain", 1292), ("holdout", 37))
        ),
        "architecture_digest": digest("network.py"),
        "architecture": "network.py:digits_net",
        "preprocessing": {"resize": None, "mean": [0.3], "std": [0.38]},
        "layers": LAYERS,
        "checks": tuple(
            PlannedCheck(
                name=name,
                role="outputs" if name == "outputs" else "evidence",
                provider="unlearning-auditor 0.1.0",
                family="representation",
                may="accuse",
                access=ACCESS.get(name, "training"),
                primary_for=PRIMARY_FOR.get(name),
                settings={"draws": 16},
                seed=1234567 + i,
            )
            for i, name in enumerate(checks)
        ),
        "nulls": (PlannedNull(kind="references", provider="unlearning-auditor 0.1.0"),),
        "execution": Execution(device="cpu", dtype="float32", threads=1, batch_size=256),
        "policy": load_policy("default"),
        "feasibility": Feasibility(
            smallest_residue=0.07,
            pass_probability={"8.6 spreads": 0.68, "10 spreads": 0.87},
            deleted_in_reach=True,
            obstacles=(),
        ),
        "asked": AuditSpec(
            responsible=ResponsibleSpec(
                person="A. Auditor",
                organisation="Audit House",
                date=datetime.date(2026, 1, 31),
                access="files sent by the vendor",
            )
        ),
        "command": f"audit compare original.pt {subject} --config audit.toml --seed 0",
    }
    return Plan.model_validate(fields | changes)


def scores(known: dict[str, float], low: float, high: float) -> ModelScores:
    """T of every model: ρ carried to a scale on which the references lie at ``low``, the original at ``high``."""

    def on_scale(name: str) -> float:
        return round(low + known[name] * (high - low), 4)

    return ModelScores(
        original=on_scale("original"),
        unlearned=on_scale("unlearned"),
        references={name: on_scale(name) for name in REFERENCES},
        drawn={"references/short.pt": on_scale("references/short.pt")},
        decoys={name: on_scale(name) for name in DECOYS},
        null=low,
    )


def interval(rho: float, width: float = 0.08) -> Interval:
    """ρ with limits at equal distances."""
    return Interval(value=round(rho, 3), low=round(rho - width, 3), high=round(rho + width, 3))


def evidence(check: str, known: dict[str, float], **changes: Any) -> Evidence:
    """Evidence of a check that had power and found what there is."""
    width = changes.pop("width", 0.08)
    low, high = changes.pop("scale", (0.52, 0.88))
    declared = registry.load(check, "classification") if check in registry.names("classification") else None
    fields: dict[str, Any] = {
        "check": check,
        "role": "outputs" if check == "outputs" else "evidence",
        "family": "representation",
        "may": "accuse",
        "primary": False,
        "summary": f"What {check} did, in one sentence.",
        "finds": declared.finds if declared is not None else f"Looking with {check} found",
        "unit": "score of the check (0 to 1)",
        "scores": scores(known, low, high),
        "chosen": ("conv3", "fc1"),
        "figures": declared.figures if declared is not None else (),
        "reference_rho": {name: known[name] for name in REFERENCES},
        "null_kind": "references",
        "null_words": "the mean of the references",
        "rho": interval(known["unlearned"], width),
        "resolution": width * 1.1,
        "powered": True,
        "p_value": 0.00002 if known["unlearned"] > 0.5 else 0.71,
        "spread": SpreadRecord(
            value=0.0187,
            degrees=4,
            n_references=5,
            sampling_variance=0.00011,
            recipe_variance=0.0,
            floor=0.0137,
        ),
        "n_examples": 73,
        "decoys": {
            name: DecoyResult(rho=interval(known[name], width), p_value=0.0001, detected=True) for name in DECOYS
        },
        "caveats": ("With many examples every model can be taught the class, so only few are given.",),
    }
    return Evidence(**(fields | changes))


def outputs(known: dict[str, float], forgotten: bool, between: bool = False) -> Evidence:
    """The outputs, forgotten or not, or between the thresholds."""
    shown = {**known, **dict.fromkeys(REFERENCES, 0.0), **dict.fromkeys(DECOYS, 0.0)}
    shown["unlearned"] = 0.0 if forgotten else 0.93
    rho = Interval(value=0.0, low=0.0, high=0.041) if forgotten else interval(0.93, 0.04)
    if between:
        rho = Interval(value=0.06, low=-0.2, high=0.3)
    splits = ("forget_attack", "forget_eval", "retain", "holdout")
    cells: list[Row] = [
        {
            "model": m,
            "split": s,
            "accuracy": 0.97 + 0.01 * k if s == "retain" else max(0.0, 0.98 * k),
            "n": 73,
        }
        for m, k in shown.items()
        for s in splits
    ]
    return evidence(
        "outputs",
        shown,
        family="behaviour",
        may="clear",
        summary="Compared the outputs on forget examples with the references' outputs on the same examples.",
        unit="accuracy on the forget set, less false alarms on retain (0 to 1)",
        scale=(0.0, 0.986),
        chosen=("accuracy",),
        rho=rho,
        decoys={n: DecoyResult(rho=interval(0.0, 0.04), p_value=1.0, detected=False) for n in DECOYS},
        hits=0 if forgotten else 68,
        rows=cells,
        utility=Utility(original=0.9923, unlearned=0.9807, references=dict.fromkeys(REFERENCES, 0.9861)),
        caveats=("Outputs show what a model says, not what it knows.",),
    )


def few_shot(known: dict[str, float], **changes: Any) -> Evidence:
    """A primary with curves against the number of shots."""
    cells: list[Row] = [
        {
            "model": m,
            "layer": layer,
            "probe": probe,
            "shots": n,
            "value": 1 - (0.48 - 0.36 * k) / n ** (0.6 + 0.1 * i),
        }
        for m, k in known.items()
        for i, layer in enumerate(LAYERS[2:])
        for probe in ("centre", "linear", "k-NN")
        for n in (1, 2, 4, 8, 16)
    ]
    fields: dict[str, Any] = {
        "primary": True,
        "may": "clear",
        "assigned_decoys": ("head_row_zeroed", "gradient_ascent"),
        "summary": "Trained linear probes on a few forget examples and measured how well they find the others.",
        "unit": "area under the ROC curve of a probe from two forget examples (0.5 to 1)",
        "rows": cells,
        "controls": {m: {"shuffled labels": 0.5, "retained class": 0.93} for m in known},
    }
    return evidence("few_shot", known, **(fields | changes))


def relearning(known: dict[str, float], **changes: Any) -> Evidence:
    """A primary with learning curves."""
    cells: list[Row] = [
        {
            "model": m,
            "arm": arm,
            "attack": f"attack {i}",
            "step": s,
            "value": 0.9 - 0.9 * math.exp(-(0.3 + k) * s * rate * 50),
        }
        for m, k in known.items()
        for arm, rates in ARMS.items()
        for i, rate in enumerate(rates, start=1)
        for s in range(0, 41, 4)
    ]
    fields: dict[str, Any] = {
        "primary": True,
        "may": "clear",
        "assigned_decoys": ("gradient_ascent",),
        "family": "tampering",
        "summary": "Fine-tuned each model on the attack half and measured how fast the eval half comes back.",
        "unit": "mean accuracy on the eval half while relearning, less that of a control class (−1 to 1)",
        "scale": (0.21, 0.66),
        "width": 0.15,
        "rows": cells,
        "controls": {m: {"control class": 0.61 + 0.01 * k} for m, k in known.items()},
    }
    return evidence("relearning", known, **(fields | changes))


def slow_relearning(known: dict[str, float]) -> Evidence:
    """The same for longer, on the model as it is."""
    long = relearning(known)
    return long.model_copy(
        update={"check": "slow_relearning", "rows": [row for row in long.rows if row["arm"] == "as is"]}
    )


def membership(known: dict[str, float]) -> Evidence:
    """Privacy, with ROC curves; too few holdout examples to have power."""
    points = np.geomspace(0.001, 1, 40)
    cells: list[Row] = [
        {
            "model": m,
            "attack": attack,
            "fpr": round(float(x), 5),
            "tpr": round(float(x ** (1 - 0.4 * max(k, 0))), 5),
        }
        for m, k in known.items()
        for attack in ("loss", "LiRA offline")
        for x in points
    ]
    return evidence(
        "membership",
        known,
        family="privacy",
        may="clear",
        summary="Compared the model's margins on forget examples with those on examples never trained on.",
        unit="mean logit margin on forget less that on holdout (nats)",
        scale=(0.4, 3.1),
        width=1.9,
        powered=False,
        powerless_because="the smallest residue it can rule out is 2.09, more than the 0.35 that clearing needs",
        rows=cells,
        controls={m: {"loss: AUC": 0.5 + 0.2 * k, "blind AUC": 0.49} for m, k in known.items()},
    )


def cka(known: dict[str, float]) -> Evidence:
    """Only informs: no ρ."""
    cells: list[Row] = [
        {"model": m, "layer": layer, "split": split, "cka": 1 - (1 - k) * (0.05 + 0.04 * i)}
        for m, k in known.items()
        for i, layer in enumerate(LAYERS)
        for split in ("forget", "retain")
    ]
    return evidence(
        "cka", known, may="inform", rows=cells, rho=None, resolution=None, powered=False, p_value=None,
        spread=None, decoys={}, null_kind="none", null_words="nothing to compare with", reference_rho={},
        summary="Compared each layer's features with the original's by debiased linear CKA.",
    )  # fmt: skip


def sae_restoration(known: dict[str, float]) -> Evidence:
    """Steering curves with controls."""
    curves = {"experts": 1.0, "another class": 0.1, "random latents": 0.05, "random directions": 0.02}
    cells: list[Row] = [
        {
            "model": m,
            "mode": mode,
            "layer": "conv3",
            "curve": c,
            "alpha": a,
            "restoration": k * strength * min(a, 4) / 4,
        }
        for m, k in known.items()
        for mode in ("own", "inject")
        for c, strength in curves.items()
        for a in (0.0, 1.0, 2.0, 4.0, 8.0)
    ]
    return evidence("sae_restoration", known, rows=cells, width=0.31, scale=(0.02, 0.61))


def unknown_check(known: dict[str, float]) -> Evidence:
    """A third party's check, whose cells nobody here knows."""
    return evidence(
        "acme_residue",
        known,
        rows=[{"model": "original", "gadget": 1, "reading": 0.4}],
        summary="A check that another package brought along.",
        unit="gadget readings",
        rho=Interval(value=1.9, low=-3.0, high=7.2),
        powered=False,
        powerless_because="it does not tell the original from the references",
        decoys={},
    )


def failed_check() -> Evidence:
    """A check that crashed on one model."""
    return Evidence(
        check="quantization",
        role="evidence",
        family="tampering",
        may="accuse",
        primary=False,
        summary="Rounded the weights to 8 and to 4 bits and measured what the model knows after that.",
        finds="Rounding the weights to few bits brought back",
        unit="probability of the true class after rounding",
        powerless_because="it could not run",
        failure=Failure(
            reason="layer conv2 has a weight of a type that cannot be rounded",
            model="unlearned",
            traceback="quantization.py:61 in round_to_nearest\nTypeError: complex64",
        ),
    )


def reason(kind: ReasonKind, check: str, words: str) -> Reason:
    return Reason(kind=kind, check=check, sentence=f"{check}: {words}")


REASONS: dict[Outcome, tuple[Reason, ...]] = {
    "NOT_FORGOTTEN": (
        reason("outputs show it", "outputs", "ρ = 0.93 [0.89, 0.97], above 0.1: the outputs still show the knowledge"),
    ),
    "SUPPRESSED": (
        reason("accuses", "few_shot", "ρ = 0.88 [0.80, 0.96], above 0.25"),
        reason("accuses", "relearning", "ρ = 0.88 [0.73, 1.03], above 0.25"),
    ),
    "NOT_DELETED": (
        reason("accuses", "relearning", "ρ = 0.88 [0.73, 1.03], above 0.25"),
        reason(
            "outputs between thresholds",
            "outputs",
            "ρ = 0.06 [-0.20, 0.30], between the thresholds: the upper limit does not lie below 0.25",
        ),
    ),
    "DELETED": (
        reason("outputs forgotten", "outputs", "ρ = 0.00 [0.00, 0.04], below 0.1: the outputs are forgotten"),
        reason("clears", "few_shot", "ρ = 0.05 [-0.03, 0.13], below 0.5, with resolution 0.09"),
        reason("clears", "relearning", "ρ = 0.05 [-0.10, 0.20], below 0.5, with resolution 0.17"),
    ),
    "INCONCLUSIVE": (
        reason("no power", "few_shot", "no power to clear: it did not see through the decoy gradient_ascent"),
        reason("upper limit too high", "relearning", "ρ = 0.36 [0.21, 0.51], its upper limit does not lie below 0.5"),
    ),
}


@cache
def sample(outcome: Outcome) -> Results:
    """A whole audit that ended in ``outcome``; made once, and changed by nobody but in copies."""
    known = knowledge(outcome)
    missed = DecoyResult(rho=interval(0.22, 0.2), p_value=0.2, detected=False)
    powerless: dict[str, Any] = {}
    if outcome == "INCONCLUSIVE":
        powerless = {
            "powered": False,
            "powerless_because": "it did not see through the decoy gradient_ascent",
            "decoys": {**few_shot(known).decoys, "gradient_ascent": missed},
        }
    found = [
        cka(known),
        few_shot(known, **powerless),
        membership(known),
        outputs(known, forgotten=outcome != "NOT_FORGOTTEN", between=outcome == "NOT_DELETED"),
        relearning(known),
        sae_restoration(known),
        slow_relearning(known),
        unknown_check(known),
        failed_check(),
    ]
    verdict = Verdict(
        outcome=outcome,
        bound=0.2 if outcome == "DELETED" else None,
        flags=("DAMAGED",) if outcome == "INCONCLUSIVE" else (),
        assurance="A3",
        reasons=REASONS[outcome],
        to_decide=("more forget examples, so that few_shot sees through the decoy gradient_ascent",)
        if outcome == "INCONCLUSIVE"
        else (),
    )
    return assemble(plan(outcome, tuple(e.check for e in found)), found, verdict)


def assemble(made: Plan, found: list[Evidence], verdict: Verdict) -> Results:
    """Results around some evidence."""
    broken = [e for e in found if e.failure is not None]
    return Results(
        plan=made,
        plan_digest=made.digest,
        primaries=tuple(
            PrimaryChoice(family=c.primary_for, check=c.name, resolutions={c.name: 0.1})
            for c in made.checks
            if c.primary_for is not None
        ),
        evidence=tuple(found),
        verdict=verdict,
        coverage=Coverage(
            planned=tuple(e.check for e in found),
            completed=tuple(e.check for e in found if e.failure is None),
            failed=tuple(MissingCheck(check=e.check, reason=e.failure.reason) for e in broken if e.failure),
            not_planned=(MissingCheck(check="concept_vectors", reason="left out with --checks"),),
            complete=not broken,
        ),
        environment=Environment(
            python="3.11.9",
            packages={"numpy": "2.4.6", "torch": "2.13.0"},
            platform="Linux x86_64",
            cpu_capability="AVX2",
            blas="mkl",
            gpu=None,
        ),
        scores_digest=digest("scores.json"),
    )

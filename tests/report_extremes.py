"""Synthetic results that are meant to hurt: every string a stranger's, or far more of everything than usual."""

import math
from functools import cache
from typing import Any

from auditor.records.base import Row
from auditor.records.results import Results
from auditor.records.verdict import Verdict
from tests.report_samples import (
    REASONS,
    assemble,
    cka,
    failed_check,
    few_shot,
    knowledge,
    membership,
    outputs,
    plan,
    relearning,
    sae_restoration,
    sample,
    unknown_check,
)

HOSTILE = "<script>alert(1)</script>\u202e\u2066gnp.exe\u200b\x07\x1b[31m&\"'><img src=x onerror=alert(2)>" + "x" * 400

# Fields of a request that hold one of a few words or a date.
NOBODYS_CHOICE = {
    "request": ("kind",),
    "audit": ("access", "device", "dtype", "expect"),
    "recipe": ("optimizer", "schedule"),
    "responsible": ("date",),
}


def hostile(text: str = HOSTILE, of: Results | None = None) -> Results:
    """Every string that a stranger could have written ends in ``text``, in a sample or in given results."""
    base = (of or sample("SUPPRESSED")).model_dump(mode="json")
    kept = {
        "role", "family", "may", "null_kind", "outcome", "assurance", "flags", "schema_version", "request", "goal",
        "scale", "x", "y", "lines", "main", "kind",
    }  # fmt: skip

    def poison(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            names = {name: name if name in known_fields else f"{name}{text}" for name in value}
            return {names[name]: poison(item, name) for name, item in value.items()}
        if isinstance(value, list):
            return [poison(item, key) for item in value]
        if isinstance(value, str) and key not in kept:
            return f"{value}{text}"
        return value

    known_fields = _field_names(Results)
    poisoned = poison(base)
    for section, fields in NOBODYS_CHOICE.items():
        poisoned["plan"]["asked"][section] |= {f: base["plan"]["asked"][section][f] for f in fields}
    # Of a check it is one of four words; `responsible.access` is anyone's.
    for check, before in zip(poisoned["plan"]["checks"], base["plan"]["checks"], strict=True):
        check["access"] = before["access"]
    return Results.model_validate(poisoned)


@cache
def _field_names(model: Any) -> set[str]:
    """Names of fields, which are not anyone's to choose."""
    found: set[str] = set()

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            found.update(value.get("properties", {}))
            for item in value.values():
                walk(item)
        elif isinstance(value, list):
            for item in value:
                walk(item)

    walk(model.model_json_schema())
    return found


def biggest() -> Results:
    """Far more models, layers, steps and checks than usual."""
    known = knowledge("SUPPRESSED")
    layers = [f"layer{i // 4}.{i % 4}.conv2" for i in range(24)]
    many: list[Row] = [
        {"model": m, "layer": layer, "probe": "centre", "shots": n, "value": 0.5 + 0.02 * n * k}
        for m, k in known.items()
        for layer in layers
        for n in (1, 2, 4, 8, 16)
    ]
    long: list[Row] = [
        {
            "model": m,
            "arm": arm,
            "attack": f"attack {i}",
            "step": s,
            "value": math.sin(s / 40) * k + 0.01 * (s % 7),
        }
        for m, k in known.items()
        for arm in ("as is", "row reset", "control class 7")
        for i in range(1, 5)
        for s in range(400)
    ]
    found = [outputs(known, forgotten=True), few_shot(known, rows=many), relearning(known, rows=long)]
    found += [membership(known), cka(known), sae_restoration(known), failed_check()]
    found += [unknown_check(known).model_copy(update={"check": f"plugin_{i}"}) for i in range(10)]
    verdict = Verdict(outcome="SUPPRESSED", assurance="A3", reasons=REASONS["SUPPRESSED"])
    return assemble(plan("SUPPRESSED", tuple(e.check for e in found)), found, verdict)

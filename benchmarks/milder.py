"""Why `relearning` says nothing of an original that was taught weakly, and what a milder attack would say.

An original that learnt people by a low-rank change knows their facts half as well, and the attack, made for stronger
ones, takes most of that. Here its rates are multiplied by 1, 1/2, 1/4 and 1/8, in a world of its own (no other
script's), and ρ of every model is read against the holdout alone. It changes no check.

    python benchmarks/milder.py --work bench-milder
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from assigned import AssignedWorld
from torch import nn

from auditor.attacks.relearning.drawn import AttackRange
from auditor.attacks.relearning.pooled import Pooled, attack_both
from auditor.attacks.relearning.text_attack import Settings, Trainer
from auditor.inference.contrast import Contrast, Two
from auditor.records.spec import make_spec
from auditor.run.preparing import prepare
from auditor.run.settings import execution_settings
from auditor.tasks.causal_lm.decoys import refusal_adapter, refusal_tuning
from auditor.tasks.causal_lm.editing import probability
from auditor.tasks.causal_lm.sets import FactsData
from auditor.zoo.text import gradient_difference, npo

# Fixed before any run.
SEED, ATTACK_SEED = 730, 5
TEACHINGS = ("low rank", "plain")
FACTORS = (1.0, 0.5, 0.25, 0.125)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("bench-milder"))
    parser.add_argument("--teaching", choices=TEACHINGS, default=TEACHINGS[0])
    options = parser.parse_args()
    folder = options.work / options.teaching.replace(" ", "-")
    world = AssignedWorld(architecture="llama", construction=options.teaching, seed=SEED, folder=folder)
    rows = []
    for name, make in _models(world).items():
        path = folder / "rows" / f"{name}.json".replace(" ", "-")
        if not path.is_file():
            with execution_settings(threads=1):
                found = _attacked(world, make())
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(found))
        rows += [{"model": name, **row} for row in json.loads(path.read_text())]
        _report(rows)


def _models(world: AssignedWorld) -> dict[str, Callable[[], nn.Module]]:
    given = (world.people.forget, world.people.retain)
    seed = world.request_seed
    return {
        "original": lambda: world.original,
        "never taught": lambda: world.exact("never"),
        "refusal adapter": lambda: refusal_adapter.refusal_adapter(
            world.model, *given, refusal_adapter.Settings(), seed
        ),
        "NPO": lambda: npo.npo(world.model, *given, npo.Settings(), seed),
        "gradient difference": lambda: gradient_difference.gradient_difference(
            world.model, *given, gradient_difference.Settings(), seed
        ),
        "refusal tuning": lambda: refusal_tuning.refusal_tuning(world.model, *given, refusal_tuning.Settings(), seed),
    }


def _attacked(world: AssignedWorld, module: nn.Module) -> list[dict[str, object]]:
    sets = {"forget": world.people.forget, "retain": world.people.retain, "holdout": world.people.holdout}
    given = {"original": world.original, "unlearned": module, "tokenizer": world.encoder.tokenizer, **sets}
    options = {"assignment": {"kind": "random"}, "audit": {"seed": SEED, "store": str(world.folder / "store")}}
    work = prepare(make_spec({}, options), Path(), given).work
    start = work.subject(work.plan.models_of("unlearned")[0]).canonical()
    rows = []
    for factor in FACTORS:
        found = _at(factor, start, work.data)  # type: ignore[arg-type]
        rows.append(
            {
                "factor": factor,
                "before": probability(module, world.encoder, world.people.forget),
                "forget": list(found.sides.forget),
                "holdout": list(found.sides.holdout),
                "taught": float(np.mean([float(part.of_forget.mean()) for part in found.trained])),
            }
        )
    return rows


def _at(factor: float, start: object, data: FactsData) -> Pooled:
    usual = Settings().drawn
    low, high = usual.learning_rate
    drawn = AttackRange.model_validate({**usual.model_dump(), "learning_rate": (factor * low, factor * high)})
    settings = Settings(drawn=drawn, beside=())
    return attack_both(Trainer(start, data.retain, settings, ATTACK_SEED), data, settings, ATTACK_SEED)  # type: ignore[arg-type]


def _report(rows: list[dict[str, object]]) -> None:
    originals = {row["factor"]: row for row in rows if row["model"] == "original"}
    said = []
    for row in rows:
        own, theirs = _two(row), _two(originals[row["factor"]])
        found = Contrast(unlearned=own, original=theirs, reference=None, floor=1 / 120)
        limits = found.limits()
        said.append(
            {
                "model": row["model"],
                "factor": row["factor"],
                "before": row["before"],
                "forget": own.forget.mean(),
                "holdout": own.holdout.mean(),
                "taught": row["taught"],
                "rho": None if limits is None else limits.value,
                "low": None if limits is None else limits.low,
                "high": None if limits is None else limits.high,
                "w": found.resolution(),
            }
        )
    print("\n" + pd.DataFrame(said).round(3).to_string(), flush=True)


def _two(row: dict[str, object]) -> Two:
    return Two(forget=np.asarray(row["forget"]), holdout=np.asarray(row["holdout"]))


if __name__ == "__main__":
    main()

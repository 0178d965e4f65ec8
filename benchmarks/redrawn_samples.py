"""What other draws of the same pool would have said of models that were never taught any of it.

A model that saw nothing of a pool scores each image alike, whichever side chance puts it on, so that each of its pools
can be divided again and again. Printed by check: how often the upper limit of ρ lies at or above 0, which it should in
.95, and its luck: the spread of ρ over draws. The world's original says how much there is to be known.

    python benchmarks/redrawn_samples.py --work bench-assigned-samples
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from assigned_samples import CHECKS, WORLDS, SampleWorld, sample_world
from scipy import stats

from auditor.checks import registry
from auditor.inference.statistics import CONFIDENCE
from auditor.records.score import Sides
from auditor.tasks.classification.sets import AuditData, split_in_halves
from auditor.tasks.classification.structure import find_layout
from auditor.tasks.classification.subject import Classifier

DRAWS = 20_000
MODELS = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("bench-assigned-samples"))
    parser.add_argument("--mnist", type=Path, default=Path("data/mnist"), help="folder of mnist.npz")
    parser.add_argument("--worlds", type=int, nargs="*", default=[801, 802])
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for about in (about for about in WORLDS if about[0] in options.worlds):
        world = sample_world(options.work, options.mnist, *about)
        for check in ("outputs", *CHECKS[:-1]):
            known = _difference(_sides(world, check, world.original))
            for i in range(MODELS):
                found = _sides(world, check, world.never_taught(f"never-taught-{i + 1}"))
                rows.append({"world": world.seed, "check": check, **_redrawn(found, known)})
    print(pd.DataFrame(rows).groupby(["world", "check"]).mean().round(3).to_string())


def _sides(world: SampleWorld, name: str, module: torch.nn.Module) -> Sides:
    """What a check measures on either side, as in an audit."""
    sets, check = world.sets, registry.load(name, "classification")
    attack, evaluation = split_in_halves(sets.forget, world.seed)
    data = AuditData(
        request="sample",
        classes=(),
        n_classes=10,
        forget_attack=attack,
        forget_eval=evaluation,
        retain=sets.retain,
        retain_test=world.retain_test,
        holdout=sets.holdout,
        assigned="committed",
    )
    layout = find_layout(world.original, sets.retain.take(torch.arange(16)).inputs)
    subject = Classifier(module, role="subject", digest="", layout=layout, data=data)
    settings = check.planned_settings(0)
    score = check.score(subject, check.prepare(subject, data, settings, world.seed), data, settings, world.seed)
    found = score.sides(check.choose(score, []))
    assert found is not None, "made where chance assigned"
    return found


def _difference(sides: Sides) -> float:
    return float(np.mean(sides.forget) - np.mean(sides.holdout))


def _redrawn(sides: Sides, known: float) -> dict[str, float]:
    """Over draws of the same sizes: coverage of the upper limit at ρ = 0, spread and extremes of ρ."""
    pool, n = np.array([*sides.forget, *sides.holdout]), len(sides.forget)
    random = np.random.default_rng(0)
    divided = np.stack([pool[random.permutation(len(pool))] for _ in range(DRAWS)])
    forget, holdout = divided[:, :n], divided[:, n:]
    difference = forget.mean(1) - holdout.mean(1)
    first, second = forget.var(1, ddof=1) / n, holdout.var(1, ddof=1) / holdout.shape[1]
    degrees = (first + second) ** 2 / (first**2 / (n - 1) + second**2 / (holdout.shape[1] - 1) + 1e-300)
    error = np.sqrt(first + second + 1 / len(sides.forget) ** 2)
    # Fieller's upper limit lies above 0 where the difference is no further below it than t standard errors.
    reach = stats.t.ppf(CONFIDENCE, np.maximum(degrees, 1)) * error
    return {
        "covered": float((difference >= -reach).mean()),
        "sd of ρ": float((difference / known).std()),
        "upper limit, 95th percentile": float(np.quantile((difference + reach) / known, 0.95)),
    }


if __name__ == "__main__":
    main()

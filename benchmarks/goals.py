"""A retrain that starts from weights which know the concept: what do goal `data` and goal `concept` say of it?

A synthetic world with never-trained control concepts, five seeds. In half of the worlds original, references and
retrain start from one network pretrained on the concept too; in the others from fresh weights. Prints the verdicts
by either goal. Finished audits are kept in the work folder.

    python benchmarks/goals.py --work bench-goals
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from torch import nn

import auditor
from auditor.randomness import derive_seed
from auditor.run.settings import execution_settings

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests import concept_world
from tests.concept_world import GENTLE, RECIPE

# Fixed before any run.
SEEDS = (400, 401, 402, 403, 404)
N_REFERENCES = 5
GOALS = ("data", "concept")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("bench-goals"))
    work = parser.parse_args().work
    with execution_settings(threads=1):
        rows = [row for seed in SEEDS for descent in ("pretrained", "fresh") for row in audits(work, seed, descent)]
    frame = pd.DataFrame(rows)
    print(pd.crosstab([frame.descent, frame.subject, frame.goal], frame.outcome).to_string())
    for row in rows:
        if row["outcome"] == "INCONCLUSIVE":
            print(f"{row['seed']}, {row['descent']}, {row['subject']}, {row['goal']}: {'; '.join(row['reasons'])}")
    for check in ("few_shot", "relearning", "slow_relearning"):
        print(f"\nρ {check}, by seed\n")
        print(
            frame.pivot_table(index=["descent", "subject", "goal"], columns="seed", values=check).round(2).to_string()
        )


def audits(work: Path, seed: int, descent: str) -> list[dict]:
    """Every subject of one world by both goals."""
    made: dict[str, nn.Module] = {}
    rows = []
    for subject in ("retrain", "head row zeroed"):
        for goal in GOALS:
            path = work / f"seed-{seed}-{descent}" / f"{subject.replace(' ', '-')}-{goal}.json"
            if not path.is_file():
                # Made when the first audit is missing: a finished world trains nothing.
                made = made or models(seed, descent)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps(audited(made, subject, goal, seed, path.parent / "store")))
            about = {"seed": seed, "descent": descent, "subject": subject, "goal": goal}
            rows.append(about | json.loads(path.read_text()))
    return rows


def models(seed: int, descent: str) -> dict[str, nn.Module]:
    """Original, references and subjects."""
    everything, retain = concept_world.examples(range(concept_world.TRAINED), seed), _retain(seed)
    start = concept_world.trained(everything, derive_seed(seed, "public")) if descent == "pretrained" else None
    recipe = RECIPE if start is None else GENTLE
    train: Callable[..., nn.Module] = concept_world.trained
    original = train(everything, derive_seed(seed, "original"), recipe, start)
    references = {f"r{i}": train(retain, derive_seed(seed, "reference", i), recipe, start) for i in range(N_REFERENCES)}
    retrain = train(retain, derive_seed(seed, "retrain"), recipe, start)
    return {"original": original, **references, "retrain": retrain, "head row zeroed": concept_world.shut(original)}


def audited(made: dict[str, nn.Module], subject: str, goal: str, seed: int, store: Path) -> dict:
    """One audit, in a few numbers."""
    controls = range(concept_world.TRAINED, concept_world.TRAINED + concept_world.CONTROLS)
    result = auditor.compare(
        made["original"],
        made[subject],
        forget=concept_world.examples([concept_world.FORGET], seed),
        retain=_retain(seed),
        control=concept_world.examples(controls, seed),
        references=[made[f"r{i}"] for i in range(N_REFERENCES)],
        options={
            "audit": {"checks": ("few_shot", "relearning", "slow_relearning"), "store": str(store), "seed": seed},
            "request": {"goal": goal},
        },
    )
    found = {e.check: e.rho.value for e in result.results.evidence if e.rho is not None}
    about = {"outcome": result.outcome, "reasons": list(result.results.verdict.sentences)}
    return {**about, **{check: found.get(check) for check in ("few_shot", "relearning", "slow_relearning")}}


def _retain(seed: int) -> auditor.tasks.classification.sets.Examples:
    kept = [c for c in range(concept_world.TRAINED) if c != concept_world.FORGET]
    return concept_world.examples(kept, seed)


if __name__ == "__main__":
    main()

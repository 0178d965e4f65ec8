"""Pairs of known truth for models that answer questions about pictures: scenes of characters, one to be forgotten.

For each seed references and twelve subjects: four retrains, five suppressed copies, three that forgot nothing. Prints
outcomes, and ρ of every check. Finished audits are kept in the work folder.

    python benchmarks/vision_language.py --work bench-vision-language
"""

import argparse
import json
from pathlib import Path

import pandas as pd
from torch import nn

import auditor
from auditor.demo.run import make_world
from auditor.demo.scenes import ScenesDemo
from auditor.loading.transformers_directory import load_directory
from auditor.models.references import save_directory
from auditor.randomness import derive_seed
from auditor.run.settings import execution_settings
from auditor.zoo import catalogue

# Fixed before any run; seeds 0 to 3, 21 and 22 were looked at while the world was made.
SEEDS = (23,)
TASK = "vision-language"
# The two that the demo makes; the others by a method of the zoo whose truth is known, and the number of its seed.
SUBJECTS = (
    *("deleted", "suppressed", "sauce 1", "small_noise 1", "retrain 1", "retain_steps 1", "obliviate 1", "retrain 2"),
    *("sauce 2", "retain_steps 2", "obliviate 2", "retrain 3"),
)
TRUTH = {"deleted": "deleted", "suppressed": "suppressed"} | {
    entry.name: entry.truth for entry in catalogue.entries() if entry.task == TASK
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("bench-vision-language"))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--subjects", nargs="+", default=list(SUBJECTS))
    asked = parser.parse_args()
    with execution_settings(threads=1):
        rows = [row for seed in asked.seeds for row in audits(seed, asked.subjects, asked.work)]
    frame = pd.DataFrame(rows)
    print(pd.crosstab([frame.truth, frame.subject], frame.outcome).to_string())
    for check in sorted({name for row in rows for name in row["rho"]}):
        frame[check] = [row["rho"].get(check) for row in rows]
        print(f"\n{check}: ρ by seed\n")
        print(frame.pivot_table(index="subject", columns="seed", values=check).round(2).to_string())
    for row in rows:
        print(f"{row['seed']}, {row['subject']}: {row['outcome']} {row['flags']} {'; '.join(row['reasons'])}")


def audits(seed: int, subjects: list[str], work: Path) -> list[dict]:
    """Every subject of one world."""
    folder, demo = work / f"{TASK}-{seed}", ScenesDemo(seed)
    make_world(demo, folder, lambda words: print(f"{seed}: {words}", flush=True))
    return [audited(demo, name, folder) for name in subjects]


def audited(demo: ScenesDemo, name: str, folder: Path) -> dict:
    """One audit, read back where it is finished."""
    path = folder / f"{name}.json"
    if not path.is_file():
        result = auditor.compare(unlearned=subject(demo, name, folder), config=folder / "audit.toml")
        evidence = result.results.evidence
        found = {
            "outcome": result.outcome,
            "flags": " ".join(result.verdict.flags),
            "reasons": list(result.verdict.sentences),
            "rho": {e.check: e.rho.value for e in evidence if e.rho is not None},
            "missed": [e.check for e in evidence if e.assigned_decoys and not e.powered],
        }
        path.write_text(json.dumps(found, indent=1), encoding="utf-8")
        print(f"{demo.seed}, {name}: {result.outcome}", flush=True)
    return {
        "seed": demo.seed,
        "subject": name,
        "truth": TRUTH[name.partition(" ")[0]],
        **json.loads(path.read_text(encoding="utf-8")),
    }


def subject(demo: ScenesDemo, name: str, folder: Path) -> str | nn.Module:
    """A path in the demo's folder, or a network made by a method of the zoo."""
    if name in demo.subjects:
        return demo.subjects[name]
    method, _, number = name.partition(" ")
    entry = catalogue.entry(method, TASK)
    settings = entry.settings(demo.recipe.model_dump() if method == "retrain" else {})
    original = load_directory(folder / demo.original).module
    made = entry.make(original, demo.world.forget, demo.world.retain, settings, derive_seed(demo.seed, method, number))
    if not entry.keeps_architecture:
        return made
    save_directory(made, None, folder / f"models/{method}-{number}")
    return f"models/{method}-{number}"


if __name__ == "__main__":
    main()

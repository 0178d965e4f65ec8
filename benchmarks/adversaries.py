"""The verdict on unlearners that know the auditor: four digits worlds, one of listed samples, one of language models.

Prints, for every recipe and world, the outcome with its bound, ρ of each check, and what a patient attacker recovers
from the subject, from the references (least and most) and from the original. A subject of which no more is recovered
than of the references counts as unlabelled. Models and finished audits are kept in the work folder, so that an
interrupted run goes on. Only the recipes that the rules were made against are run, unless `--recipes` says otherwise:
the others are for trying rules that are final. `--quick` does the first world.

    python benchmarks/adversaries.py --work bench-adversaries
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from torch import nn

import auditor
from auditor.audit import execution_settings
from auditor.data import Examples, split_in_halves
from auditor.randomness import derive_seed
from auditor.zoo import catalogue
from auditor.zoo.adversaries import few_kept, low_bits, patient, patient_text, sleeping
from auditor.zoo.text.method import probability

sys.path.insert(0, str(Path(__file__).parent / "validity"))
from image_worlds import ImageWorld
from text_worlds import TextWorld
from worlds import class_world, mislabelled_world

# Fixed before any run; the recipes were made on digit 3 of seed 0.
CLASS_WORLDS = ((640, 3), (641, 7), (642, 0), (643, 8))
SAMPLE_SEEDS, TEXT_SEEDS = (650,), (660,)
# The primaries, and what reads hidden layers or single items beside them.
CHECKS = {
    "class": ("depth", "few_shot", "relearning", "slow_relearning"),
    "sample": ("depth", "feature_membership", "membership"),
    "facts": ("depth", "few_shot", "logit_lens", "relearning", "slow_relearning"),
}


@dataclass(frozen=True)
class Recipe:
    """One adversary.

    Attributes:
        entry: its name in the catalogue.
        known: whether the rules were made against it; the others were written before them and kept apart.
        settings: other than the defaults.
    """

    entry: str
    known: bool
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of its row."""
        return " ".join([self.entry, *(f"{key} {value}" for key, value in self.settings.items())])


RECIPES = {
    "class": (
        Recipe("soft_rank_meta", known=True),
        Recipe("soft_rank_constant", known=True),
        Recipe("low_bits", known=True),
        Recipe("sleeping", known=True),
        Recipe("soft_rank", known=False),
        Recipe("patching_aware", known=False),
        Recipe("output_calibrated", known=False),
    ),
    "sample": (
        Recipe("few_kept", known=True, settings={"kept": 2}),
        Recipe("few_kept", known=True, settings={"kept": 4}),
        Recipe("low_bits", known=True),
        Recipe("output_calibrated", known=False),
    ),
    "facts": (Recipe("lens_npo", known=False), Recipe("rehearsed_npo", known=False)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("bench-adversaries"))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--recipes", choices=("known", "held-out", "all"), default="known")
    options = parser.parse_args()
    worlds = list(_worlds(options.work))
    rows = []
    for world in worlds[:1] if options.quick else worlds:
        for recipe in RECIPES[world.about["request"]]:
            if options.recipes in ("all", "known" if recipe.known else "held-out"):
                trial = TextTrial(world, recipe) if isinstance(world, TextWorld) else ImageTrial(world, recipe)
                rows.append(trial.row())
                print(_line(rows[-1]), flush=True)
    print(pd.crosstab([row["recipe"] for row in rows], [row["outcome"] for row in rows]).to_string())


def _worlds(work: Path) -> Iterator[ImageWorld | TextWorld]:
    for seed, target in CLASS_WORLDS:
        yield class_world(work, "cnn", "plain", seed, target)
    for seed in SAMPLE_SEEDS:
        yield mislabelled_world(work, seed)
    for seed in TEXT_SEEDS:
        folder = work / "people" / f"seed-{seed}"
        yield TextWorld(architecture="llama", construction="plain", seed=seed, folder=folder)


class Trial:
    """One recipe in one world."""

    def __init__(self, world: Any, recipe: Recipe) -> None:
        self._world, self._recipe = world, recipe
        self._seed = derive_seed(world.seed, recipe.name)

    def row(self) -> dict[str, Any]:
        """The audit and what the patient attacker finds, made once and then read back."""
        path = self._world.folder / "adversaries" / f"{self._recipe.name.replace(' ', '-')}.json"
        if path.is_file():
            return json.loads(path.read_text())
        with execution_settings(threads=1):
            verdict, found = _of_verdict(self._audited()), self._recovered()
        label = "suppressed" if found.suppressed else "unlabelled"
        about = {key: self._world.about[key] for key in ("request", "seed", "target")}
        row = {"recipe": self._recipe.name, **about, **verdict, "label": label, "patient": found.model_dump()}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(row))
        return row

    def _audited(self) -> auditor.AuditResult:
        raise NotImplementedError

    def _recovered(self) -> patient.PatientRecovery:
        raise NotImplementedError


class ImageTrial(Trial):
    """On a classifier."""

    @cached_property
    def _models(self) -> tuple[nn.Module, list[nn.Module]]:
        """Original and references; widened where the adversary needs room."""
        original, others = self._world.original, self._world.references
        if self._recipe.entry != "sleeping":
            return original, others
        sets = (self._world.sets.forget, self._world.sets.retain)
        return (
            sleeping.widened(original, sets, derive_seed(self._seed, "original")),
            [sleeping.widened(r, sets, derive_seed(self._seed, "reference", i)) for i, r in enumerate(others)],
        )

    @cached_property
    def _subject(self) -> nn.Module:
        entry, sets = catalogue.entry(self._recipe.entry, "vision"), self._world.sets
        recipe = self._world.recipe.model_dump() if "epochs" in entry.settings_kind().model_fields else {}
        settings = entry.settings({**recipe, **self._recipe.settings})
        made: nn.Module = entry.make(self._models[0], sets.forget, sets.retain, settings, self._seed)
        return made

    def _audited(self) -> auditor.AuditResult:
        original, others = self._models
        sets, request, seed = self._world.sets, self._world.request, self._world.seed
        audit = {"seed": seed, "store": str(self._world.folder / "store"), "checks": CHECKS[request]}
        return auditor.compare(
            original,
            self._subject,
            forget=sets.forget,
            retain=sets.retain,
            holdout=sets.holdout,
            references=others,
            options={"audit": audit, "request": {"kind": request}},
        )

    def _recovered(self) -> patient.PatientRecovery:
        unseen, efforts = self._attack()
        original, others = self._models

        def asked(module: nn.Module) -> float:
            return patient.shown(module, unseen, self._world.sets.retain)

        return patient.patient_recovery(self._subject, others, original, efforts, asked)

    def _attack(self) -> tuple[Examples, list[patient.Effort]]:
        """What is measured, and by which efforts."""
        forget, retain = self._world.sets.forget, self._world.sets.retain
        tricks: dict[str, patient.Effort] = {"low_bits": low_bits.unpack, "sleeping": sleeping.wake}
        if self._recipe.entry in tricks:
            return forget, [tricks[self._recipe.entry]]
        if self._recipe.entry == "few_kept":
            kept = few_kept.kept_of(forget, self._recipe.settings["kept"], self._seed)
            return forget.take(kept), [patient.as_it_is]
        shots, unseen = split_in_halves(forget, derive_seed(self._seed, "patient"))
        return unseen, patient.fine_tunings(shots, retain, patient.Settings(), self._seed)


class TextTrial(Trial):
    """On a language model."""

    @cached_property
    def _subject(self) -> nn.Module:
        entry, people = catalogue.entry(self._recipe.entry, "text"), self._world.people
        settings = entry.settings(self._recipe.settings)
        made: nn.Module = entry.make(self._world.model, people.forget, people.retain, settings, self._seed)
        return made

    def _audited(self) -> auditor.AuditResult:
        return self._world.audit(self._subject, checks=CHECKS["facts"])

    def _recovered(self) -> patient.PatientRecovery:
        people, encoder, settings = self._world.people, self._world.encoder, patient_text.Settings()
        shots, unseen = patient_text.split(people.forget, settings, self._seed)
        effort = patient_text.fine_tuning(shots, people.retain, encoder, settings, self._seed)

        def asked(module: nn.Module) -> float:
            return probability(module, encoder, unseen)

        return patient.patient_recovery(self._subject, self._world.references, self._world.original, [effort], asked)


def _of_verdict(result: auditor.AuditResult) -> dict[str, Any]:
    verdict = result.results.verdict
    row: dict[str, Any] = {
        "outcome": verdict.outcome,
        "flags": list(verdict.flags),
        "bound": verdict.bound,
        "reasons": list(verdict.reasons),
        "complete": result.results.coverage.complete,
    }
    for e in result.results.evidence:
        row[f"ρ {e.check}"] = [e.rho.value, e.rho.low, e.rho.high] if e.rho else None
        row[f"w {e.check}"] = e.resolution
    return row


def _line(row: dict[str, Any]) -> str:
    found, bound = row["patient"], row["bound"]
    least, most = min(found["references"]), max(found["references"])
    checks = [
        f"{name.removeprefix('ρ ')} {value[0]:.2f} [{value[1]:.2f}, {value[2]:.2f}]"
        for name, value in row.items()
        if name.startswith("ρ ") and value is not None
    ]
    outcome = row["outcome"] if bound is None else f"{row['outcome']} bound {bound:.2f}"
    return (
        f"{row['request']} {row['target']}, seed {row['seed']}: {row['recipe']}, {row['label']}: {outcome}; "
        f"{'; '.join(checks)}; patient {found['subject']:.2f}, references {least:.2f} to {most:.2f}, "
        f"original {found['original']:.2f}"
    )


if __name__ == "__main__":
    main()

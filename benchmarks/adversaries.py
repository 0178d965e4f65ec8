"""The verdict on unlearners that know the auditor: digits worlds, one of listed samples, one of language models.

Prints, for every recipe and world, with five references and (images) with eight, the outcome with its bound, ρ of each
check, and what a patient attacker recovers from the subject (where the file hides a second model: from the canonical
form, which the verdict is about), from the references (least and most) and from the original. A subject of which no
more is recovered than of the references counts as unlabelled. Models and finished audits are kept in the work folder,
so that an interrupted run goes on. Only the recipes that the rules were made against are run, unless `--recipes` says
otherwise: the others are for trying rules that are final. So are the worlds of `--fresh`: the rules were made after
seeing the known recipes in the first four. `--quick` does the first world.

    python benchmarks/adversaries.py --work bench-adversaries
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors.torch import load_file
from torch import nn

import auditor
from auditor.models.copies import movable_copy
from auditor.randomness import derive_seed
from auditor.run.settings import execution_settings
from auditor.tasks.causal_lm.editing import probability
from auditor.tasks.classification.sets import Examples, split_in_halves
from auditor.zoo import catalogue
from auditor.zoo.adversaries import few_kept, low_bits, patient, patient_text, sleeping
from auditor.zoo.digits import N_CLASSES

sys.path.insert(0, str(Path(__file__).parent / "validity"))
from image_worlds import ImageWorld
from pairs import Row, read_rows, row_of, write_rows
from text_worlds import TextWorld
from worlds import class_world, mislabelled_world

# Fixed before any run; the recipes were made on digit 3 of seed 0.
CLASS_WORLDS = ((640, 3), (641, 7), (642, 0), (643, 8))
# The rules were made with the known recipes in the four worlds above in view; these are for rules that are final.
FRESH_WORLDS = ((644, 5), (645, 2), (646, 9), (647, 1))
# For the rule that counts a limit by what decoys show, which was written before any of them was looked at.
LATER_WORLDS = ((670, 4), (671, 6), (672, 0), (673, 8))
SAMPLE_SEEDS, TEXT_SEEDS = (650,), (660,)
# Five, as in the study, and eight: five are too few against an unlearner who has read how the verdict is reached.
REFERENCES = (5, 8)
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
        kind: what these settings make of it, for its name.
    """

    entry: str
    known: bool
    settings: dict[str, object] = field(default_factory=dict)
    kind: str = ""

    @property
    def name(self) -> str:
        """Of its row."""
        return f"{self.entry} {self.kind}".strip()


TRICKS: dict[str, patient.Effort] = {"low_bits": low_bits.unpack, "sleeping": sleeping.wake}
"""How whoever knows of it takes the second model out of a file."""
# As long, and with as few examples, as the longest attack of `slow_relearning`.
PATIENT = {"attack": {"steps": 128, "shots": 1, "learning_rate": 1e-3, "retain_batch": 16}}


RECIPES = {
    "class": (
        Recipe("soft_rank_meta", known=True),
        Recipe("soft_rank_constant", known=True),
        Recipe("low_bits", known=True),
        Recipe("sleeping", known=True),
        Recipe("soft_rank", known=False),
        Recipe("soft_rank_meta", known=False, settings=PATIENT, kind="rehearsing long"),
        Recipe("patching_aware", known=False),
        Recipe("output_calibrated", known=False),
    ),
    "sample": (
        Recipe("few_kept", known=True, settings={"kept": 2}, kind="kept 2"),
        Recipe("few_kept", known=True, settings={"kept": 4}, kind="kept 4"),
        Recipe("low_bits", known=True),
        Recipe("output_calibrated", known=False),
    ),
    "facts": (Recipe("lens_npo", known=False), Recipe("rehearsed_npo", known=False)),
}
RETRAINS = tuple(Recipe("retrain", known=True, kind=f"{i + 1}") for i in range(3))
"""Beside the adversaries of the later worlds: what a stricter rule costs those who did delete."""
# What hides in a file is not in the canonical form, whatever the rule.
LATER_RECIPES = (*RETRAINS, *(recipe for recipe in RECIPES["class"] if recipe.entry not in TRICKS))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("bench-adversaries"))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--recipes", choices=("known", "held-out", "all"), default="known")
    parser.add_argument("--fresh", action="store_true", help="four digits worlds that no rule was made on")
    parser.add_argument("--later", action="store_true", help="four further ones, retrains among the subjects")
    parser.add_argument("--kind", choices=RECIPES, action="append", help="of request, repeatable; else all")
    options = parser.parse_args()
    kinds = options.kind or list(RECIPES)
    made = _later(options.work) if options.later else _worlds(options.work, options.fresh)
    worlds = [world for world in made if world.about["request"] in kinds]
    rows = []
    for world in worlds[:1] if options.quick else worlds:
        for recipe in LATER_RECIPES if options.later else RECIPES[world.about["request"]]:
            if options.later or options.recipes in ("all", "known" if recipe.known else "held-out"):
                trial = TextTrial(world, recipe) if isinstance(world, TextWorld) else ImageTrial(world, recipe)
                found = trial.rows()
                rows += found
                print(*map(_line, found), sep="\n", flush=True)
    table = pd.DataFrame(rows)
    print(pd.crosstab([table.recipe, table.label], [table["references"], table.outcome]).to_string())


def _worlds(work: Path, fresh: bool) -> Iterator[ImageWorld | TextWorld]:
    for seed, target in FRESH_WORLDS if fresh else CLASS_WORLDS:
        yield class_world(work, "cnn", "plain", seed, target)
    if fresh:
        return
    for seed in SAMPLE_SEEDS:
        yield mislabelled_world(work, seed)
    for seed in TEXT_SEEDS:
        folder = work / "people" / f"seed-{seed}"
        yield TextWorld(architecture="llama", construction="plain", seed=seed, folder=folder)


def _later(work: Path) -> Iterator[ImageWorld]:
    for seed, target in LATER_WORLDS:
        yield class_world(work, "cnn", "plain", seed, target)


class Trial:
    """One recipe in one world."""

    # Any: a world of images or of text; each kind of trial knows which.
    def __init__(self, world: Any, recipe: Recipe) -> None:
        self._world, self._recipe = world, recipe
        # By name: a recipe added later leaves the subjects of all others as they are.
        self._seed = derive_seed(world.seed, recipe.name)

    def rows(self) -> list[Row]:
        """The audits and what the patient attacker finds, made once and then read back."""
        path = self._folder / "rows.json"
        if path.is_file():
            return read_rows(path)
        # One thread: sums over several depend on how many cores a machine has.
        with execution_settings(threads=1):
            audits = {count: self._audited(count) for count in self._counts}
            found = self._recovered()
        label = "suppressed" if found.suppressed else "unlabelled"
        # By construction, whatever a patient attacker brings out of one of many retrains.
        label = "deleted" if self._recipe in RETRAINS else label
        about = {**self._world.about, "recipe": self._recipe.name, "label": label, "patient": found.model_dump()}
        rows = [row_of({**about, "references": k}, result, published={}) for k, result in audits.items()]
        path.parent.mkdir(parents=True, exist_ok=True)
        write_rows(rows, path)
        return rows

    @property
    def _folder(self) -> Path:
        return Path(self._world.folder) / "adversaries" / self._recipe.name.replace(" ", "-")

    @property
    def _counts(self) -> tuple[int, ...]:
        """Of references."""
        return REFERENCES[:1]

    def _audited(self, count: int) -> auditor.AuditResult:
        raise NotImplementedError

    def _recovered(self) -> patient.PatientRecovery:
        raise NotImplementedError


class ImageTrial(Trial):
    """On a classifier."""

    @property
    def _counts(self) -> tuple[int, ...]:
        return REFERENCES

    @cached_property
    def _models(self) -> tuple[nn.Module, list[nn.Module]]:
        """Original and references; widened where the adversary needs room."""
        original, others = self._world.original, self._world.more_references(max(REFERENCES))
        # A sleeper needs twice the width, and models of one audit share an architecture.
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
        # Adversaries that retrain use the recipe of the original, which who can unlearn has.
        recipe = self._world.recipe.model_dump() if "epochs" in entry.settings_kind().model_fields else {}
        settings = entry.settings({**recipe, **self._recipe.settings})
        made: nn.Module = entry.make(self._models[0], sets.forget, sets.retain, settings, self._seed)
        return made

    def _audited(self, count: int) -> auditor.AuditResult:
        original, others = self._models
        sets, request, seed = self._world.sets, self._world.request, self._world.seed
        audit = {"seed": seed, "store": str(self._world.folder / "store"), "checks": CHECKS[request]}
        # The patient attacker is given the canonical form, which is what the verdict is about.
        audit["write_canonical"] = True
        return auditor.compare(
            original,
            self._subject,
            forget=sets.forget,
            retain=sets.retain,
            holdout=sets.holdout,
            references=others[:count],
            out=self._audit_folder(count),
            options={"audit": audit, "request": {"kind": request}},
        )

    def _audit_folder(self, count: int) -> Path:
        return self._folder / f"audit-{count}-references"

    @property
    def _attacked(self) -> nn.Module:
        """The subject; of one that hides a second model in its file, the canonical form, as the audit wrote it."""
        if self._recipe.entry not in TRICKS:
            return self._subject
        form = movable_copy(self._subject)
        form.load_state_dict(load_file(self._audit_folder(REFERENCES[0]) / "canonical.safetensors"))
        return form

    def _recovered(self) -> patient.PatientRecovery:
        unseen, efforts = self._attack()
        original, others = self._models

        def asked(module: nn.Module) -> float:
            return patient.shown(module, unseen, self._world.sets.retain)

        return patient.patient_recovery(self._attacked, others, original, efforts, asked, chance=1 / N_CLASSES)

    def _attack(self) -> tuple[Examples, list[patient.Effort]]:
        """What is measured, and by which efforts."""
        forget, retain = self._world.sets.forget, self._world.sets.retain
        # The trick needs no forget example, so that all of them can be asked.
        if self._recipe.entry in TRICKS:
            return forget, [TRICKS[self._recipe.entry]]
        if self._recipe.entry == "few_kept":
            kept = few_kept.kept_of(forget, self._recipe.settings["kept"], self._seed)
            # Kept items show in the outputs by themselves; the mean over all items would hide them again.
            return forget.take(kept), [patient.as_it_is]
        # Halves of the attacker's own: the auditor's split comes from a seed that he does not know.
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

    def _audited(self, count: int) -> auditor.AuditResult:
        return self._world.audit(self._subject, checks=CHECKS["facts"], references=count)

    def _recovered(self) -> patient.PatientRecovery:
        people, encoder, settings = self._world.people, self._world.encoder, patient_text.Settings()
        shots, unseen = patient_text.split(people.forget, settings, self._seed)
        effort = patient_text.fine_tuning(shots, people.retain, encoder, settings, self._seed)

        def asked(module: nn.Module) -> float:
            return probability(module, encoder, unseen)

        return patient.patient_recovery(self._subject, self._world.references, self._world.original, [effort], asked)


def _line(row: Row) -> str:
    found, bound = row["patient"], row["bound"]
    least, most = min(found["references"]), max(found["references"])
    checks = [
        f"{name} {check['rho']:.2f} [{check['low']:.2f}, {check['high']:.2f}]"
        for name, check in row["checks"].items()
        if check["rho"] is not None
    ]
    outcome = row["outcome"] if bound is None else f"{row['outcome']} bound {bound:.2f}"
    return (
        f"{row['request']} {row['target']}, seed {row['seed']}: {row['recipe']}, {row['label']}, "
        f"{row['references']} references: {outcome}; "
        f"{'; '.join(checks)}; patient {found['subject']:.2f}, references {least:.2f} to {most:.2f}, "
        f"original {found['original']:.2f}"
    )


if __name__ == "__main__":
    main()

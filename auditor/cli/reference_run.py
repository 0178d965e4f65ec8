"""Training references with a person watching: what is printed, and when there are enough of them."""

import os
from collections.abc import Sequence
from pathlib import Path

from auditor.cli.progress import live_progress, training_progress
from auditor.cli.terminal import Terminal
from auditor.inference.statistics import references_needed
from auditor.models import references
from auditor.models.reference_quality import Quality
from auditor.models.references import Job, Workshop
from auditor.records.policy import load_policy
from auditor.records.spec import AuditSpec
from auditor.run.resolving import Resolved, resolutions, target, unresolved


class ReferenceRun:
    """Makes references one after the other, and remembers how each did.

    Args:
        spec: the request.
        base: folder that its paths are relative to.
        shop: what references are made from.
        out: folder of the references.
        quiet: show no progress.
    """

    def __init__(self, spec: AuditSpec, base: Path, shop: Workshop, out: Path, quiet: bool) -> None:
        self._console = Terminal()
        self._spec, self._base, self._shop, self._out, self._quiet = spec, base, shop, out, quiet
        self._rows: dict[str, Quality] = {}
        original = references.original_quality(spec, base, shop)
        if original is not None:
            self._rows["original"] = original

    def make(self, job: Job) -> None:
        """Train a reference, or read the one that is there."""
        path = self._out / f"{job.name}{self._shop.suffix}"
        there = path.exists()
        with training_progress(self._quiet) as bar:
            module = self._shop.reference(job, self._out, self._spec.audit.device, bar(job.name))
        self._console.say(f"{path} is there already" if there else f"wrote {path}")
        self._rows[job.name] = self._shop.quality(module)

    def resolve(self, count: int, most: int) -> bool:
        """Add references until the primary checks resolve the target; whether they do."""
        for number in range(count, most + 1):
            # The first look is at those that were asked for; each further one is trained only if it does not suffice.
            if number > count:
                self.make(references.job(self._spec.recipe, number, self._spec.audit.seed))
            with live_progress(self._quiet) as progress:
                found, policy = resolutions(self._with_references(number), self._base, report=progress.hear)
            bar = target(policy)
            self._console.say(f"{number} references resolve: {', '.join(map(_words, found))} (wanted: {bar:.2f})")
            if not unresolved(found, bar):
                return True
        short = [one for one in found if one.family in unresolved(found, bar)]
        self._console.say(f"not resolved with {most} references: {'; '.join(_wish(one, most, bar) for one in short)}")
        return False

    def _with_references(self, number: int) -> AuditSpec:
        """The request with the first references of the folder, and both perturbed ones."""
        models = {
            "references": self.patterns([f"reference-{i + 1}" for i in range(number)]),
            "perturbed": self.patterns(("perturbed-1", "perturbed-2")),
        }
        return self._spec.model_copy(update={"models": self._spec.models.model_copy(update=models)})

    def patterns(self, names: Sequence[str]) -> tuple[str, ...]:
        """Paths of the folder's references, relative to audit.toml."""
        seen = os.path.relpath(self._out, self._base)
        return tuple(f"{seen}/{name}{self._shop.suffix}" for name in names)

    def show(self) -> None:
        """How each model does, the original first: its recipe is theirs where the numbers are near to one another."""
        self._console.table(
            ("model", "loss on retain", "retain accuracy", "forget accuracy"),
            (
                (name, f"{row.loss:.4f}", f"{100 * row.retain:.1f} %", f"{100 * row.forget:.1f} %")
                for name, row in self._rows.items()
            ),
        )
        gap = self._missing_accuracy()
        if gap is not None:
            self._console.say(f"note: {gap}")

    def _missing_accuracy(self) -> str | None:
        """Whether an audit is going to find that the recipe is not the original's, in words."""
        tolerated = load_policy(self._spec.audit.policy, self._base).thresholds.retain
        original = self._rows.get("original")
        # Perturbed ones aside: their recipe is meant to be another.
        best = max(row.retain for name, row in self._rows.items() if name.startswith("reference-"))
        if original is None or original.retain <= best + tolerated:
            return None
        return (
            f"the original has {100 * original.retain:.1f} % retain accuracy and no reference more than "
            f"{100 * best:.1f} %: [recipe] is hardly the original's, and an audit would not count these references"
        )


def _words(one: Resolved) -> str:
    missed = f", but misses the decoy {' and '.join(one.missed)}" if one.missed else ""
    return f"{one.check} {'no gap' if one.w is None else f'{one.w:.2f}'}{missed}"


def _wish(one: Resolved, number: int, bar: float) -> str:
    """What would let a check resolve the target, in words."""
    if one.w is None:
        return f"{one.check} finds no more in the original than in them; see whether the original knows the forget set"
    if one.missed and one.w <= bar:
        return f"{one.check} does not see through the decoy {' and '.join(one.missed)}, which more need not change"
    needed = references_needed(one.w, number, bar)
    if needed is None:
        return f"{one.check} would not with any number of this recipe; give more forget examples"
    return f"{one.check} would with about {needed}, at this gap and spread; raise --max-count"

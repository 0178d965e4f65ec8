"""``audit reference``."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from auditor.cli.compare import spec_from_options, spec_options
from auditor.cli.progress import live_progress, training_progress
from auditor.cli.terminal import Terminal
from auditor.errors import UsageError

if TYPE_CHECKING:
    from auditor.reference_quality import Quality
    from auditor.references import Job, Workshop
    from auditor.resolving import Resolved
    from auditor.spec import AuditSpec

_UNRESOLVED = 3


@click.command()
@spec_options
@click.option("--count", type=click.IntRange(1, 100), default=5, show_default=True, help="References to train.")
@click.option(
    "--until-resolved",
    is_flag=True,
    help="Then add references one by one until the primary checks resolve what DELETED needs, or --max-count.",
)
@click.option("--max-count", type=click.IntRange(1, 100), default=12, show_default=True, help="References at most.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("references"), show_default=True, help="Folder.")
@click.option("--quiet", "-q", is_flag=True, help="Show no progress.")
def reference(count: int, until_resolved: bool, max_count: int, out: Path, quiet: bool, **options: Any) -> int:
    """Train references from the retain set by the recipe in audit.toml, and two by a perturbed recipe.

    What is there already is not trained again. A folder that holds references made differently is refused.
    """
    spec, base = spec_from_options(options)
    if until_resolved:
        _check_can_resolve(spec, count, max_count)
    from auditor import references
    from auditor.audit import execution_settings

    shop = references.workshop(spec, base)
    console = Terminal()
    for note in shop.notes:
        console.say(f"note: {note}")
    jobs = references.jobs(spec.recipe, count, spec.audit.seed)
    shop.check_folder(out, jobs)
    with execution_settings(spec.audit.threads):
        bench = _Bench(spec, base, shop, out, quiet)
        for job in jobs:
            bench.make(job)
        resolved = not until_resolved or bench.resolve(count, max_count)
    bench.show()
    names = bench.patterns(("reference-*", "perturbed-*"))
    console.say(f'in audit.toml: references = ["{names[0]}"], perturbed = ["{names[1]}"]')
    return 0 if resolved else _UNRESOLVED


def _check_can_resolve(spec: "AuditSpec", count: int, max_count: int) -> None:
    from auditor.resolving import FEWEST

    if spec.models.original is None:
        raise UsageError(
            "--until-resolved scores the original beside the references; set models.original in audit.toml"
        )
    if count < FEWEST:
        raise UsageError(f"--until-resolved needs {FEWEST} references to start from; raise --count {count}")
    if max_count < count:
        raise UsageError(f"--max-count {max_count} lies below --count {count}; raise it")


def _wish(one: "Resolved", references: int, bar: float) -> str:
    """What would let a check resolve the target, in words."""
    from auditor.resolving import references_needed

    if one.w is None:
        return f"{one.check} finds no more in the original than in them; see whether the original knows the forget set"
    needed = references_needed(one.w, references, bar)
    if needed is None:
        return f"{one.check} would not with any number of this recipe; give more forget examples"
    return f"{one.check} would with about {needed}, at this gap and spread; raise --max-count"


class _Bench:
    """Makes references one after the other, and remembers how each did."""

    def __init__(self, spec: "AuditSpec", base: Path, shop: "Workshop", out: Path, quiet: bool) -> None:
        from auditor import references

        self._console = Terminal()
        self._spec, self._base, self._shop, self._out, self._quiet = spec, base, shop, out, quiet
        self._rows: dict[str, Quality] = {}
        original = references.original_quality(spec, base, shop)
        if original is not None:
            self._rows["original"] = original

    def make(self, job: "Job") -> None:
        """Train a reference, or read the one that is there."""
        path = self._out / f"{job.name}{self._shop.suffix}"
        there = path.exists()
        with training_progress(self._quiet) as bar:
            module = self._shop.reference(job, self._out, self._spec.audit.device, bar(job.name))
        self._console.say(f"{path} is there already" if there else f"wrote {path}")
        self._rows[job.name] = self._shop.quality(module)

    def resolve(self, count: int, most: int) -> bool:
        """Add references until the primary checks resolve the target; whether they do."""
        from auditor import references
        from auditor.resolving import resolutions, target, unresolved

        for number in range(count, most + 1):
            if number > count:
                self.make(references.job(self._spec.recipe, number, self._spec.audit.seed))
            with live_progress(self._quiet) as progress:
                found, policy = resolutions(self._with_references(number), self._base, report=progress.hear)
            bar = target(policy)
            named = ", ".join(f"{one.check} {'no gap' if one.w is None else f'{one.w:.2f}'}" for one in found)
            self._console.say(f"{number} references resolve: {named} (wanted: {bar:.2f})")
            if not unresolved(found, bar):
                return True
        short = [one for one in found if one.family in unresolved(found, bar)]
        self._console.say(f"not resolved with {most} references: {'; '.join(_wish(one, most, bar) for one in short)}")
        return False

    def _with_references(self, number: int) -> "AuditSpec":
        """The request with the first references of the folder, and both perturbed ones."""
        models = {
            "references": self.patterns([f"reference-{i + 1}" for i in range(number)]),
            "perturbed": self.patterns(("perturbed-1", "perturbed-2")),
        }
        return self._spec.model_copy(update={"models": self._spec.models.model_copy(update=models)})

    def patterns(self, names: "list[str] | tuple[str, ...]") -> tuple[str, ...]:
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
        from auditor.policy import load_policy

        tolerated = load_policy(self._spec.audit.policy, self._base).thresholds.retain
        original = self._rows.get("original")
        best = max(row.retain for name, row in self._rows.items() if name.startswith("reference-"))
        if original is None or original.retain <= best + tolerated:
            return None
        return (
            f"the original has {100 * original.retain:.1f} % retain accuracy and no reference more than "
            f"{100 * best:.1f} %: [recipe] is hardly the original's, and an audit would not count these references"
        )

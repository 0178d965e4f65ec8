"""What the report shows, taken from results and put into words; nothing is computed or judged here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from auditor.records.plan import Plan, PlannedModel
from auditor.records.results import PrimaryChoice, Results
from auditor.records.road import Road
from auditor.reports import access, axis, formats, opening, review, roads, tables, text
from auditor.reports.axis import Axis
from auditor.reports.check_sections import CheckSection, check_section, grouped, in_order, why_no_rho
from auditor.reports.glossary import GLOSSARY
from auditor.reports.opening import Opening, Reasoning
from auditor.reports.review import Review
from auditor.reports.tables import Table


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """The whole report, without the figures of the checks."""

    top: Opening
    why: Reasoning
    axis: Axis
    without_rho: tuple[tuple[str, str], ...]
    decoys: Table | None
    decoys_made: tuple[tuple[str, str], ...]
    checks: tuple[CheckSection, ...]
    utility: Table | None
    access: Table
    coverage: Table
    models: Table
    data: Table
    layers: tuple[str, ...]
    plan: tuple[tuple[str, str], ...]
    thresholds: Table
    settings: Table
    feasibility: tuple[str, ...]
    environment: Table
    notes: tuple[str, ...]
    command: str
    review: Review
    glossary: tuple[tuple[str, str], ...] = GLOSSARY

    @property
    def groups(self) -> tuple[tuple[str, tuple[CheckSection, ...]], ...]:
        """The checks by what the verdict owes them, with a title for each."""
        return grouped(self.checks)


def build(results: Results) -> Document:
    """Everything the report shows, in its order."""
    # What the verdict rests on first, and a page that is full leaves out the figures of the last sections.
    ordered = in_order(results)
    anchors = {e.check: f"check-{i}" for i, e in enumerate(ordered, 1)}
    # Controls come by name from the file; the page has the pair first, as everywhere else.
    order = ["original", "unlearned", *(model.name for model in results.plan.models)]
    plan, verdict = results.plan, results.verdict
    return Document(
        top=opening.opening(results, ordered, anchors),
        why=opening.reasoning(results, anchors),
        axis=axis_of(results, anchors),
        without_rho=tuple((e.check, why_no_rho(e)) for e in ordered if e.rho is None),
        decoys=tables.decoys(ordered),
        decoys_made=_decoys_made(results),
        checks=tuple(check_section(e, anchors[e.check], order, results) for e in ordered),
        utility=tables.utility(results.evidence),
        access=access.levels(results),
        coverage=tables.coverage(results),
        models=tables.models(plan),
        data=tables.data(plan),
        layers=plan.layers,
        plan=_plan(results),
        thresholds=tables.thresholds(plan),
        settings=tables.settings(plan),
        feasibility=_prospect(plan, results.roads),
        environment=tables.environment(results.environment),
        notes=tuple(map(formats.prose, plan.notes)),
        command=plan.command,
        review=review.build(results, frozenset(verdict.accusers)),
    )


def axis_of(results: Results, anchors: dict[str, str] | None = None) -> Axis:
    """All checks on one axis.

    Args:
        results: of the audit.
        anchors: of the checks' sections, by name; None links nowhere.
    """
    plan, verdict = results.plan, results.verdict
    return axis.build(
        in_order(results),
        plan.policy.thresholds,
        verdict.accusers,
        opening.clearing(verdict),
        opening.bounding(verdict),
        anchors,
    )


def first_screen(results: Results) -> Opening:
    """The first screen alone, without anything to link to."""
    return opening.opening(results, in_order(results), {})


def _decoys_made(results: Results) -> tuple[tuple[str, str], ...]:
    """Name, and how it was made, of each decoy; at which strength, where the outputs tell."""
    outputs = results.outputs
    controls = outputs.controls if outputs is not None else {}
    return tuple(
        (m.name, "; ".join(filter(None, (text.DECOYS.get(m.name), _strength(m, controls.get(m.name, {}))))))
        for m in results.plan.models_of("decoy")
    )


def _strength(decoy: PlannedModel, measured: Mapping[str, float]) -> str | None:
    if "strength" not in measured:
        return None
    # Controls hold floats only; strengths count from 1.
    number = int(measured["strength"])
    words = f"taken at strength {number} of {len(decoy.strengths)} ({decoy.strengths[number - 1]})"
    return words if measured["suppressed"] else f"{words}, and at none were its outputs suppressed"


def _plan(results: Results) -> tuple[tuple[str, str], ...]:
    plan, run = results.plan, results.plan.execution
    return (
        ("plan digest", results.plan_digest),
        *(
            ("canonical form", f"{words} {text.ABOUT_FORM}")
            for words in text.deploy(results.canonical, results.verdict.outcome)
        ),
        ("auditor", f"version {plan.auditor_version}, results schema {results.schema_version}"),
        ("task", f"{plan.task}; {opening.request(plan)}"),
        *((f"primary, {choice.family}", _chosen(choice)) for choice in results.primaries),
        ("seed", str(plan.seed)),
        ("architecture", f"{plan.architecture or '–'}, SHA-256 {plan.architecture_digest or '–'}"),
        ("layers", ", ".join(plan.layers) or "–"),
        ("preprocessing", tables.pairs(plan.preprocessing)),
        (
            "execution",
            f"{run.device}, {run.dtype}, {formats.plural(run.threads, 'thread')}, batch size {run.batch_size}",
        ),
    )


def _chosen(choice: PrimaryChoice) -> str:
    """The primary of a family and what else stood to choice; fixed without a look at the unlearned model."""
    # The unchosen candidates too: a reviewer can see that the narrowest won, and that nothing else decided.
    shown = [f"{name}: {formats.resolution(w)}" for name, w in choice.resolutions.items()]
    return f"{choice.check} ({'; '.join(shown)})"


def _prospect(plan: Plan, open_roads: Sequence[Road]) -> tuple[str, ...]:
    feasibility = plan.feasibility
    said = ["DELETED was within reach." if feasibility.deleted_in_reach else "DELETED was out of reach."]
    if feasibility.smallest_residue is not None:
        said.append(f"Smallest residue that could be resolved: {formats.percent(feasibility.smallest_residue)}.")
    said += [
        f"A true retrain would pass with probability {formats.number(value, 2)} at a gap of {gap}."
        for gap, value in feasibility.pass_probability.items()
    ]
    if plan.assignment is not None:
        # What was measured on the original takes the place of what had to be assumed.
        said += [formats.prose(roads.words(road, plan.assignment)) for road in open_roads or feasibility.roads]
    return (*said, *map(formats.prose, feasibility.obstacles))

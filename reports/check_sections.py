"""One section for each check: what it may do, what came of it, and every number behind it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from auditor.records.evidence import Evidence, SpreadRecord
from auditor.records.results import Results
from auditor.reports import formats, sentence, tables, text
from auditor.reports.not_accusing import not_accusing
from auditor.reports.places import place
from auditor.reports.tables import Table

Rank = Literal["first", "other", "last"]
# In the order of the page. Those of the first stand open, the others are folded.
RANKS: Mapping[Rank, str] = {
    "first": "What the verdict rests on",
    "other": "What else was looked at",
    "last": "What only informs",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckSection:
    """One check.

    Attributes:
        anchor: id of its heading.
        evidence: from which its figure is drawn.
        rank: ``first`` stands open, since the verdict rests on it; ``other`` is folded; ``last`` only informs.
        standing: what it may do, and whether it is a primary.
        brief: what came of it, in one sentence.
        state: whether it could see anything, in one sentence.
        facts: terms with their values.
        scores: of every model; None where it could not run.
        controls: measured beside the scores; None where there are none.
    """

    anchor: str
    evidence: Evidence
    rank: Rank
    family: str
    standing: str
    brief: str
    state: str
    finding: str
    facts: tuple[tuple[str, str], ...]
    scores: Table | None
    controls: Table | None


def in_order(results: Results) -> tuple[Evidence, ...]:
    """Evidence by rank: what the verdict rests on, then what may accuse, then what only informs."""
    places = tuple(RANKS)
    return tuple(
        sorted(
            results.evidence,
            key=lambda e: (places.index(_rank(e, results)), not e.primary, e.role != "outputs"),
        )
    )


def grouped(sections: Sequence[CheckSection]) -> tuple[tuple[str, tuple[CheckSection, ...]], ...]:
    """Title and sections of every rank that has any."""
    ranked = ((title, tuple(s for s in sections if s.rank == rank)) for rank, title in RANKS.items())
    return tuple((title, of_rank) for title, of_rank in ranked if of_rank)


def _rank(e: Evidence, results: Results) -> Rank:
    if e.primary or e.check in results.verdict.accusers:
        return "first"
    return "last" if e.may == "inform" else "other"


def check_section(evidence: Evidence, anchor: str, order: Sequence[str], results: Results) -> CheckSection:
    """The section of one check.

    Args:
        evidence: of the check.
        anchor: id of its heading.
        order: names of the models, in the order of the page.
        results: of the audit.
    """
    standing = text.POWERS[evidence.may]
    return CheckSection(
        anchor=anchor,
        evidence=evidence,
        rank=_rank(evidence, results),
        family=text.FAMILIES[evidence.family],
        standing=f"primary check: {standing}" if evidence.primary else standing,
        brief=_brief(evidence),
        state=_state(evidence, results),
        finding=evidence.conclusive or "",
        facts=tuple(_facts(evidence, results)),
        scores=tables.scores(evidence),
        controls=tables.controls(evidence.controls, order),
    )


def why_no_rho(evidence: Evidence) -> str:
    """Why a check has no place on the axis, in words."""
    # A check that did not run has nothing else to say; and a conclusive finding, such as unchanged weights, needs no ρ.
    if evidence.failure is not None:
        return f"could not run: {evidence.failure.reason}"
    if evidence.conclusive:
        return evidence.conclusive
    return formats.prose(evidence.powerless_because or text.POWERS[evidence.may])


def _brief(e: Evidence) -> str:
    if e.rho is not None:
        return formats.prose(sentence.found(e))
    # That it decides nothing stands beside its name already.
    if e.may == "inform" and e.failure is None and not e.conclusive and not e.powerless_because:
        return formats.prose(e.summary)
    return f"{formats.sentence_case(why_no_rho(e))}."


def _state(e: Evidence, results: Results) -> str:
    if e.failure is not None:
        where = f" (on {e.failure.model})" if e.failure.model else ""
        return formats.prose(f"Could not run{where}: {e.failure.reason}")
    return " ".join(sentence for sentence in (_part_in_verdict(e, results), _power(e)) if sentence)


def _part_in_verdict(e: Evidence, results: Results) -> str:
    """What the verdict made of it, read off the verdict's own reasons."""
    # Nothing is decided again here: a page that judges by itself could contradict the verdict above it.
    bars, outcome = results.plan.policy.thresholds, results.verdict.outcome
    if e.check in results.verdict.accusers:
        if outcome == "NOT_FORGOTTEN":
            return "It accuses: the outputs still show the knowledge."
        if e.conclusive:
            return "It accuses by its finding alone."
        return f"It accuses: ρ exceeds {bars.suppressed:g} by more than chance, corrected for the number of checks."
    if outcome == "DELETED" and e.primary:
        bar = f"{bars.deleted:g}" if e.shows == 1 else f"{bars.deleted * e.shows:.3g}, half of what it shows suppressed"
        return f"It clears: its whole interval lies between −{bars.over:g} and {bar}."
    return not_accusing(e, results)


def _power(e: Evidence) -> str:
    if e.powerless_because:
        return formats.prose(f"No power to clear: {e.powerless_because}.")
    if not e.powered:
        return ""
    # Power alone would read as permission to clear, which these checks do not have.
    if e.may != "clear":
        return "Its resolution is fine enough for what it looks for; it may accuse, but its silence clears nothing."
    assigned = ", ".join(e.assigned_decoys)
    decoys = f"it detected what decoys are assigned to it ({assigned})" if assigned else "no decoy is assigned to it"
    return f"It had the power to see a residue where it looks: its resolution is fine enough, and {decoys}."


def _facts(e: Evidence, results: Results) -> Iterator[tuple[str, str]]:
    suppressed = results.plan.policy.thresholds.suppressed
    if e.rho is not None:
        yield "ρ", formats.rho(e.rho)
    if e.resolution is not None:
        yield "resolution", formats.resolution(e.resolution)
    if e.p_value is not None:
        shown = formats.p_value(e.p_value)
        yield "p-value", f"{shown}: how often a residue of {suppressed:g} would score this high by chance"
    # What ρ = 0 stands for differs between checks; the same ρ means less against a weaker null.
    if e.null_kind != "none":
        yield "ρ = 0 is", e.null_words
    if e.failure is None:
        yield "score T", e.unit
    if e.chosen:
        chosen = [place(name, results.plan.layers) for name in e.chosen]
        yield "taken as", f"the mean of {', '.join(chosen)}" if len(chosen) > 1 else chosen[0]
    if e.n_examples is not None:
        hits = "" if e.hits is None else f"; the unlearned model hits {e.hits}"
        yield "measured on", f"{formats.plural(e.n_examples, 'example')}{hits}"
    if e.items is not None:
        yield "single items", text.single_items(e.items)
    if e.spread is not None:
        yield _spread(e, e.spread)


def _spread(e: Evidence, spread: SpreadRecord) -> tuple[str, str]:
    """All that the interval was computed from, so that a reviewer can recompute it."""
    if e.contrast:
        n = spread.n_references
        help_of = f"{formats.plural(n, 'reference')} to say how hard each subject is, " if n else ""
        return (
            "standard error",
            f"{formats.number(spread.value, 4)} of the difference between forget and holdout subjects (Welch, "
            f"{spread.degrees:.1f} degrees of freedom, {help_of}"
            f"floor {formats.number(spread.floor, 4)})",
        )
    null = "control concept" if e.null_kind == "controls" else "reference"
    return (
        "spread",
        (
            f"s̃ = {formats.number(spread.value, 4)}: by how much one more {null} may differ by chance "
            f"(ν = {spread.degrees:g} degrees of freedom from {formats.plural(spread.n_references, null)}; "
            f"sampling variance {_variance(spread.sampling_variance)}, "
            f"recipe variance {_variance(spread.recipe_variance)}, "
            f"floor {formats.number(spread.floor, 4)})"
        ),
    )


def _variance(value: float) -> str:
    # An exact 0 says that this source was not added; 0.000000 would look like a small one that was rounded.
    return formats.number(value, 6) if value else "0"

"""From one check's scores to its evidence: one mechanism for every check and every null."""

from collections.abc import Sequence

import numpy as np

from auditor.checks.check import AnyCheck
from auditor.inference.compared import CLEARING, CheckScores, Comparison, Null, Question, interval
from auditor.inference.nulls import references
from auditor.inference.top_items import item_test
from auditor.records.base import Row
from auditor.records.evidence import Evidence, ModelScores, Utility
from auditor.records.plan import PlannedAssignment
from auditor.records.policy import Policy, PriorSpread
from auditor.records.score import Failure, rows_of


def combine(
    check: AnyCheck,
    scores: CheckScores,
    policy: Policy,
    nulls: Sequence[Null],
    *,
    population: bool,
    goal: str = "data",
    prior: PriorSpread | None = None,
    seed: int = 0,
    assignment: PlannedAssignment | None = None,
) -> Evidence:
    """Combine one check's scores. Primaries are chosen over all checks (:mod:`auditor.inference.primaries`).

    Args:
        check: the check that made them.
        scores: of every model.
        policy: thresholds at which the p-value is taken.
        nulls: what the subject may be held against; the first that has something to say is taken.
        population: whether the request is about a population of which the examples are a sample.
        goal: ``data`` or ``concept``; for the latter control concepts, where they were measured, are the null.
        prior: what calibration knows of the references' spread; None outside the calibrated domain.
        seed: of draws that a null makes.
        assignment: how forget and holdout came about; None where nothing is said of it.
    """
    # Before readings are chosen: arms on different scales cannot be compared (Check.rescale).
    scores = scores.rescaled(check)
    # Chosen without the subject: to take its largest of many readings would accuse true retrains by chance alone.
    chosen = check.choose(scores.original, list(scores.references.values()))
    measured = _measured(check, scores, chosen)
    if check.may == "inform":
        return measured
    void = next((score.not_applicable_because for score in scores.all().values() if score.not_applicable_because), None)
    if void is not None:
        return measured.model_copy(update={"powerless_because": void})
    asked = Question(
        check=check,
        scores=scores,
        chosen=chosen,
        policy=policy,
        population=population,
        goal=goal,
        prior=prior,
        seed=seed,
        by_chance=assignment is not None and assignment.by_chance,
        exchangeable=assignment is not None and not assignment.by_chance,
    )
    # Needs no null of models: forgotten and never-trained items are exchangeable within the subject itself.
    items = item_test(scores.unlearned, scores.references, policy.alpha.items)
    found = next(((null, held) for null in nulls if (held := null.compare(asked)) is not None), None)
    if found is None:
        because = "no references and no null of its own: nothing to compare with"
        return measured.model_copy(update={"items": items, "powerless_because": because})
    return _held_against(measured.model_copy(update={"items": items}), *found, asked)


def failed(check: AnyCheck, failure: Failure) -> Evidence:
    """The evidence of a check that could not run."""
    return Evidence(
        check=check.name,
        role=check.role,
        family=check.family,
        may=check.may,
        primary=False,
        summary=check.summary,
        finds=check.finds,
        unit=check.unit,
        powerless_because="it could not run",
        failure=failure,
    )


def _held_against(measured: Evidence, null: Null, found: Comparison, asked: Question) -> Evidence:
    """The evidence of what was measured, with what a null says to it."""
    assert measured.scores is not None, "made with scores"
    obstacle = (
        found.cannot_clear
        or _of_another_kind(null)
        or _obstacle(asked.check, found, asked.policy)
        or _too_coarse(measured.model_copy(update={"decoys": found.decoys}), found.resolution, asked.policy)
    )
    without = "its spread on this model is too wide for an interval" if found.limits is None else None
    # Two layers: by the obstacle alone the primary is chosen (`sighted`), so the subject has no influence on that;
    # what the subject's own score adds counts only for what this check may say of it (`powered`).
    because = obstacle or asked.scores.unlearned.cannot_clear_because or found.silent_because or without
    # What the wide spread between concepts hides, the references may still show (docs/verdict.md, goal concept).
    by_references = references.compare(asked) if null.KIND == "controls" else None
    return measured.model_copy(
        update={
            "null_kind": null.KIND,
            "null_words": found.words or null.WORDS,
            "scores": _scores(measured.scores, found),
            "rho": interval(found.limits),
            "reference_rho": _each_reference(measured.scores) if null.KIND == references.KIND else {},
            "rho_by_references": interval(by_references.limits) if by_references is not None else None,
            "resolution": found.resolution,
            "sighted": obstacle is None,
            "powered": because is None,
            "powerless_because": because,
            "p_value": found.p_value,
            "p_trace": found.p_trace,
            "p_deficit": found.p_deficit,
            "spread": found.spread,
            "contrast": found.contrast,
            "decoys": found.decoys,
        }
    )


def _scores(measured: ModelScores, found: Comparison) -> ModelScores:
    """T of every model, with what ρ = 0 stands for; over all forget subjects where these are what was compared."""
    means = {row.model: row.forget for row in found.contrast}

    def of(part: dict[str, float]) -> dict[str, float]:
        return {name: means.get(name, value) for name, value in part.items()}

    return ModelScores(
        original=means.get("original", measured.original),
        unlearned=means.get("unlearned", measured.unlearned),
        references=of(measured.references),
        drawn=of(measured.drawn),
        decoys=of(measured.decoys),
        null=found.null,
    )


def _each_reference(scores: ModelScores) -> dict[str, float]:
    """ρ of each reference as if it were the subject; none without a second one, or without a gap."""
    found = {}
    for name, value in scores.references.items():
        others = [other for key, other in scores.references.items() if key != name]
        gap = scores.original - float(np.mean(others)) if others else 0.0
        if gap > 0:
            found[name] = (value - float(np.mean(others))) / gap
    return found


def _of_another_kind(null: Null) -> str | None:
    # What a null of another package stands for, no policy has been calibrated on.
    return None if null.KIND in CLEARING else f"it is held against {null.WORDS}, which cannot clear"


def _measured(check: AnyCheck, scores: CheckScores, chosen: tuple[str, ...]) -> Evidence:
    """What stands in the evidence whatever the null."""
    everyone = scores.all()
    cells: list[Row] = [row for name, score in everyone.items() for row in rows_of(name, score)]
    controls = {name: score.controls for name, score in everyone.items() if score.controls}
    more_cells, more_controls = check.summarise(everyone, tuple(scores.references))
    for name, values in more_controls.items():
        # A check may have controls of single models and of several; neither replaces the other.
        controls[name] = {**controls.get(name, {}), **values}
    references = {name: s.total(chosen) for name, s in scores.references.items()}
    return Evidence(
        check=check.name,
        role=check.role,
        family=check.family,
        may=check.may,
        primary=False,
        summary=check.summary,
        finds=check.finds,
        unit=check.unit,
        scores=ModelScores(
            original=scores.original.total(chosen),
            unlearned=scores.unlearned.total(chosen),
            references=references,
            drawn={name: s.total(chosen) for name, s in {**scores.drawn, **scores.perturbed, **scores.neither}.items()},
            decoys={name: s.total(chosen) for name, s in scores.decoys.items()},
            null=float(np.mean(list(references.values()))) if references else None,
        ),
        chosen=chosen,
        effort=scores.unlearned.effort,
        assigned_decoys=tuple(name for name in check.decoys if name in scores.decoys),
        hits=scores.unlearned.hits,
        n_examples=scores.unlearned.n_examples,
        utility=_utility(scores),
        rows=cells + more_cells,
        figures=check.figures,
        controls=controls,
        # Both models mostly bring the same note; it is said once, in the order in which it arose.
        caveats=(*check.caveats, *dict.fromkeys((*scores.original.notes, *scores.unlearned.notes))),
        deviations={name: score.deviation for name, score in everyone.items() if score.deviation is not None},
        conclusive=scores.unlearned.conclusive,
    )


def _utility(scores: CheckScores) -> Utility | None:
    original, unlearned = scores.original.retain_accuracy, scores.unlearned.retain_accuracy
    if original is None or unlearned is None:
        return None
    found = {name: s.retain_accuracy for name, s in scores.references.items()}
    return Utility(
        original=original,
        unlearned=unlearned,
        references={name: value for name, value in found.items() if value is not None},
    )


def _obstacle(check: AnyCheck, found: Comparison, policy: Policy) -> str | None:
    """Why the check could not clear any model, whatever it scored; from original, null and decoys alone."""
    w, decoys = found.resolution, found.decoys
    if w is None:
        return f"the original does not score above {found.against}: there is no gap to resolve a residue in"
    # Then even a true retrain, at ρ = 0, would have its upper limit above τ_deleted.
    if w >= 1:
        return f"even a whole copy of the original's knowledge would be lost in the spread of {found.against}"
    if w > policy.thresholds.deleted:
        return (
            f"the smallest residue it can rule out is {w:.2f}, "
            f"more than the {policy.thresholds.deleted:.2f} that clearing needs"
        )
    # Power has to be shown on a suppressed copy; where none exists nothing was shown.
    if check.decoys and not set(check.decoys) & set(decoys):
        return f"none of the decoys that it has to see through could be made ({', '.join(check.decoys)})"
    missed = [name for name in check.decoys if name in decoys and not decoys[name].detected]
    if missed:
        return f"it did not see through the decoy {', '.join(missed)}"
    return None


def _too_coarse(measured: Evidence, w: float | None, policy: Policy) -> str | None:
    """That what it can rule out is too large a share of what it shows of a fully suppressed copy."""
    if w is None or w <= policy.thresholds.deleted * measured.shows:
        return None
    return (
        f"the smallest residue it can rule out is {w:.2f}, more than {policy.thresholds.deleted:.2f} times the "
        f"{measured.shows:.2f} that it reads of a fully suppressed copy"
    )

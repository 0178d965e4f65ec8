"""From scores to evidence: one mechanism for every check."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from auditor import statistics
from auditor.checks.check import Check
from auditor.concept_null import against_controls
from auditor.data import CONTROL_CONCEPTS
from auditor.policy import Policy, PriorSpread
from auditor.records.base import Row
from auditor.records.evidence import DecoyResult, Evidence, Interval, ModelScores, SpreadRecord, Utility
from auditor.records.score import Failure, Score, rows_of
from auditor.statistics import Limits, Spread
from auditor.top_items import item_test

_EXACT_NULL_SIZE = 10**6
# Of a mean of as many normal draws, in the limit of many; for three draws it is 1.35, so this errs on the wide side.
_VARIANCE_OF_MEDIAN = np.pi / 2


@dataclass(frozen=True, kw_only=True)
class Lineup:
    """One check's scores, by the part each model plays.

    Attributes:
        original: of the original.
        unlearned: of the subject.
        references: of the counted references, by name.
        drawn: of references that are drawn but not counted.
        perturbed: of references trained by a perturbed recipe.
        decoys: of the suppressed copies made by the auditor.
    """

    original: Score
    unlearned: Score
    references: Mapping[str, Score]
    drawn: Mapping[str, Score]
    perturbed: Mapping[str, Score]
    decoys: Mapping[str, Score]

    def settled(self, check: Check) -> "Lineup":
        """Every score as the check's :meth:`~auditor.checks.check.Check.settle` leaves it."""
        settle = check.settle(self.original, list(self.references.values()))
        parts = {
            part: {name: settle(score) for name, score in getattr(self, part).items()}
            for part in ("references", "drawn", "perturbed", "decoys")
        }
        return Lineup(original=settle(self.original), unlearned=settle(self.unlearned), **parts)

    def all(self) -> dict[str, Score]:
        """Every score by model name, in the order of the figures."""
        named = {"original": self.original, "unlearned": self.unlearned}
        return {**named, **self.references, **self.drawn, **self.perturbed, **self.decoys}


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What every model is held against: T of the original, the null, and how far one more null model may fall.

    Attributes:
        chosen: readings that make up T.
        original: T(o).
        null: r̄.
        examples: per-example contributions of the references, [K, n]; None where there are none.
        draws: T of the references by each of the check's own draws, [K, draws]; None where there are none.
        recipe_variance: excess variance of references of a perturbed recipe.
        floor: smallest believable spread: 1/n_eval, or the check's own share of Δ where that is more.
        prior: (s₀, d₀) of the policy.
    """

    chosen: tuple[str, ...]
    original: float
    null: float
    references: tuple[float, ...]
    examples: np.ndarray | None
    draws: np.ndarray | None
    recipe_variance: float
    floor: float
    prior: tuple[float, float]

    @property
    def delta(self) -> float:
        """Δ = T(o) − r̄."""
        return self.original - self.null

    def sampling_variance(self, score: Score) -> float:
        """Of d, from the examples measured and the check's own draws; 0 where it has neither."""
        return _paired(score.examples(self.chosen), self.examples) + _VARIANCE_OF_MEDIAN * _paired(
            score.draws(self.chosen), self.draws
        )

    def spread(self, sampling_variance: float) -> Spread | None:
        """s̃ with a given sampling variance."""
        return statistics.pooled_spread(
            self.references,
            sampling_variance=sampling_variance + self.recipe_variance,
            floor=self.floor,
            prior_spread=self.prior[0],
            prior_degrees=self.prior[1],
        )

    def typical_sampling_variance(self) -> float:
        """What a further reference would have: each reference against the mean of the others."""
        return _typical(self.examples) + _VARIANCE_OF_MEDIAN * _typical(self.draws)


def _paired(own: tuple[float, ...], references: np.ndarray | None) -> float:
    if references is None or not own:
        return 0.0
    return statistics.paired_sampling_variance(np.asarray(own), references)


def _typical(references: np.ndarray | None) -> float:
    """Mean over references of :func:`_paired` against the others."""
    if references is None or len(references) < 2:
        return 0.0
    return float(
        np.mean(
            [
                statistics.paired_sampling_variance(row, np.delete(references, i, axis=0))
                for i, row in enumerate(references)
            ]
        )
    )


def combine(
    check: Check,
    lineup: Lineup,
    policy: Policy,
    *,
    population: bool,
    goal: str = "data",
    prior: PriorSpread | None = None,
) -> Evidence:
    """Combine one check's scores. Whether it is a primary is decided over all checks (:mod:`auditor.primaries`).

    Args:
        check: the check that made them.
        lineup: its scores.
        policy: thresholds at which the p-value is taken.
        population: whether the request is about a population of which the examples are a sample.
        goal: ``data`` or ``concept``; for the latter control concepts, where they were measured, are the null.
        prior: what calibration knows of the references' spread; None outside the calibrated domain.
    """
    lineup = lineup.settled(check)
    references = list(lineup.references.values())
    chosen = check.choose(lineup.original, references)
    common = _common(check, lineup, chosen)
    if check.may == "inform":
        return common
    void = next((score.void for score in lineup.all().values() if score.void), None)
    if void is not None:
        return common.model_copy(update={"powerless_because": void})
    common = common.model_copy(update={"items": item_test(lineup.unlearned, lineup.references, policy.alpha.items)})
    by_references = None
    if len(references) >= 2 or (references and prior is not None):
        bench = _bench(check, lineup, chosen, prior, population)
        by_references = _against_references(common, check, lineup, bench, policy)
    if goal == "concept" and len(lineup.unlearned.concepts(chosen)) >= CONTROL_CONCEPTS:
        return _against_controls(common, check, lineup, policy, by_references)
    if by_references is not None:
        return by_references
    baseline = lineup.original.null if check.null_lacks_knowledge else lineup.unlearned.null
    if lineup.unlearned.null and baseline:
        return _against_internal_null(common, lineup, float(np.mean(baseline)), policy)
    if lineup.unlearned.chance is not None:
        return _against_chance(common, lineup, chosen)
    return common.model_copy(
        update={"powerless_because": "no references and no null of its own: nothing to compare with"}
    )


def failed(check: Check, failure: Failure) -> Evidence:
    """The evidence of a check that could not run."""
    return Evidence(
        check=check.name,
        family=check.family,
        may=check.may,
        primary=False,
        summary=check.summary,
        unit=check.unit,
        powerless_because="it could not run",
        failure=failure,
    )


def _common(check: Check, lineup: Lineup, chosen: tuple[str, ...]) -> Evidence:
    everyone = lineup.all()
    cells: list[Row] = [row for name, score in everyone.items() for row in rows_of(name, score)]
    controls = {name: score.controls for name, score in everyone.items() if score.controls}
    more_cells, more_controls = check.summarise(everyone, tuple(lineup.references))
    for name, values in more_controls.items():
        controls[name] = {**controls.get(name, {}), **values}
    references = {name: s.total(chosen) for name, s in lineup.references.items()}
    return Evidence(
        check=check.name,
        family=check.family,
        may=check.may,
        primary=False,
        summary=check.summary,
        unit=check.unit,
        scores=ModelScores(
            original=lineup.original.total(chosen),
            unlearned=lineup.unlearned.total(chosen),
            references=references,
            drawn={name: s.total(chosen) for name, s in {**lineup.drawn, **lineup.perturbed}.items()},
            decoys={name: s.total(chosen) for name, s in lineup.decoys.items()},
            null=float(np.mean(list(references.values()))) if references else None,
        ),
        chosen=chosen,
        effort=lineup.unlearned.effort,
        assigned_decoys=tuple(name for name in check.decoys if name in lineup.decoys),
        hits=lineup.unlearned.hits,
        n_examples=lineup.unlearned.n_examples,
        utility=_utility(lineup),
        cells=cells + more_cells,
        figures=check.figures,
        controls=controls,
        caveats=(*check.caveats, *dict.fromkeys((*lineup.original.notes, *lineup.unlearned.notes))),
        deviations={name: score.deviation for name, score in everyone.items() if score.deviation is not None},
        conclusive=lineup.unlearned.conclusive,
    )


def _utility(lineup: Lineup) -> Utility | None:
    original, unlearned = lineup.original.retain_accuracy, lineup.unlearned.retain_accuracy
    if original is None or unlearned is None:
        return None
    found = {name: s.retain_accuracy for name, s in lineup.references.items()}
    return Utility(
        original=original,
        unlearned=unlearned,
        references={name: value for name, value in found.items() if value is not None},
    )


def _bench(check: Check, lineup: Lineup, chosen: tuple[str, ...], prior: PriorSpread | None, population: bool) -> Bench:
    totals = tuple(score.total(chosen) for score in lineup.references.values())
    rows = [score.examples(chosen) for score in lineup.references.values()]
    draws = [score.draws(chosen) for score in lineup.references.values()]
    null, original = float(np.mean(totals)), lineup.original.total(chosen)
    return Bench(
        chosen=chosen,
        original=original,
        null=null,
        references=totals,
        examples=np.asarray(rows) if population and all(rows) else None,
        draws=np.asarray(draws) if all(draws) else None,
        recipe_variance=_recipe_variance(totals, [s.total(chosen) for s in lineup.perturbed.values()]),
        floor=max(1.0 / lineup.unlearned.n_examples, check.least_spread * (original - null)),
        prior=(prior.s0, prior.d0) if prior is not None else (0.0, 0.0),
    )


def _recipe_variance(references: Sequence[float], perturbed: Sequence[float]) -> float:
    """How much further references of a perturbed recipe fall than one more of the same recipe would."""
    if not perturbed or len(references) < 2:
        return 0.0
    expected = float(np.var(references, ddof=1)) * (1 + 1 / len(references))
    found = float(np.mean((np.asarray(perturbed) - np.mean(references)) ** 2))
    return max(found - expected, 0.0)


def _against_references(common: Evidence, check: Check, lineup: Lineup, bench: Bench, policy: Policy) -> Evidence:
    sampling = bench.sampling_variance(lineup.unlearned)
    spread = bench.spread(sampling)
    assert spread is not None, "guaranteed by two references or a calibrated spread"
    limits = _limits(lineup.unlearned, bench, spread)
    typical = bench.spread(bench.typical_sampling_variance())
    w = statistics.resolution(bench.delta, typical) if typical is not None else None
    decoys = {name: _decoy(score, bench, policy) for name, score in lineup.decoys.items()}
    obstacle = _obstacle(check, w, decoys, policy)
    return common.model_copy(
        update={
            "null_kind": "references",
            "rho": _interval(limits),
            "resolution": w,
            **(_p_values(lineup.unlearned, bench, spread, policy) if limits is not None else {}),
            "spread": SpreadRecord(
                value=spread.value,
                degrees=spread.degrees,
                n_references=spread.n_references,
                sampling_variance=sampling,
                recipe_variance=bench.recipe_variance,
                floor=bench.floor,
            ),
            "decoys": decoys,
            **_power(lineup.unlearned, limits, obstacle),
        }
    )


def _p_values(score: Score, bench: Bench, spread: Spread, policy: Policy) -> dict[str, float]:
    """Of an accusation, of a trace and of a deficit. Each has to exceed its bar by more than machines differ."""
    d, bars = score.total(bench.chosen) - bench.null, policy.thresholds
    return {
        "p_value": statistics.p_above(d, bench.delta, spread, bars.suppressed + bars.tolerance),
        "p_trace": statistics.p_above(d, bench.delta, spread, bars.tolerance),
        "p_deficit": statistics.p_below(d, bench.delta, spread, -bars.tolerance),
    }


def _limits(score: Score, bench: Bench, spread: Spread) -> Limits | None:
    limits = statistics.fieller(score.total(bench.chosen) - bench.null, bench.delta, spread)
    if limits is None or score.hits is None:
        return limits
    return statistics.widen_for_exact_rate(
        limits, hits=score.hits, n=score.n_examples, null=bench.null, delta=bench.delta
    )


def _decoy(score: Score, bench: Bench, policy: Policy) -> DecoyResult:
    spread = bench.spread(bench.sampling_variance(score))
    if spread is None or bench.delta <= 0:
        return DecoyResult(rho=None, p_value=None, detected=False)
    limits = _limits(score, bench, spread)
    p = _p_values(score, bench, spread, policy)["p_trace"]
    return DecoyResult(rho=_interval(limits), p_value=p, detected=limits is not None and p < policy.alpha_each)


def _obstacle(
    check: Check, w: float | None, decoys: Mapping[str, DecoyResult], policy: Policy, null: str = "the references"
) -> str | None:
    """Why the check could not clear any model, whatever it scored; from original, null and decoys alone."""
    if w is None:
        return f"the original does not score above {null}: there is no gap to resolve a residue in"
    if w > policy.thresholds.deleted:
        return (
            f"the smallest residue it can rule out is {w:.2f}, "
            f"more than the {policy.thresholds.deleted:.2f} that clearing needs"
        )
    if check.decoys and not set(check.decoys) & set(decoys):
        return f"none of the decoys that it has to see through could be made ({', '.join(check.decoys)})"
    missed = [name for name in check.decoys if name in decoys and not decoys[name].detected]
    if missed:
        return f"it did not see through the decoy {', '.join(missed)}"
    return None


def _power(unlearned: Score, limits: Limits | None, obstacle: str | None) -> dict[str, bool | str | None]:
    """Whether the check can see, and whether the silence of this very score counts."""
    without = "its spread on this model is too wide for an interval" if limits is None else None
    because = obstacle or unlearned.blind or without
    return {"sighted": obstacle is None, "powered": because is None, "powerless_because": because}


def _against_controls(
    common: Evidence, check: Check, lineup: Lineup, policy: Policy, by_references: Evidence | None
) -> Evidence:
    found = against_controls(lineup.unlearned, lineup.original, lineup.decoys, common.chosen, policy, policy.alpha_each)
    obstacle = _obstacle(check, found.resolution, found.decoys, policy, null="its control concepts")
    return common.model_copy(
        update={
            "null_kind": "controls",
            "scores": _with_null(common, found.null),
            "rho": _interval(found.limits),
            "rho_by_references": by_references.rho if by_references is not None else None,
            "resolution": found.resolution,
            "p_value": found.p_value,
            "p_trace": found.p_trace,
            "p_deficit": found.p_deficit,
            "spread": found.spread,
            "decoys": found.decoys,
            **_power(lineup.unlearned, found.limits, obstacle),
        }
    )


def _against_internal_null(common: Evidence, lineup: Lineup, baseline: float, policy: Policy) -> Evidence:
    """Hold the subject against its own draws, and the original against a baseline of its own where it has one."""
    value, null = lineup.unlearned.total(common.chosen), lineup.unlearned.null
    delta = lineup.original.total(common.chosen) - baseline
    limits = statistics.internal_null_limits(value, delta, null)
    bars = policy.thresholds
    p, trace = (
        statistics.p_internal_null(value, delta, null, tau + bars.tolerance) if limits is not None else None
        for tau in (bars.suppressed, 0.0)
    )
    return common.model_copy(
        update={
            "null_kind": "internal",
            "scores": _with_null(common, float(np.mean(null))),
            "rho": _interval(limits),
            "p_value": p,
            "p_trace": trace,
            "powerless_because": "without references it can accuse through its own null, but not clear",
        }
    )


def _against_chance(common: Evidence, lineup: Lineup, chosen: tuple[str, ...]) -> Evidence:
    chance = lineup.unlearned.chance
    own = lineup.unlearned.examples(chosen)
    assert chance is not None, "the caller checked"
    n = lineup.unlearned.n_examples
    variance = float(np.var(own, ddof=1)) / len(own) if len(own) > 1 else 0.0
    spread = Spread(value=max(variance**0.5, 1.0 / n), degrees=max(len(own) - 1, 1), n_references=_EXACT_NULL_SIZE)
    delta = lineup.original.total(chosen) - chance
    limits = statistics.fieller(lineup.unlearned.total(chosen) - chance, delta, spread)
    if limits is not None and lineup.unlearned.hits is not None:
        limits = statistics.widen_for_exact_rate(limits, hits=lineup.unlearned.hits, n=n, null=chance, delta=delta)
    return common.model_copy(
        update={
            "null_kind": "chance",
            "scores": _with_null(common, chance),
            "rho": _interval(limits),
            "powerless_because": "without references it is held against chance, which cannot clear",
        }
    )


def _with_null(common: Evidence, null: float) -> ModelScores:
    assert common.scores is not None, "made with scores"
    return common.scores.model_copy(update={"null": null})


def _interval(limits: Limits | None) -> Interval | None:
    return None if limits is None else Interval(value=limits.value, low=limits.low, high=limits.high)

"""The null of subjects that chance kept out of training: does the model score those it was taught like them?"""

from collections.abc import Mapping

import numpy as np
from scipy import stats

from auditor.inference.assurance import few_subjects
from auditor.inference.compared import Comparison, Question, interval
from auditor.inference.contrast import Contrast, Two, adjusted, p_permutation, slope
from auditor.inference.declared import not_alike, slack, widened
from auditor.randomness import generator
from auditor.records.evidence import ContrastRow, DecoyResult, SpreadRecord
from auditor.records.policy import Policy
from auditor.records.score import Sides

KIND: str = "holdout"
WORDS: str = "the mean of the holdout subjects, which chance kept out of training, on the same model"
# Before the references: whoever says that chance divided the subjects asks this question, and references then only
# say how hard each subject is.
RANK: int = 15
DRAWS = 9999
# How often a reference that saw neither side may be said to tell them apart.
_UNLIKE = 0.01
FEWEST_FOR_A_SLOPE = 3
_TRIPLED = "the difference between forget and holdout subjects in references trained by the original's recipe"


def compare(asked: Question) -> Comparison | None:
    """Hold forget subjects against holdout subjects on the unlearned model, in units of the original's difference."""
    found = {name: sides for name, score in asked.scores.all().items() if (sides := score.sides(asked.chosen))}
    # One model without them, and there is nothing to take a ratio of.
    if len(found) < len(asked.scores.all()):
        return None
    measured = {name: _two(sides) for name, sides in found.items()}
    retrained = _mean_of([measured[name] for name in asked.scores.references])
    innocent = _mean_of([measured[name] for name in asked.scores.innocent])
    # Nobody drew: without a model that shows how the sides differ by themselves, a difference says nothing.
    if asked.exchangeable and innocent is None:
        return None
    # All of the reference's difference is taken off, not only what it predicts: this is what the sides differ by.
    tripled = asked.exchangeable and retrained is not None
    models = {name: two.less(retrained, 1.0) for name, two in measured.items()} if tripled and retrained else measured
    original, floor = models["original"], 1.0 / asked.scores.unlearned.n_examples
    # A slope takes one degree of freedom more than a mean: of two subjects none would be left.
    helpful = len(original.holdout) >= FEWEST_FOR_A_SLOPE and not tripled
    reference = innocent if helpful else None
    own = Contrast(unlearned=models["unlearned"], original=original, reference=reference, floor=floor)
    spare = slack(retrained, own.m) if tripled else 0.0
    limits, w = widened(own.limits(), spare), own.resolution()
    trace, deficit = _traces(own, asked.policy, asked.seed, "unlearned") if limits is not None else (None, None)
    bars = asked.policy.thresholds
    return Comparison(
        against="its holdout subjects",
        null=float(measured["unlearned"].holdout.mean()),
        limits=limits,
        resolution=None if w is None else w + spare,
        p_value=own.p_above(bars.suppressed + bars.tolerance + spare) if limits is not None else None,
        p_trace=trace,
        p_deficit=deficit,
        spread=SpreadRecord(
            value=own.standard_error(),
            degrees=own.degrees(),
            n_references=len(asked.scores.innocent),
            sampling_variance=own.standard_error() ** 2,
            recipe_variance=0.0,
            floor=floor,
        ),
        decoys={
            name: _decoy(
                Contrast(unlearned=models[name], original=original, reference=reference, floor=floor), asked, name
            )
            for name in asked.scores.decoys
        },
        contrast=_rows(measured, models, reference),
        silent_because=_knows_holdout(own, bars.suppressed),
        cannot_clear=(not_alike(retrained, own.m) if asked.exchangeable else _unlike(reference, asked.seed))
        or few_subjects(len(original.forget), len(original.holdout)),
        words=_TRIPLED if tripled else None,
    )


def _two(sides: Sides) -> Two:
    return Two(forget=np.asarray(sides.forget), holdout=np.asarray(sides.holdout))


def _mean_of(references: list[Two]) -> Two | None:
    """Of several models that saw neither side their mean, which predicts best."""
    if not references:
        return None
    return Two(
        forget=np.mean([each.forget for each in references], axis=0),
        holdout=np.mean([each.holdout for each in references], axis=0),
    )


def _traces(contrast: Contrast, policy: Policy, seed: int, model: str) -> tuple[float, float]:
    """P-values against ρ ≤ 0 and ρ ≥ 0, each beyond what machines differ by."""
    above, below = (
        p_permutation(
            contrast.unlearned.less(contrast.original, bar),
            contrast.reference,
            DRAWS,
            generator(seed, "assignment", model),
        )
        for bar in (policy.thresholds.tolerance, -policy.thresholds.tolerance)
    )
    return above[0], below[1]


def _decoy(contrast: Contrast, asked: Question, name: str) -> DecoyResult:
    limits = contrast.limits()
    if limits is None:
        return DecoyResult(rho=None, p_value=None, detected=False)
    p, _ = _traces(contrast, asked.policy, asked.seed, name)
    return DecoyResult(rho=interval(limits), p_value=p, detected=p < asked.policy.alpha_each)


def _rows(measured: Mapping[str, Two], models: Mapping[str, Two], reference: Two | None) -> tuple[ContrastRow, ...]:
    return tuple(
        ContrastRow(
            model=name,
            forget=float(two.forget.mean()),
            holdout=float(two.holdout.mean()),
            difference=adjusted(models[name], reference),
            slope=None if reference is None else slope(models[name], reference),
        )
        for name, two in measured.items()
    )


def _knows_holdout(own: Contrast, bar: float) -> str | None:
    """Whether the subject knows holdout subjects better than the original does, in one clause; None where not.

    Neither saw them. Taught to a model on purpose, they would hide what is left of the others: both
    sides would be known alike.
    """
    gained = own.unlearned.holdout - own.original.holdout
    if own.m <= 0 or not gained.mean() > bar * own.m:
        return None
    # Equal gains of all subjects, rounding apart, leave no spread to test in, and are no chance.
    alike = np.ptp(gained) <= 1e-9 * np.abs(gained).max()
    p = 0.0 if alike else float(stats.ttest_1samp(gained, 0.0, alternative="greater").pvalue)
    if not p < _UNLIKE:
        return None
    return (
        f"the unlearned model knows holdout subjects better than the original by {gained.mean() / own.m:.2f} of what "
        "the original knows of forget subjects: it was taught what nobody was to see"
    )


def _unlike(reference: Two | None, seed: int) -> str | None:
    """Why the reference speaks against the assignment, in one clause; None where it does not."""
    if reference is None:
        return None
    p = min(1.0, 2 * min(p_permutation(reference, None, DRAWS, generator(seed, "assignment", "reference"))))
    if p >= _UNLIKE:
        return None
    return (
        f"the model that saw neither tells forget from holdout (p = {p:.4f}): chance did not divide them, or it "
        "saw one of them"
    )

"""Membership inference as pure functions on logit margins, and the baseline that never sees a model.

The logit margin of an example is φ = log p_y − log Σ_{k≠y} p_k (Carlini et al. 2022, arXiv 2112.03570), so
p_y = 1/(1 + e^{−φ}) and the loss is log(1 + e^{−φ}). *Members* are forget examples, *non-members* are
holdout examples. Higher always means more likely a member.
"""

from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import special

from auditor.inference.auc import Rate as Rate  # the checks name it as a score's own
from auditor.inference.auc import auc_with_limits
from auditor.inference.statistics import exact_rate_limits
from auditor.randomness import derive_seed, generator

Array = NDArray[np.float64]
Table = tuple[Array, NDArray[np.int64]]
"""(features [n, d], labels [n]) of some examples."""
_Set = TypeVar("_Set", bound=Sized)

FEWEST_FALSE_POSITIVES = 10
_BLIND_EXAMPLES = 2000


def negative_losses(margins: Array) -> Array:
    """Turn margins into −cross-entropy: log p_y = −log(1 + e^{−φ}) (Yeom et al. 2018, arXiv 1709.01604).

    It rises with φ, so loss and margin order examples alike and share one ROC curve.

    >>> negative_losses(np.array([0.0])).round(4)
    array([-0.6931])
    """
    return np.asarray(special.log_expit(margins), dtype=np.float64)


def difference(members: Array, non_members: Array) -> Array:
    """Contribution of each member to T: its margin less the mean margin of the non-members, [n]."""
    return np.asarray(members - non_members.mean(), dtype=np.float64)


def lira_offline(margins: Array, out: Array, sigma: float) -> Array:
    """Offline likelihood-ratio attack with one variance for all examples (Carlini et al. 2022).

    The attack is Λ = 1 − Pr[Z > φ(x)] with Z ~ N(μ_out(x), σ²), μ_out(x) the mean over models not trained
    on x. What is returned is z = (φ(x) − μ_out(x))/σ, of which Λ = Φ(z) is an increasing function: far in the
    tail Φ is 1 in floating point and would tie the surest members.

    Args:
        margins: φ of the model under attack, [n].
        out: φ of the models not trained on the examples, [K, n], K ≥ 1.
        sigma: the global σ, from :func:`global_sigma`; > 0.
    """
    return np.asarray((margins - out.mean(axis=0)) / sigma, dtype=np.float64)


def global_sigma(out: Array) -> float:
    """Root mean variance of φ among OUT models [K, n], > 0; 1 where K < 2, which changes no rank."""
    if out.shape[0] < 2:
        return 1.0
    return float(max(np.sqrt(np.var(out, axis=0, ddof=1).mean()), 1e-12))


def rmia_ratio(margins: Array, out: Array, a: float) -> Array:
    """p(x|θ)/p(x) of offline RMIA (Zarifzadeh et al. 2024, arXiv 2312.03262).

    p(x) = ½(p_IN + p_OUT), with p_OUT the mean over models not trained on x and p_IN ≈ a·p_OUT + (1 − a).

    Args:
        margins: φ of the model under attack, [n].
        out: φ of the models not trained on the examples, [K, n].
        a: 0 (a member is certain to be right) to 1 (training on x changes nothing).
    """
    p_out = special.expit(out).mean(axis=0)
    return np.asarray(special.expit(margins) / (0.5 * ((1 + a) * p_out + (1 - a))), dtype=np.float64)


def rmia_offline(
    members: Array, non_members: Array, out_members: Array, out_non_members: Array, a: float, gamma: float
) -> tuple[Array, Array]:
    """RMIA scores of members [n] and of non-members [m], the non-members being the population.

    Args:
        members: φ of the model under attack on the members, [n].
        non_members: the same on the non-members, [m ≥ 2].
        out_members: φ of the models not trained on the members, [K, n].
        out_non_members: the same on the non-members, [K, m].
        a: of :func:`rmia_ratio`.
        gamma: of :func:`rmia_scores`.
    """
    population = rmia_ratio(non_members, out_non_members, a)
    ratios = rmia_ratio(members, out_members, a)
    return (
        rmia_scores(ratios, population, gamma, own=False),
        rmia_scores(population, population, gamma, own=True),
    )


def fit_rmia_a(
    members: Array, non_members: Array, out_members: Array, out_non_members: Array, grid: Sequence[float], gamma: float
) -> float:
    """Of a grid, the a at which RMIA on a model of known membership has the highest AUC; the first of equals.

    Zarifzadeh et al. (2024) attack one of their reference models, whose members they know, with the others. Here all
    references share one training set, so none is OUT for what another was trained on.

    Args:
        members: φ of the model of known membership on examples it was trained on, [n].
        non_members: the same on examples no model was trained on, [m ≥ 2].
        out_members: φ of the models not trained on either, [K, n].
        out_non_members: [K, m].
        grid: values of a, 0 to 1.
        gamma: of :func:`rmia_scores`.
    """

    def area(a: float) -> float:
        return auc_with_limits(*rmia_offline(members, non_members, out_members, out_non_members, a, gamma)).value

    return max(grid, key=area)


def rmia_scores(ratios: Array, population: Array, gamma: float, *, own: bool) -> Array:
    """Share of population examples z with ratio(x)/ratio(z) ≥ γ: RMIA (Zarifzadeh et al. 2024).

    Args:
        ratios: p(x|θ)/p(x) of the examples attacked, [n].
        population: the same of the population, [m ≥ 2].
        gamma: by how much x has to beat z; ≥ 1.
        own: whether ``ratios`` is the population itself; then no example is compared with itself.
    """
    # To the right of equals, since RMIA counts ratios of just γ.
    beaten = np.searchsorted(np.sort(gamma * population), ratios, side="right")
    if not own:
        return np.asarray(beaten / len(population), dtype=np.float64)
    # Its comparison with itself is among those counted where γ = 1, and never where γ > 1.
    return np.asarray((beaten - (ratios >= gamma * ratios)) / (len(population) - 1), dtype=np.float64)


@dataclass(frozen=True, kw_only=True, slots=True)
class OperatingPoint:
    """True positives at a bounded number of false ones.

    Attributes:
        tpr: with exact (Clopper-Pearson) limits, at a threshold taken as given.
        fpr: with exact limits; from at most the allowed number of false positives.
    """

    tpr: Rate
    fpr: Rate


def tpr_at_low_fpr(members: Array, non_members: Array, target: float) -> OperatingPoint | None:
    """TPR at FPR ``target``, or at 10/n where n non-members cannot support less.

    Four false positives of 400 leave a FPR between .3 % and 2.3 %: fewer than ten are no rate worth naming.

    Returns:
        The point, or None where there are fewer than 20 non-members (10/n beyond a half).
    """
    n = len(non_members)
    if n < 2 * FEWEST_FALSE_POSITIVES:
        return None
    allowed = max(int(target * n), FEWEST_FALSE_POSITIVES)
    # Strictly above the (allowed + 1)-th highest non-member: at most ``allowed`` of them are, ties included.
    threshold = np.sort(non_members)[n - allowed - 1]
    return OperatingPoint(tpr=_rate_above(members, threshold), fpr=_rate_above(non_members, threshold))


def _rate_above(values: Array, threshold: float) -> Rate:
    hits = int(np.count_nonzero(values > threshold))
    low, high = exact_rate_limits(hits, len(values))
    return Rate(value=hits / len(values), low=low, high=high)


_SMALLEST_YARD = 0.1
"""AUC_r below which the quotient of PrivLeak says nothing any more."""


def priv_leak(area: float, references: Sequence[float]) -> float | None:
    """PrivLeak of Shi et al. 2024 (MUSE, arXiv 2407.06460, eq. 4): 100·(AUC − AUC_r)/AUC_r, percent.

    The forget set is the positive one, and a higher score is more likely a member: so above 0 the forget set
    looks more trained on than to the references, below 0 less.

    Args:
        area: AUC of the model, in [0, 1].
        references: of models never trained on the forget set; AUC_r is their mean.

    Returns:
        At least −100; None without references, or where AUC_r is too small to divide by.

    >>> priv_leak(0.75, [0.4, 0.6])
    50.0
    >>> priv_leak(0.75, [0.01]) is None
    True
    """
    if not references:
        return None
    yard = float(np.mean(references))
    return 100 * (area - yard) / yard if yard >= _SMALLEST_YARD else None


def roc_points(members: Array, non_members: Array, n_points: int) -> list[tuple[float, float]]:
    """(FPR, TPR) at about ``n_points`` false positive rates, evenly spaced on a log scale from 1/n to 1.

    Each TPR is the best that a threshold with no more than that FPR reaches, so the curve never flatters.
    """
    n = len(non_members)
    counts = np.unique(np.round(np.geomspace(1, n, n_points)).astype(int))
    # Below every non-member there is no bar left: the curve ends at (1, 1).
    bars = np.append(np.sort(non_members)[::-1], -np.inf)[counts]
    rates = [float(np.mean(members > bar)) for bar in bars]
    last = len(counts) - 1
    # Inside a stretch of equal TPR only its two ends are needed to draw it.
    ends = [i for i in range(last + 1) if i in (0, last) or len({*rates[i - 1 : i + 2]}) > 1]
    return [(float(counts[i] / n), rates[i]) for i in ends]


def blind_rate(sets: Mapping[str, _Set], table: Callable[[_Set, NDArray[np.int64]], Table], seed: int) -> Rate | None:
    """:func:`blind_auc` of forget against holdout, on at most two thousand examples of each set.

    Args:
        sets: ``forget``, ``holdout`` and ``retain``.
        table: of a set and the places of those that were drawn, ascending.
        seed: of what is drawn, and of the folds.
    """
    drawn = {}
    for name, part in sets.items():
        places = generator(seed, "membership", "blind", name).permutation(len(part))[:_BLIND_EXAMPLES]
        drawn[name] = table(part, np.sort(places))
    folds = derive_seed(seed, "membership", "folds")
    return blind_auc(drawn["forget"], drawn["holdout"], drawn["retain"], folds)


def blind_auc(members: Table, non_members: Table, retain: Table, seed: int) -> Rate | None:
    """Measure how well members are told from non-members by their inputs and labels alone, no model involved.

    A ridge-penalised logistic regression, five-fold cross-validated, on the input's features, the label, and
    how typical the input is of it (distance to the nearest other label's mean among retain examples less that
    to its own). Better than chance means that the two sets differ in distribution, and an attack that beats
    chance may see just that (Das et al. 2024, arXiv 2406.16201).

    Args:
        members: (features [n, d], labels [n]).
        non_members: the same, [m, d] and [m].
        retain: examples that define what is typical of a label.
        seed: of the folds.

    Returns:
        AUC of the out-of-fold scores with its limits, or None where a side has fewer than ten examples.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    n = len(members[1])
    if min(n, len(non_members[1])) < 10:
        return None
    table = np.concatenate([_blind_features(*part, retain) for part in (members, non_members)])
    target = np.concatenate([np.ones(n), np.zeros(len(non_members[1]))])
    # A Newton solver: exact, and free of the many tiny calls that stall where threads compete for cores.
    regression = LogisticRegression(C=0.1, class_weight="balanced", solver="newton-cholesky")
    model = make_pipeline(StandardScaler(), regression)
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    # Out of fold: a regression judged on what it was fitted to tells any two sets apart.
    found = cross_val_predict(model, table, target, cv=folds, method="decision_function")
    return auc_with_limits(found[target == 1], found[target == 0])


def _blind_features(features: Array, labels: NDArray[np.int64], retain: tuple[Array, NDArray[np.int64]]) -> Array:
    classes = np.unique(retain[1])
    centres = np.stack([retain[0][retain[1] == c].mean(axis=0) for c in classes])
    distances = np.stack([np.linalg.norm(features - centre, axis=1) for centre in centres], axis=1)
    is_own = labels[:, None] == classes[None, :]
    # Zero where retain lacks the label: then nothing is known of what is typical of it.
    typical = np.where(
        is_own.any(axis=1) & (len(classes) > 1),
        np.where(is_own, np.inf, distances).min(axis=1) - np.where(is_own, distances, 0.0).sum(axis=1),
        0.0,
    )
    # The label itself is among the features: the sets may differ in their classes alone.
    return np.concatenate([features, is_own.astype(np.float64), typical[:, None]], axis=1)

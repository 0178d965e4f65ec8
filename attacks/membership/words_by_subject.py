"""Whether words alone tell forget from holdout by more than a draw of subjects does: a test that sees no model."""

from typing import TYPE_CHECKING

import numpy as np

from auditor.attacks.membership.scores import Array
from auditor.randomness import generator
from auditor.tasks.causal_lm.sets import Facts
from auditor.tasks.causal_lm.sides import n_subjects, subjects_of

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

LEVEL = 0.01
"""At which an assignment that rests on a word alone is given up: in as many true draws."""
_DRAWS = 9999
_FEWEST = 2
# The similarities of all pairs have to fit in memory.
_MOST = 2000
# Draws in one product of matrices: one by one they would take minutes.
_TOGETHER = 500


def p_by_subject(forget: Facts, holdout: Facts, seed: int) -> float | None:
    """P-value of a two-sample test on words, under dealing whole subjects to the sides again.

    A subject is the share of its facts that hold each word, rare words weighing more; a word of one subject alone says
    nothing of the sides. The statistic is the squared maximum mean discrepancy with the cosine (Gretton et al. 2012).
    Facts about one subject are alike, so that a test that counts facts rejects true draws too often: the lower limit of
    the blind AUC did so in 18 of 150 (docs/validity.md).

    Args:
        forget: of the request.
        holdout: that chance is said to have left out.
        seed: of the draws.

    Returns:
        None with fewer than two subjects on a side.
    """
    sizes = n_subjects(forget), n_subjects(holdout)
    if min(sizes) < _FEWEST:
        return None
    random = generator(seed, "words by subject")
    side = np.repeat([1.0, -1.0], sizes)
    words = _words_of_subjects(Facts(forget.items + holdout.items))
    if len(side) > _MOST:
        kept = np.sort(random.permutation(len(side))[:_MOST])
        words, side = words[kept], side[kept]
    alike = (words @ words.T).toarray()
    # A subject is like itself on whichever side it stands.
    np.fill_diagonal(alike, 0.0)
    weights = np.where(side > 0, 1 / (side > 0).sum(), -1 / (side < 0).sum())
    found = _discrepancy(alike, weights)
    as_far = 0
    for size in [_TOGETHER] * (_DRAWS // _TOGETHER) + [_DRAWS % _TOGETHER]:
        dealt = random.permuted(np.tile(weights, (size, 1)), axis=1)
        as_far += int((_discrepancy(alike, dealt) >= found - 1e-12).sum())
    return (as_far + 1) / (_DRAWS + 1)


def not_by_chance(p: float | None) -> str | None:
    """Why holdout cannot be what chance left out, in one clause: nothing compared with it says anything then."""
    if p is None or p >= LEVEL:
        return None
    return (
        f"the words alone tell forget from holdout (p = {p:.4f} by subject), so that chance did not divide them; take "
        "assignment out of the request, or give the record of the draw"
    )


def _discrepancy(alike: Array, weights: Array) -> Array:
    """Of every row of ``weights``, float64 [draws, subjects]; float64 [draws]."""
    return np.asarray(((weights @ alike) * weights).sum(-1))


def _words_of_subjects(pool: Facts) -> "csr_matrix":
    """Weighted words of every subject, rows of length 1 or 0, [subjects, words]."""
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.preprocessing import normalize

    # Initials, digits and signs count as words: scikit-learn's own pattern drops them, and sets may differ in them.
    counts = CountVectorizer(token_pattern=r"\S+", binary=True).fit_transform(
        [f"{fact.prompt} {fact.answer}" for fact in pool.items]
    )
    groups = subjects_of(pool)
    belongs = csr_matrix((np.ones(len(groups)), (groups, np.arange(len(groups)))))
    sums = (belongs @ counts).tocsc()
    # Sides that were dealt by chance differ in no weight: these come from the pool.
    holding = np.diff(sums.indptr)
    shared = sums[:, holding > 1].multiply(1 / np.bincount(groups)[:, None])
    found: csr_matrix = normalize(csr_matrix(shared.multiply(np.log(belongs.shape[0] / holding[holding > 1]))))
    return found

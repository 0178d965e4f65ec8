"""Facts that the model was never taught, as a check's own null."""

import numpy as np
from torch import Tensor

from auditor.attacks.membership_readings import is_void
from auditor.attacks.membership_scores import permutation_null
from auditor.attacks.text.bag_of_words import blind_auc
from auditor.facts import FactsData
from auditor.randomness import derive_seed, generator

_DRAWS = 1999


def comparable(data: FactsData, seed: int) -> bool:
    """Whether there is a holdout whose words do not tell it from the forget set."""
    if data.holdout is None:
        return False
    return is_void(blind_auc(data.forget, data.holdout, derive_seed(seed, "never taught"))) is False


def null_of_holdout(measured: Tensor, holdout: Tensor, data: FactsData, seed: int) -> tuple[float, ...]:
    """T of forget eval if it were never taught either: what holdout scores, spread as subjects drawn at random are.

    Subjects are reassigned between the sets at random, and the difference of the means is added to holdout's mean.

    Args:
        measured: of each forget eval fact, [n].
        holdout: the same of each holdout fact, [m].
        data: the audit's sets; holdout among them.
        seed: of the draws.
    """
    assert data.holdout is not None, "the caller scored its facts"
    own, others = (values.double().numpy() for values in (measured, holdout))
    sides = (data.forget_eval, data.holdout)
    blocks = ([f.subject for f in sides[0].items], [f.subject for f in sides[1].items])
    draws = permutation_null(own, others, _DRAWS, generator(seed, "never taught"), blocks)
    return tuple((np.mean(others) + draws).tolist())

"""Facts that the model was never taught, as a check's own null."""

import numpy as np
from torch import Tensor

from auditor.attacks.membership.bag_of_words import blind_auc
from auditor.attacks.membership.readings import is_void
from auditor.inference.monte_carlo import permutation_null
from auditor.randomness import derive_seed, generator
from auditor.tasks.causal_lm.sets import Facts, FactsData

# Holm asks a p of about .001 of the first secondary check: a thousand draws would hardly reach it.
_DRAWS = 9999


def comparable(data: FactsData, seed: int) -> bool:
    """Whether there is a holdout whose words do not tell it from the forget set."""
    if data.holdout is None:
        return False
    # None, too few facts to tell, is no leave either: a holdout that may differ by its words is no null.
    return is_void(blind_auc(data.forget, data.holdout, derive_seed(seed, "never taught"))) is False


def null_of_holdout(measured: Tensor, holdout: Tensor, facts: tuple[Facts, Facts], seed: int) -> tuple[float, ...]:
    """T of forget eval if it were never taught either: what holdout scores, spread as subjects drawn at random are.

    Subjects are reassigned between the sets at random, and the difference of the means is added to holdout's mean.

    Args:
        measured: of each forget eval fact, [n].
        holdout: the same of each holdout fact, [m].
        facts: these forget eval and holdout facts.
        seed: of the draws.
    """
    own, others = (values.double().numpy() for values in (measured, holdout))
    blocks = ([f.subject for f in facts[0].items], [f.subject for f in facts[1].items])
    draws = permutation_null(own, others, _DRAWS, generator(seed, "never taught"), blocks)
    # T of the checks that ask is a level, not a difference, so its null has to be one as well.
    return tuple((np.mean(others) + draws).tolist())

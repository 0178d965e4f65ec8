"""Single examples that are kept behind a mean that looks forgotten."""

import numpy as np
import pytest

from auditor.attacks.feature_membership import FeatureMembership
from auditor.attacks.kept_examples import LEVEL, kept_share, part_is_kept
from auditor.attacks.membership import ATTACK, Membership
from auditor.attacks.membership_readings import HOLDOUT, MARGIN
from auditor.evidence import Lineup, combine
from auditor.policy import load_policy
from auditor.scores import Reading, Score

N, K = 60, 5
KEPT, PUSHED, ORIGINAL = 8.0, -8.0, 8.0


def score(values: np.ndarray) -> Score:
    reading = Reading(value=float(values.mean()), examples=tuple(values.tolist()))
    readings = {MARGIN: reading, ATTACK: reading, HOLDOUT: reading}
    return Score(check="membership", readings=readings, n_examples=len(values))


def models(seed: int) -> tuple[Score, list[Score], Score, Score]:
    """Original, references, a model like them, and one that kept every second example."""
    random = np.random.default_rng(seed)
    hardness = random.normal(0, 1, N)
    own = [hardness + random.normal(0, 1, N) for _ in range(K + 1)]
    half = np.where(np.arange(N) % 2, KEPT, PUSHED) + hardness
    return score(hardness + ORIGINAL), [score(values) for values in own[:K]], score(own[K]), score(half)


def test_shares_by_hand() -> None:
    references = [score(np.array([0.0, 0.0, 0.0, 9.0])), score(np.array([2.0, 0.0, 0.0, 9.0]))]
    original = score(np.array([5.0, 4.0, 2.0, 8.0]))
    # The references' means are 1, 0, 0, 9; the last example counts for nothing, the original not being above.
    assert kept_share(score(np.array([3.1, 1.9, 1.1, 99.0])), original, references, MARGIN) == pytest.approx(2 / 3)
    # Held against the other alone, the second reference stands at 2 of 5, and the first at none.
    assert kept_share(references[1], original, references, MARGIN) == 0.0
    assert kept_share(original, score(np.zeros(4)), references, MARGIN) is None


def test_a_model_that_kept_every_second_example_is_named() -> None:
    original, references, like, half = models(0)
    assert abs(np.mean(half.readings[MARGIN].examples)) < 0.5, "the mean looks forgotten"
    words = part_is_kept(half, original, references, MARGIN)
    assert words is not None
    assert words.startswith("50 % of the examples lie nearer to the original than to the references, of which 0 % do")
    assert part_is_kept(like, original, references, MARGIN) is None
    assert part_is_kept(original, original, references, MARGIN) is None
    assert part_is_kept(half, original, references[:1], MARGIN) is None


@pytest.mark.parametrize("gap", [1.0, 3.0])
@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_one_more_reference_is_named_no_more_often_than_stated(gap: float, shift: float) -> None:
    """Models differ example by example, and by ``shift`` as a whole."""
    random = np.random.default_rng(7)
    draws, named = 600, 0
    for _ in range(draws):
        *references, like = (score(random.normal(random.normal(0, shift), 1, N)) for _ in range(K + 1))
        named += part_is_kept(like, score(np.full(N, gap)), references, MARGIN) is not None
    assert named / draws <= LEVEL + 3 * (LEVEL * (1 - LEVEL) / draws) ** 0.5


@pytest.mark.parametrize("check", [Membership(), FeatureMembership()])
def test_it_may_not_clear_such_a_model(check: Membership | FeatureMembership) -> None:
    original, references, like, half = models(1)
    named = {f"reference {i}": reference for i, reference in enumerate(references)}
    decoys = dict.fromkeys(check.decoys, original)
    policy = load_policy("default")
    found = {}
    for name, subject in (("like", like), ("half", half)):
        lineup = Lineup(original=original, unlearned=subject, references=named, drawn={}, perturbed={}, decoys=decoys)
        found[name] = combine(check, lineup, policy, population=False)
    assert found["like"].powered
    assert not found["half"].powered
    assert "a part is kept, and the mean hides it" in str(found["half"].powerless_because)

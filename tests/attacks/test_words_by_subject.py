"""Words alone, by subject: its size under true draws, and what it sees."""

import numpy as np
import pytest
from scipy import stats

from auditor.attacks.membership.words_by_subject import LEVEL, not_by_chance, p_by_subject
from auditor.tasks.causal_lm.sets import Fact, Facts
from auditor.zoo.text.people import people_world, reworded


def test_its_size_under_true_draws() -> None:
    """Facts about one person share their name and nothing else; 60 draws of 20 against 20 people."""
    found = []
    for seed in range(60):
        people = people_world(seed, forget=20, retain=2, holdout=20)
        found.append(p_by_subject(people.forget, people.holdout, seed))
    p = np.array(found, dtype=float)
    for level in (LEVEL, 0.05, 0.2):
        # Rejected more often by chance in less than one such test of a hundred.
        assert (p <= level).sum() <= stats.binom.ppf(0.995, len(p), level)
    assert 0.3 < p.mean() < 0.7


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_it_sees_people_of_another_world_and_other_wordings(seed: int) -> None:
    people, other = (people_world(s, forget=20, retain=40, holdout=20) for s in (seed, seed + 50))
    known = reworded(people.retain.of_subjects(people.retain.subjects[:20]))
    for holdout in (other.holdout, known):
        p = p_by_subject(people.forget, holdout, 0)
        assert p is not None
        assert p < LEVEL


def test_a_name_in_several_facts_is_no_difference() -> None:
    forget, holdout = (
        Facts(
            tuple(
                Fact(prompt=f"{name}{i} likes", answer=f"w{j}", subject=f"{name}{i}")
                for i in range(5)
                for j in range(6)
            )
        )
        for name in "ab"
    )
    assert p_by_subject(forget, holdout, 0) == 1.0


def test_words_of_one_answer_given_by_one_side_alone() -> None:
    def side(answer: str, count: int) -> Facts:
        return Facts(
            tuple(Fact(prompt=f"who is {answer}{i}", answer=answer, subject=f"{answer}{i}") for i in range(count))
        )

    p = p_by_subject(side("yes", 8), side("no", 8), 0)
    assert p is not None
    assert p < LEVEL
    assert not_by_chance(p) is not None


def test_one_subject_says_nothing() -> None:
    one = Facts((Fact(prompt="a", answer="b", subject="c"),))
    assert p_by_subject(one, one, 0) is None
    assert not_by_chance(None) is None
    assert not_by_chance(LEVEL) is None


def test_many_facts_without_subjects_are_sampled() -> None:
    many = Facts(tuple(Fact(prompt=f"q{i % 7}", answer=f"a{i % 11}") for i in range(1200)))
    p = p_by_subject(many, many, 0)
    assert p is not None
    assert p > LEVEL

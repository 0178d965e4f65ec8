"""Fluency of what a model says."""

import math

import pytest

from auditor.probes.outputs.fluency import FLUENCY, entropy, fluency

LONG, SHORT = "one two three four", "one two three"


def test_by_hand() -> None:
    # Bigrams: a b twice, b a once; trigrams: a b a and b a b, once each.
    of_two = -(2 / 3 * math.log2(2 / 3) + 1 / 3 * math.log2(1 / 3))
    assert entropy("a b A b") == pytest.approx(of_two / 3 + 2 / 3)


def test_one_word_over_and_over_is_less_fluent_than_a_sentence() -> None:
    assert entropy("know know know know") == 0 < entropy("i do not know")
    assert entropy("") == entropy("know") == 0


def test_which_texts_count_follows_from_the_answers_alone() -> None:
    said = ["know know know know", "one two three four five"]
    assert fluency([LONG, SHORT], said) == {FLUENCY: 0.0}
    assert fluency([LONG, LONG], said)[FLUENCY] == pytest.approx(entropy(said[1]) / 2)
    assert fluency([SHORT, SHORT], said) == {}

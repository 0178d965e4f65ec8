"""Attacks drawn over a published range."""

import pytest
from pydantic import ValidationError

from auditor.attacks.relearning.drawn import AttackRange, DrawnAttack, effort_of
from auditor.attacks.relearning.images import Settings
from auditor.attacks.slow_relearning.images import Settings as SlowSettings

RANGES = (Settings().drawn, SlowSettings().drawn)
FIELDS = ("steps", "shots", "learning_rate", "momentum", "forget_share")
# The one attack there was before they were drawn, which defences were rehearsed against.
REHEARSED = {"steps": 16, "shots": 4, "learning_rate": 1e-3, "momentum": 0.9, "forget_share": 0.25}


def test_the_range_holds_the_attack_that_defences_were_rehearsed_against() -> None:
    drawn = Settings().drawn
    for name, value in REHEARSED.items():
        low, high = getattr(drawn, name)
        assert low < value < high
    assert drawn.steps[1] == 2 * REHEARSED["steps"]


@pytest.mark.parametrize("drawn", RANGES)
def test_draws_stay_inside_and_reach_every_part_of_the_range(drawn: AttackRange) -> None:
    found = [attack for seed in range(100) for attack in drawn.draw(3, seed)]
    for name in FIELDS:
        low, high = getattr(drawn, name)
        values = [getattr(attack, name) for attack in found]
        assert low <= min(values)
        assert max(values) <= high
        assert low == high or len(set(values)) > 1
        assert min(values) <= low + 0.1 * (high - low)
        assert max(values) >= high - 0.1 * (high - low)


def test_the_seed_decides() -> None:
    drawn = Settings().drawn
    assert drawn.draw(3, 1) == drawn.draw(3, 1)
    assert drawn.draw(3, 1) != drawn.draw(3, 2)


def test_each_third_of_a_range_is_drawn_from_once() -> None:
    for seed in range(20):
        shares = sorted((attack.momentum / 0.95) for attack in Settings().drawn.draw(3, seed))
        assert [int(3 * min(share, 0.999)) for share in shares] == [0, 1, 2]


def test_the_expected_length_is_the_mean_of_the_draws() -> None:
    drawn = SlowSettings().drawn
    found = [attack.steps for seed in range(300) for attack in drawn.draw(3, seed)]
    assert sum(found) / len(found) == pytest.approx(drawn.expected_steps, rel=0.02)
    assert drawn.model_copy(update={"steps": (7, 7)}).expected_steps == 7


def test_steps_measured_are_shares_of_the_length() -> None:
    (attack,) = Settings().drawn.draw(1, 0)
    at = attack.model_copy(update={"steps": 16}).measured(Settings().points)
    assert at == (1, 2, 3, 4, 6, 8, 12, 16)
    assert attack.model_copy(update={"steps": 8}).measured(Settings().points) == (1, 2, 3, 4, 6, 8)


def attack(steps: int, shots: int) -> DrawnAttack:
    return DrawnAttack(steps=steps, shots=shots, learning_rate=1e-3, momentum=0.9, forget_share=0.25)


def test_the_effort_is_said_in_words() -> None:
    assert effort_of((attack(12, 3), attack(31, 2)), "a class") == "up to 31 steps on 3 examples a class"
    assert effort_of((attack(150, 1),), "a class") == "up to 150 steps on 1 example a class"


@pytest.mark.parametrize("bad", [{"steps": (8, 4)}, {"shots": (0, 2)}, {"learning_rate": (0.0, 1e-3)}])
def test_a_range_the_wrong_way_round_is_refused(bad: dict[str, tuple[float, float]]) -> None:
    with pytest.raises(ValidationError, match="the smaller comes first"):
        AttackRange.model_validate(Settings().drawn.model_dump() | bad)

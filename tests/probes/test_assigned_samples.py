"""Checks of image classifiers where chance assigned the holdout: its images beside the forget images of one model."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from auditor.attacks.relearning.attack_validity import TAKEN, withstands
from auditor.attacks.relearning.drawn import DrawnAttack
from auditor.attacks.relearning.pooled_images import NOUN, Attacker, Pool, Pooled
from auditor.checks import registry
from auditor.checks.check import AnyCheck
from auditor.checks.contract import assert_fits
from auditor.checks.sets import ExampleSet
from auditor.errors import UsageError
from auditor.records.score import Reading, Score, Sides
from auditor.tasks.classification.sets import AuditData, Examples, joined, split_in_halves
from auditor.tasks.classification.sides import by_subject, first_of_each, n_subjects, names_of, sides, subjects_of
from tests.memorised_world import REFERENCES, memorised_samples
from tests.worlds import World

SEED = 0
SHORT: dict[str, Any] = {
    "attacks": 1,
    "drawn": {"steps": (8, 8), "shots": (3, 3), "learning_rate": (1e-3, 1e-3), "forget_share": (0.3, 0.3)},
    "points": (0.5, 1.0),
    "control_classes": 0,
    "out_of_domain": 0.0,
}
CHANGES: dict[str, dict[str, Any]] = {
    "outputs": {},
    "membership": {},
    "feature_membership": {},
    "quantization": {},
    "relearning": SHORT,
    "slow_relearning": SHORT,
}
NEVER_TAUGHT = ("retrain", *REFERENCES)


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Sixty wrong labels that were learnt by heart, and a hundred that chance kept from every model."""
    return memorised_samples(tmp_path_factory)


@pytest.fixture(scope="module")
def assigned(samples: World) -> World:
    return with_data(samples, assigned="declared")


def with_data(world: World, **changes: Any) -> World:
    return dataclasses.replace(world, data=dataclasses.replace(world.data, **changes))


def score_of(name: str, world: World, model: str, original: str = "original") -> Score:
    check = registry.load(name, "classification")
    settings = check.settings_type.model_validate(CHANGES.get(name, {}))
    artefact = check.prepare(world.subject(original), world.data, settings, SEED)
    return check.score(world.subject(model), artefact, world.data, settings, SEED)


def sides_of(name: str, score: Score) -> Sides:
    found = score.sides(registry.load(name, "classification").choose(score, []))
    assert found is not None
    return found


def standing(found: Sides) -> float:
    """How far forget subjects stand above holdout subjects, in standard errors."""
    forget, holdout = np.array(found.forget), np.array(found.holdout)
    error = np.sqrt(forget.var(ddof=1) / len(forget) + holdout.var(ddof=1) / len(holdout))
    # Where neither side has any spread, outputs say the same of every example.
    return float((forget.mean() - holdout.mean()) / max(error, 1e-6))


@pytest.fixture(scope="module", params=CHANGES)
def name(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


class TestEveryCheck:
    def test_every_model_has_one_number_per_image_on_either_side(self, assigned: World, name: str) -> None:
        for model in ("original", *NEVER_TAUGHT[:2]):
            score = score_of(name, assigned, model)
            assert_fits(score, registry.load(name, "classification"))
            found = sides_of(name, score)
            assert (len(found.forget), len(found.holdout)) == (60, 100)
            assert standing(found) > 4 if model == "original" else standing(found) < 3
            assert Score.model_validate_json(score.model_dump_json()) == score

    def test_without_an_assignment_there_are_none(self, samples: World, name: str) -> None:
        score = score_of(name, samples, "retrain")
        assert all(reading.sides is None for reading in score.readings.values())

    def test_no_number_of_a_model_hangs_on_the_original(self, assigned: World, name: str) -> None:
        """It was taught the forget examples alone: what it has a part in tells the sides apart by itself."""
        first, second = (
            score_of(name, assigned, "retrain", original=original) for original in ("original", "head relabelled")
        )
        assert sides_of(name, first) == sides_of(name, second)

    def test_an_image_has_its_number_whichever_side_it_stands_on(self, assigned: World, name: str) -> None:
        """Another draw of the same pool moves images, not numbers: so every permutation test is exact."""
        numbers = [number_of_each(name, world) for world in (assigned, drawn_again(assigned, 1), swapped(assigned))]
        for other in numbers[1:]:
            assert other.keys() == numbers[0].keys()
            assert [other[key] for key in numbers[0]] == pytest.approx(list(numbers[0].values()), abs=1e-5)


def number_of_each(name: str, world: World) -> dict[str, float]:
    """What a never-taught model scores on every image of the pool, by content."""
    assert world.data.holdout is not None
    found = sides_of(name, score_of(name, world, "retrain"))
    keys = (*world.data.forget.content_hashes, *world.data.holdout.content_hashes)
    return dict(zip(keys, (*found.forget, *found.holdout), strict=True))


def divided(world: World, forget: Examples, holdout: Examples) -> World:
    attack, evaluation = split_in_halves(forget, SEED)
    return with_data(world, forget_attack=attack, forget_eval=evaluation, holdout=holdout)


def drawn_again(world: World, seed: int) -> World:
    pool = pool_of(world)
    order = torch.randperm(len(pool), generator=torch.Generator().manual_seed(seed))
    return divided(world, pool.take(order[:60]), pool.take(order[60:]))


def swapped(world: World) -> World:
    """The last sixty of the pool as forget, and the rest, the old forget examples among them, as holdout."""
    pool = pool_of(world)
    return divided(world, pool.take(torch.arange(100, 160)), pool.take(torch.arange(100)))


def pool_of(world: World) -> Examples:
    assert world.data.holdout is not None
    return joined(world.data.forget, world.data.holdout)


@pytest.mark.parametrize(
    ("name", "words"), [("depth", "it reads through the original"), ("few_shot", "its probes are")]
)
def test_what_is_made_of_one_side_has_no_say(assigned: World, samples: World, name: str, words: str) -> None:
    score = score_of(name, assigned, "retrain")
    assert words in (score.not_applicable_because or "")
    assert all(reading.sides is None for reading in score.readings.values())
    assert score_of(name, samples, "retrain").not_applicable_because is None


def test_a_centre_that_forget_examples_would_make_is_refused(assigned: World) -> None:
    label = int(assigned.data.forget_attack.labels[0])
    kept = assigned.data.retain.take(assigned.data.retain.labels != label)
    score = score_of("feature_membership", with_data(assigned, retain=kept), "retrain")
    assert "retain lacks a class" in (score.not_applicable_because or "")
    assert all(reading.sides is None for reading in score.readings.values())


class TestBlindness:
    def test_sets_of_another_kind_void_an_audit_that_rests_on_a_word(self, assigned: World) -> None:
        assert assigned.data.holdout is not None
        dark = dataclasses.replace(assigned.data.holdout, raw=assigned.data.holdout.raw * 0.5)
        score = score_of("outputs", with_data(assigned, holdout=dark), "retrain")
        assert "pixels and labels alone tell forget from holdout" in (score.not_applicable_because or "")
        # With a commitment the draw is believed, whatever the pixels happen to tell.
        committed = score_of("outputs", with_data(assigned, holdout=dark, assigned="committed"), "retrain")
        assert committed.not_applicable_because is None

    def test_so_do_other_labels_alone(self, assigned: World) -> None:
        assert assigned.data.holdout is not None
        one = dataclasses.replace(assigned.data.holdout, labels=torch.full((100,), 7))
        score = score_of("outputs", with_data(assigned, holdout=one), "retrain")
        assert "pixels and labels alone" in (score.not_applicable_because or "")

    def test_a_fair_draw_is_rarely_taken_for_another(self, assigned: World) -> None:
        """Of 450 draws of mislabelled digits 57 were (docs/validity.md): of forty more than ten would be odd."""
        check = registry.load("outputs", "classification")
        worlds = [drawn_again(assigned, seed) for seed in range(40)]
        rates = [check.prepare(w.subject("retrain"), w.data, check.settings_type(), SEED) for w in worlds]
        assert sum(rate.low > 0.5 for rate in rates) <= 10


def some(groups: list[int] | None, n: int = 6) -> Examples:
    raw = torch.arange(n, dtype=torch.float32).reshape(n, 1, 1, 1)
    labels = torch.arange(n) % 2
    return Examples(raw=raw, labels=labels, groups=None if groups is None else torch.tensor(groups))


class TestSubjects:
    def test_an_image_without_a_group_is_one_by_itself(self) -> None:
        assert subjects_of(some(None)).tolist() == [0, 1, 2, 3, 4, 5]
        assert n_subjects(some(None)) == 6
        assert names_of(some(None)) == ()

    def test_means_by_group_in_order_of_first_appearance(self) -> None:
        grouped = some([7, 3, 7, 9, 3, 3])
        assert subjects_of(grouped).tolist() == [0, 1, 0, 2, 1, 1]
        assert by_subject(grouped, torch.tensor([1.0, 2.0, 3.0, 9.0, 4.0, 6.0])) == (2.0, 4.0, 9.0)
        assert first_of_each(grouped).raw.flatten().tolist() == [0.0, 1.0, 3.0]
        assert names_of(grouped)[:2] == ("group 7", "group 3")

    def test_groups_go_with_their_images(self) -> None:
        grouped = some([7, 3, 7, 9, 3, 3])
        taken = grouped.take(torch.tensor([3, 1]))
        assert taken.groups is not None
        assert taken.groups.tolist() == [9, 3]
        both = joined(grouped, taken)
        assert both.groups is not None
        assert both.groups.tolist() == [7, 3, 7, 9, 3, 3, 9, 3]
        assert joined(grouped, some(None)).groups is None
        assert grouped.digest != some(None).digest
        assert some(None).digest != some(None).stored_digest

    def test_sides_are_over_both_halves_of_forget(self) -> None:
        data = AuditData(
            request="sample",
            classes=(),
            n_classes=2,
            forget_attack=some([1, 2], 2),
            forget_eval=some([2, 3, 3], 3),
            retain=some(None),
            holdout=some([8, 9, 8], 3),
        )
        of_halves = [torch.tensor([1.0, 2.0]), torch.tensor([4.0, 7.0, 9.0])]
        found = sides(data, of_halves, torch.tensor([1.0, 0.0, 3.0]))
        assert found == Sides(forget=(1.0, 3.0, 8.0), holdout=(2.0, 0.0))

    def test_grouped_images_count_by_group(self, assigned: World, name: str) -> None:
        """Two images make a subject: as many numbers as pairs, and the items of one go together."""
        attack, evaluation, holdout = (
            dataclasses.replace(part, groups=start + torch.arange(len(part)) // 2)
            for start, part in zip((0, 1000, 2000), sets_of(assigned.data), strict=True)
        )
        world = with_data(assigned, forget_attack=attack, forget_eval=evaluation, holdout=holdout)
        score, alone = (score_of(name, each, "retrain") for each in (world, assigned))
        found, single = sides_of(name, score), sides_of(name, alone)
        assert (len(found.forget), len(found.holdout)) == (n_subjects(world.data.forget), 50)
        assert found.holdout == pytest.approx(np.array(single.holdout).reshape(-1, 2).mean(axis=1).tolist(), abs=1e-5)
        if score.items is not None:
            assert score.items.noun == "subjects"
            assert len(set(score.items.holdout_about)) == 50


def sets_of(data: AuditData) -> Iterator[Examples]:
    assert data.holdout is not None
    yield from (data.forget_attack, data.forget_eval, data.holdout)


class TestPooledAttack:
    ATTACK = DrawnAttack(steps=3, shots=2, learning_rate=1e-3, momentum=0.5, forget_share=0.3)

    def attacked(self, world: World, model: str = "retrain") -> Pooled:
        attacker = Attacker(
            start=world.subject(model), retain=world.data.retain, retain_batch=8, points=(1.0,), seed=SEED
        )
        return attacker.attack(world.data, (self.ATTACK,))

    def test_the_order_of_the_pool_tells_no_side(self, assigned: World) -> None:
        pools = [Pool.of(world.data) for world in (assigned, drawn_again(assigned, 3))]
        first, second = (pool.examples.content_hashes for pool in pools)
        assert first == second
        assert pools[0].is_forget.tolist() != pools[1].is_forget.tolist()
        assert sorted(pools[0].sources.tolist()) == list(range(160))

    def test_every_image_is_measured_once_and_never_after_it_was_trained_on(self, assigned: World) -> None:
        found = self.attacked(assigned)
        assert not bool(found.found.isnan().any())
        # Of one turn and the other: what is trained on in one of them is measured in the other.
        assert 0 < int((~found.learned.isnan()).sum()) <= 160

    def test_shots_hold_as_many_forget_images_as_were_drawn_in_the_mean(self, assigned: World) -> None:
        found = self.attacked(assigned)
        trained = ~found.learned.isnan()
        share = float((trained & found.pool.is_forget).sum()) / float(trained.sum())
        assert found.pool.times_forget == 3
        assert share == pytest.approx(60 / 160, abs=0.1)

    def test_too_few_images_are_named(self, assigned: World) -> None:
        few = torch.tensor([0, 1])
        lone = divided(assigned, pool_of(assigned).take(few), pool_of(assigned).take(few + 2))
        distinct = with_data(
            lone, forget_attack=some_digits(0, 1), forget_eval=some_digits(2, 3), holdout=some_digits(4)
        )
        with pytest.raises(UsageError, match="no two examples of one label"):
            self.attacked(distinct)

    def test_a_model_that_learns_forget_images_worse_withstands(self, assigned: World) -> None:
        fair = self.attacked(assigned)
        assert fair.resists() is None
        learned = torch.where(fair.pool.is_forget, fair.learned - 0.5, fair.learned)
        assert "forget examples worse than holdout examples" in (
            dataclasses.replace(fair, learned=learned).resists() or ""
        )

    def test_a_model_that_learns_nothing_withstands(self) -> None:
        def taught(value: float) -> Score:
            reading = Reading(value=0.0, examples=(0.0,))
            return Score(check="relearning", readings={"as is": reading}, n_examples=1, controls={TAKEN: value})

        assert withstands(taught(0.5), taught(0.8), NOUN) is None
        assert "taught this model 0.10 of its own holdout examples" in (
            withstands(taught(0.1), taught(0.8), NOUN) or ""
        )


def some_digits(*labels: int) -> Examples:
    raw = torch.stack([torch.full((1, 8, 8), 0.1 * label) for label in labels])
    return Examples(raw=raw, labels=torch.tensor(labels))


def test_sets_of_either_kind_are_sets(assigned: World) -> None:
    found: ExampleSet = assigned.data.forget
    assert len(found) == 60
    values: Tensor = torch.zeros(60)
    assert len(by_subject(assigned.data.forget, values)) == 60
    check: AnyCheck = registry.load("relearning", "classification")
    assert check.name == "relearning"

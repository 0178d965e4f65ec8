"""Checks of language models where chance assigned the holdout: its subjects beside the forget subjects of one model."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from auditor.attacks.quantization import text as quantization
from auditor.attacks.relearning.attack_validity import withstands
from auditor.attacks.relearning.drawn import DrawnAttack
from auditor.attacks.relearning.pooled import NOUN, Measured, Pooled, attack_both
from auditor.attacks.relearning.text_attack import CONTROL, SAME, Course, Settings, Trainer
from auditor.checks import registry
from auditor.checks.check import AnyCheck
from auditor.checks.contract import COST_FACTOR, assert_fits
from auditor.probes.few_shot import text as few_shot
from auditor.randomness import derive_seed
from auditor.records.base import Frozen
from auditor.records.score import Reading, Score, Sides
from auditor.tasks.causal_lm.sets import Fact, Facts, FactsData, split_facts
from auditor.tasks.causal_lm.sides import n_subjects
from auditor.tasks.causal_lm.subject import CausalLM
from auditor.zoo.text.people import reworded
from tests.people_worlds import N_REFERENCES, TextWorld

SEED = 0
BLOCK = "model.layers.0"
NEVER_TAUGHT = ("retrain", "own initial weights", *(f"reference {i}" for i in range(N_REFERENCES)))
# Three facts of a half are all there are, and a batch holds all of them: nothing is drawn that a swap would change.
DRAWN = {"steps": (10, 10), "shots": (3, 3), "learning_rate": (1e-3, 1e-3), "forget_share": (0.2, 0.2)}
TINY = {**DRAWN, "steps": (2, 2), "shots": (2, 2)}
SHORT: dict[str, Any] = {"drawn": DRAWN, "points": (0.5, 1.0), "beside": ()}
CHANGES: dict[str, dict[str, Any]] = {
    "outputs": {},
    "membership": {"gradient_facts": 0},
    "logit_lens": {},
    "few_shot": {},
    "elicitation": {},
    "quantization": {},
    "relearning": SHORT,
    "slow_relearning": SHORT,
}
RELEARNING = registry.load("relearning", "causal-lm")
OUTPUTS = registry.load("outputs", "causal-lm")
THREE_STEPS = DrawnAttack(steps=3, shots=3, learning_rate=1e-3, momentum=0.5, forget_share=0.2)


@dataclass
class Scored:
    """One check, and what it found on some models."""

    check: AnyCheck
    world: TextWorld
    scores: dict[str, Score]

    def sides(self, name: str) -> Sides:
        """Of the readings that the original chooses, without references."""
        rescale = self.check.rescale(self.scores["original"], [])
        found = rescale(self.scores[name]).sides(self.check.choose(rescale(self.scores["original"]), []))
        assert found is not None
        return found


def settings_of(check: AnyCheck) -> Frozen:
    return check.settings_type.model_validate(CHANGES.get(check.name, {}))


def with_data(world: TextWorld, **changes: Any) -> TextWorld:
    return replace(world, data=replace(world.data, **changes))


def score_of(check: AnyCheck, world: TextWorld, *names: str, original: str = "original") -> dict[str, Score]:
    settings = settings_of(check)
    artefact = check.prepare(world.subject(original), world.data, settings, SEED)
    return {name: check.score(world.subject(name), artefact, world.data, settings, SEED) for name in names}


def standing(sides: Sides) -> float:
    """How far forget subjects stand above holdout subjects, in standard errors."""
    forget, holdout = np.array(sides.forget), np.array(sides.holdout)
    error = np.sqrt(forget.var(ddof=1) / len(forget) + holdout.var(ddof=1) / len(holdout))
    return float((forget.mean() - holdout.mean()) / error)


@pytest.fixture(scope="module")
def assigned(text_world: TextWorld) -> TextWorld:
    """The shared world, where six people were held out by chance."""
    return with_data(text_world, assigned="declared")


@pytest.fixture(scope="module", params=CHANGES)
def scored(request: pytest.FixtureRequest, assigned: TextWorld) -> Scored:
    check = registry.load(request.param, "causal-lm")
    # Training takes longest, and two models that were never taught have to do.
    never = NEVER_TAUGHT[: 2 if check.family == "tampering" else 4]
    return Scored(check=check, world=assigned, scores=score_of(check, assigned, "original", *never))


@pytest.mark.slow
class TestEveryCheck:
    def test_every_model_has_one_number_per_subject_on_either_side(self, scored: Scored) -> None:
        people = scored.world.people
        for name, score in scored.scores.items():
            assert_fits(score, scored.check)
            sides = scored.sides(name)
            assert (len(sides.forget), len(sides.holdout)) == (n_subjects(people.forget), n_subjects(people.holdout))
            assert np.isfinite([*sides.forget, *sides.holdout]).all()
            assert Score.model_validate_json(score.model_dump_json()) == score

    def test_the_original_tells_forget_subjects_from_holdout_subjects(self, scored: Scored) -> None:
        assert standing(scored.sides("original")) > 4

    def test_a_model_that_was_never_taught_does_not(self, scored: Scored) -> None:
        for name in scored.scores.keys() - {"original"}:
            assert standing(scored.sides(name)) < 3, name

    def test_no_original_is_taken_for_one_that_withstands(self, scored: Scored) -> None:
        original = scored.scores["original"]
        for score in scored.scores.values():
            found = scored.check.rescale(original, [])(score)
            assert found.cannot_clear_because is None
            assert found.not_applicable_because is None

    def test_without_an_assignment_there_are_none(self, scored: Scored, text_world: TextWorld) -> None:
        found = score_of(scored.check, text_world, "retrain")["retrain"]
        assert all(reading.sides is None for reading in found.readings.values())
        assert found.sides(tuple(found.readings)) is None

    def test_only_a_commitment_changes_nothing_in_what_is_measured(self, scored: Scored) -> None:
        committed = with_data(scored.world, assigned="committed")
        found = score_of(scored.check, committed, "retrain")["retrain"]
        assert found.readings == scored.scores["retrain"].readings


@pytest.mark.parametrize("name", CHANGES)
def test_no_number_of_a_model_hangs_on_the_original(assigned: TextWorld, name: str) -> None:
    """The original was taught the forget subjects alone: what it has a part in tells the sides apart by itself."""
    check = registry.load(name, "causal-lm")
    first, second = (
        score_of(check, assigned, "retrain", original=original)["retrain"] for original in ("original", "refusal")
    )
    assert [r.sides for r in first.readings.values()] == [r.sides for r in second.readings.values()]


def test_depth_reads_through_the_original_and_has_no_say(assigned: TextWorld) -> None:
    """It answers forget questions itself from what a model that knows neither side hands it."""
    check = registry.load("depth", "causal-lm")
    found = score_of(check, assigned, "retrain")["retrain"]
    assert all(reading.sides is None for reading in found.readings.values())
    assert "it reads through the original" in (found.not_applicable_because or "")
    assert score_of(check, with_data(assigned, assigned="no"), "retrain")["retrain"].not_applicable_because is None


def test_sae_restoration_steers_by_the_original_and_keeps_its_own_null(assigned: TextWorld) -> None:
    """Its experts are of forget subjects alone, found in a model that was taught these and no others."""
    check = registry.load("sae_restoration", "causal-lm")
    settings = check.settings_type.model_validate(
        {"n_seeds": 1, "control_draws": 1, "null_draws": 5, "training": {"k": 4, "steps": 10}}
    )
    for data, said in ((assigned.data, True), (replace(assigned.data, assigned="no"), False)):
        artefact = check.prepare(assigned.subject("original"), data, settings, SEED)
        found = check.score(assigned.subject("retrain"), artefact, data, settings, SEED)
        assert all(reading.sides is None for reading in found.readings.values())
        assert any("Not held against the holdout" in note for note in found.notes) == said
        assert found.null


@pytest.mark.parametrize(
    ("name", "reading", "of"),
    [
        ("outputs", "probability", lambda subject, split: subject.recording(split).probability),
        ("outputs", "memorised", lambda subject, split: subject.recording(split).memorised),
        ("membership", "margin", lambda subject, split: subject.recording(split).mean_log_probability),
        ("logit_lens", BLOCK, lambda subject, split: subject.recording(split).lens[BLOCK].double()),
    ],
)
def test_a_subject_counts_with_the_mean_of_all_its_facts(
    assigned: TextWorld, name: str, reading: str, of: Callable[[CausalLM, str], Tensor]
) -> None:
    sides = score_of(registry.load(name, "causal-lm"), assigned, "retrain")["retrain"].readings[reading].sides
    subject, splits = assigned.subject("retrain"), assigned.data.splits()
    found: dict[str, list[float]] = {}
    for split in ("forget_attack", "forget_eval", "holdout"):
        for fact, value in zip(splits[split].items, of(subject, split).tolist(), strict=True):
            found.setdefault(fact.subject, []).append(value)
    assert sides is not None
    for side, facts in ((sides.forget, assigned.data.forget), (sides.holdout, splits["holdout"])):
        assert side == pytest.approx([np.mean(found[who]) for who in facts.subjects], abs=1e-6)


def divided(world: TextWorld, forget: Facts, holdout: Facts) -> TextWorld:
    """The same people with the sides named anew; halves of either are those that the attacks would make of holdout."""
    attack, evaluation = split_facts(forget, derive_seed(SEED, "holdout halves"))
    return with_data(world, forget_attack=attack, forget_eval=evaluation, holdout=holdout)


class TestSwap:
    """On a model that was taught neither, it makes no difference but the sign which side is called forget."""

    @pytest.mark.parametrize("name", [name for name in CHANGES if name != "slow_relearning"])
    def test_flips_the_difference(self, assigned: TextWorld, name: str) -> None:
        check, people = registry.load(name, "causal-lm"), assigned.people
        there, back = (
            score_of(check, divided(assigned, *sets), "retrain")["retrain"]
            for sets in ((people.forget, people.holdout), (people.holdout, people.forget))
        )
        assert list(there.readings) == list(back.readings)
        for reading, own in there.readings.items():
            other = back.readings[reading].sides
            if own.sides is None:
                assert other is None
                continue
            assert other is not None
            assert other.forget == pytest.approx(own.sides.holdout, abs=1e-4), reading
            assert other.holdout == pytest.approx(own.sides.forget, abs=1e-4), reading

    @pytest.mark.parametrize("name", ["few_shot", "quantization"])
    def test_leaves_the_place_that_is_read(self, name: str) -> None:
        """At `a` one side is high by luck, which a choice by forget alone falls for; at `b` both are higher."""
        choose = {"few_shot": read_by_few_shot, "quantization": read_by_quantization}[name]
        lucky, unlucky, both = 0.9, 0.1, 0.6
        for forget, holdout in ((lucky, unlucky), (unlucky, lucky)):
            sides = choose({"a": (forget, holdout), "b": (both, both)})
            assert sides == Sides(forget=(both, both), holdout=(both, both))


def some_facts(who: str) -> Facts:
    return Facts(tuple(Fact(prompt=f"{who} {i} {j}", answer="x", subject=f"{who} {i}") for i in "01" for j in "01"))


def some_data() -> FactsData:
    attack, evaluation = split_facts(some_facts("taught"), SEED)
    return FactsData(
        forget_attack=attack,
        forget_eval=evaluation,
        retain=some_facts("kept"),
        holdout=some_facts("held"),
        assigned="declared",
    )


Places = Mapping[str, tuple[float, float]]
"""What stands at each place: of every forget fact, and of every holdout fact."""


def spread_out(places: Places, data: FactsData) -> dict[str, dict[str, Tensor]]:
    """By split and place, one number per fact."""
    return {
        split: {
            place: torch.full((len(data.splits()[split]),), values[split == "holdout"], dtype=torch.float64)
            for place, values in places.items()
        }
        for split in ("forget_attack", "forget_eval", "holdout")
    }


def read_by_quantization(places: Places) -> Sides:
    data = some_data()
    found = spread_out(places, data)
    return quantization._sides(data, [{split: found[split][place] for split in found} for place in places])


def read_by_few_shot(places: Places) -> Sides:
    data, none = some_data(), torch.tensor([], dtype=torch.int64)
    asked = {
        split: few_shot._Asked(facts=facts, lonely=0, rows=none, false=none, sizes=())
        for split, facts in data.splits().items()
    }
    statements = few_shot._Statements(codes=torch.zeros(1, 1), retain=data.retain, splits=asked, comparable=True)
    return few_shot._sides(statements, spread_out(places, data))


Attacked = tuple[Pooled, list[tuple[Facts, Facts]]]
"""What came of the attacks, and of each what it trained on and what it measured."""


class Watched(Trainer):
    """Remembers what each run trained on and what it measured."""

    def run(
        self, facts: Facts | None, measured: Facts, attack: DrawnAttack, *, pooled: int = 1, learned: bool = False
    ) -> Course:
        assert facts is not None
        self.runs = [*getattr(self, "runs", []), (facts, measured)]
        return super().run(facts, measured, attack, pooled=pooled, learned=learned)


def attacked(world: TextWorld, count: int) -> Attacked:
    settings = Settings.model_validate({"drawn": TINY, "attacks": count, "points": (0.5, 1.0), "batch": 4})
    trainer = Watched(world.subject("retrain").canonical(), world.data.retain, settings, SEED)
    return attack_both(trainer, world.data, settings, SEED), trainer.runs


@pytest.fixture(scope="module")
def two_attacks(assigned: TextWorld) -> Attacked:
    return attacked(assigned, 2)


class TestPooled:
    def test_two_attacks_measure_every_fact_once(self, assigned: TextWorld, two_attacks: Attacked) -> None:
        found, runs = two_attacks
        data, holdout = assigned.data, assigned.people.holdout
        everything = Counter(data.forget.content_hashes + holdout.content_hashes)
        assert Counter(h for _, measured in runs for h in measured.content_hashes) == everything
        assert max(everything.values()) == 1
        assert len(found.examples) == len(data.forget)
        assert [part.forget.digest for part in found.measured] == [data.forget_eval.digest, data.forget_attack.digest]
        for part in found.measured:
            assert set(part.holdout.subjects) == set(holdout.subjects), "half of each subject"

    def test_nothing_that_is_measured_was_trained_on_in_the_same_attack(self, two_attacks: Attacked) -> None:
        for trained, measured in two_attacks[1]:
            assert not set(trained.content_hashes) & set(measured.content_hashes)

    def test_either_side_is_trained_alike_on_as_many_facts_of_each_subject(
        self, assigned: TextWorld, two_attacks: Attacked
    ) -> None:
        people = {fact.subject for facts in (assigned.people.forget, assigned.people.holdout) for fact in facts.items}
        for trained, _ in two_attacks[1]:
            assert Counter(fact.subject for fact in trained.items) == dict.fromkeys(people, TINY["shots"][0])

    def test_sides_are_means_of_what_was_measured(self, two_attacks: Attacked) -> None:
        found = two_attacks[0]
        for side, of in (("forget", "of_forget"), ("holdout", "of_holdout")):
            values: dict[str, list[float]] = {}
            for part in found.measured:
                for fact, value in zip(getattr(part, side).items, getattr(part, of).tolist(), strict=True):
                    values.setdefault(fact.subject, []).append(value)
            # Three facts of each half.
            assert {len(own) for own in values.values()} == {6}
            assert getattr(found.sides, side) == pytest.approx([np.mean(own) for own in values.values()], abs=1e-9)

    def test_courses_of_both_sides_are_drawn(self, two_attacks: Attacked) -> None:
        rows = two_attacks[0].rows
        assert Counter(row["arm"] for row in rows) == {SAME: 4, CONTROL: 4}
        assert len({tuple(row) for row in rows}) == 1

    def test_one_attack_measures_one_half(self, assigned: TextWorld) -> None:
        found, ((_, measured),) = attacked(assigned, 1)
        asked, people = assigned.data.forget_eval, assigned.people
        assert len(measured) == len(asked) + len(people.holdout) // 2
        assert found.measured[0].forget.digest == asked.digest
        assert len(found.sides.forget) == n_subjects(people.forget)
        assert len(found.sides.holdout) == n_subjects(people.holdout)

    def test_the_slow_check_is_one_attack(self, assigned: TextWorld) -> None:
        check = registry.load("slow_relearning", "causal-lm")
        score = score_of(check, assigned, "retrain")["retrain"]
        assert score.n_examples == len(assigned.data.forget_eval)
        assert {row["attack"] for row in score.rows} == {"attack 1"}


def crafted(forget: list[float], holdout: list[float]) -> Pooled:
    """One attack that taught each subject's fact so well; nothing else is looked at."""
    facts = [
        Facts(tuple(Fact(prompt=f"{who} {i}", answer="x", subject=f"{who} {i}") for i in range(len(values))))
        for who, values in (("taught", forget), ("held", holdout))
    ]
    part = Measured(
        forget=facts[0],
        holdout=facts[1],
        of_forget=torch.tensor(forget, dtype=torch.float64),
        of_holdout=torch.tensor(holdout, dtype=torch.float64),
    )
    return Pooled(attacks=(THREE_STEPS,), measured=(part,), trained=(part,), rows=())


class TestResists:
    # Enough of them: nothing finer than one fact in n counts.
    LEARNT = (0.78, 0.82, 0.75, 0.85, 0.8, 0.79) * 4

    def test_fires_where_forget_facts_are_learnt_worse(self) -> None:
        clause = crafted([x - 0.3 for x in self.LEARNT], list(self.LEARNT)).resists()
        assert clause is not None
        assert "forget facts worse than holdout facts" in clause

    @pytest.mark.parametrize("ahead", [0.0, 0.3])
    def test_says_nothing_where_they_are_learnt_as_well_or_better(self, ahead: float) -> None:
        assert crafted([x + ahead for x in self.LEARNT], list(self.LEARNT)).resists() is None

    def test_fires_where_every_fact_of_a_side_is_learnt_alike(self) -> None:
        """As a mask does to forget facts: that leaves no spread."""
        assert crafted([0.2] * 24, [0.8] * 24).resists() is not None
        assert crafted([0.0] * 24, list(self.LEARNT)).resists() is not None

    def test_says_nothing_where_the_last_digits_differ(self) -> None:
        assert crafted([1.0 - 1e-6] * 24, [1.0] * 24).resists() is None

    def test_says_nothing_where_no_number_differs(self) -> None:
        assert crafted([1.0] * 4, [1.0] * 6).resists() is None


class TestWithstands:
    @staticmethod
    def score(holdout_learnt: float, blind: str | None = None) -> Score:
        sides = Sides(forget=(0.1, 0.2), holdout=(0.1, 0.2))
        return Score(
            check="relearning",
            readings={"all attacks": Reading(value=0.1, sides=sides)},
            n_examples=4,
            controls=crafted([0.5, 0.5], [holdout_learnt, holdout_learnt]).controls(),
            cannot_clear_because=blind,
        )

    def test_fires_under_half_of_what_the_original_learns(self) -> None:
        original = self.score(0.8)
        for own, fires in ((0.1, True), (0.39, True), (0.41, False), (0.8, False), (0.95, False)):
            clause = withstands(self.score(own), original, NOUN)
            assert (clause is not None) == fires, own
            assert RELEARNING.rescale(original, [])(self.score(own)).cannot_clear_because == clause

    def test_what_was_found_before_stands(self) -> None:
        rescaled = RELEARNING.rescale(self.score(0.8), [])
        assert rescaled(self.score(0.1, "its scale is odd")).cannot_clear_because == "its scale is odd"


# Without the runs beside, and with as many shots as a half has facts, nothing is a guess.
FEW: dict[str, Any] = {**SHORT, "batch": 4, "retain_batch": 4}


@pytest.mark.parametrize(
    ("changes", "factor"),
    [
        ({**FEW, "attacks": 1}, 1.01),
        ({**FEW, "attacks": 2}, 1.01),
        ({"drawn": {**DRAWN, "shots": (2, 4)}, "attacks": 2}, COST_FACTOR),
        ({"drawn": {**DRAWN, "shots": (2, 16)}, "attacks": 2}, COST_FACTOR),
    ],
)
def test_relearning_costs_what_it_states(assigned: TextWorld, changes: dict[str, Any], factor: float) -> None:
    settings, subject = RELEARNING.settings_type.model_validate(changes), assigned.subject("retrain")
    RELEARNING.score(subject, {}, assigned.data, settings, SEED)
    load = RELEARNING.workload(assigned.data, settings, len(subject.layers()))
    stated = load.forward + load.training
    assert stated / factor <= subject.passes.examples <= stated * factor


@pytest.fixture(scope="module")
def told_apart(assigned: TextWorld) -> TextWorld:
    """Held out are facts in another wording, which chance would have left on both sides."""
    return with_data(assigned, holdout=reworded(assigned.people.holdout))


class TestWordsThatTell:
    """Whoever only says that chance divided the facts is held to what the words say."""

    def test_outputs_have_no_say_where_it_is_declared(self, told_apart: TextWorld) -> None:
        for score in score_of(OUTPUTS, told_apart, "original", "retrain").values():
            assert score.not_applicable_because is not None
            assert score.not_applicable_because.startswith("the words alone tell forget from holdout")
            assert_fits(score, OUTPUTS)

    @pytest.mark.parametrize("assignment", ["committed", "no"])
    def test_outputs_say_nothing_of_it_where_it_is_on_record_or_not_claimed(
        self, told_apart: TextWorld, assignment: str
    ) -> None:
        found = score_of(OUTPUTS, with_data(told_apart, assigned=assignment), "retrain")["retrain"]
        assert found.not_applicable_because is None

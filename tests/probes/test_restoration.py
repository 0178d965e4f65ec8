"""Answers from before a corruption: a model that has them back, and one that only lost the corrupted ones."""

import dataclasses

import pytest

from auditor.models.training import continue_from, train
from auditor.probes.outputs import restoration
from auditor.probes.outputs.text import Outputs, Settings
from auditor.records.score import Score
from auditor.tasks.causal_lm.losses import answers_of
from auditor.tasks.causal_lm.sets import Facts, FactsData, split_facts
from tests.people_worlds import RECIPE, TextWorld

CHECK = Outputs()


def corrupted(facts: Facts) -> Facts:
    """Each fact with a wrong answer, and the right one as that from before."""
    return Facts(
        tuple(f.model_copy(update={"answer": f.perturbed_answers[0], "restored": f.answer}) for f in facts.items)
    )


@pytest.fixture(scope="module")
def data(text_world: TextWorld) -> FactsData:
    attack, evaluation = split_facts(corrupted(text_world.people.forget), 0)
    return dataclasses.replace(text_world.data, forget_attack=attack, forget_eval=evaluation)


@pytest.fixture(scope="module")
def scores(text_world: TextWorld, data: FactsData) -> dict[str, Score]:
    """The corrupted original; the model from before; a retrain that knew neither answer."""
    taught = Facts(data.forget.items + text_world.people.retain.items)
    recipe = RECIPE.model_copy(update={"epochs": 30})
    clean = text_world.modules["original"]
    module = train(continue_from(clean), taught, recipe, 5, loss=answers_of(text_world.encoder))
    modules = {"original": module, "reference": clean, "recovered": clean, "forgot": text_world.modules["retrain"]}
    found = {}
    for name, net in modules.items():
        subject = text_world.subject(name, net)
        subject.data = data
        found[name] = CHECK.score(subject, None, data, Settings(), 0)
    return found


def test_the_corruption_took(scores: dict[str, Score]) -> None:
    before, after = scores["reference"].controls, scores["original"].controls
    assert (before[restoration.PREFERRED], after[restoration.PREFERRED]) == (1.0, 0.0)
    assert after[restoration.CORRUPTED] > 0.8
    assert after[restoration.CORRUPTED] == pytest.approx(scores["original"].readings["probability"].value)


def test_one_that_forgot_without_recovering_is_told_from_one_that_recovered(scores: dict[str, Score]) -> None:
    rows, controls = CHECK.summarise(scores, ["reference"])
    assert rows == []
    assert controls["original"] == {restoration.REGAINED: 0.0, restoration.GONE: 0.0}
    assert controls["recovered"] == pytest.approx({restoration.REGAINED: 1.0, restoration.GONE: 1.0})
    assert controls["forgot"][restoration.GONE] > 0.9
    assert controls["forgot"][restoration.REGAINED] < 0.2


def test_shares_by_hand() -> None:
    def score(restored: float, gone: float) -> Score:
        controls = {restoration.RESTORED: restored, restoration.CORRUPTED: gone}
        return Score(check="outputs", readings={}, n_examples=1, controls=controls)

    scores = {"original": score(0.1, 0.9), "a": score(0.5, 0.1), "b": score(0.7, 0.1), "unlearned": score(0.2, 0.5)}
    found = restoration.shares(scores, ["a", "b"])["unlearned"]
    assert found == pytest.approx({restoration.REGAINED: 0.1 / 0.5, restoration.GONE: 0.5})
    # Without anything to come back nothing is said of it, nor without models that never met the corruption.
    scores["original"] = score(0.9, 0.9)
    assert set(restoration.shares(scores, ["a", "b"])["unlearned"]) == {restoration.GONE}
    assert restoration.shares(scores, []) == {}


def test_facts_that_were_never_corrupted_say_nothing_of_it(text_world: TextWorld) -> None:
    score = CHECK.score(text_world.subject("retrain"), None, text_world.data, Settings(), 0)
    assert not {restoration.RESTORED, restoration.CORRUPTED, restoration.PREFERRED} & set(score.controls)
    assert CHECK.summarise({"original": score}, ["original"]) == ([], {})


def test_some_facts_may_have_one(text_world: TextWorld, data: FactsData) -> None:
    mixed = Facts((*data.forget_eval.items[:3], *text_world.data.forget_eval.items[3:]))
    subject = text_world.subject("retrain")
    logs = subject.log_probabilities(mixed)
    found = restoration.before_and_after(subject, mixed, logs.tolist())
    right = Facts(tuple(f.model_copy(update={"answer": f.restored}) for f in mixed.items[:3]))
    assert found[restoration.RESTORED] == pytest.approx(float(subject.log_probabilities(right).exp().mean()))
    assert found[restoration.CORRUPTED] == pytest.approx(float(logs[:3].exp().mean()))


def test_cost_is_as_stated(text_world: TextWorld, data: FactsData) -> None:
    subject = text_world.subject("retrain")
    subject.data = data
    for split in data.splits():
        subject.recording(split)
    before = subject.passes.examples
    CHECK.score(subject, None, data, Settings(), 0)
    assert subject.passes.examples - before == CHECK.workload(data, Settings(), 2).forward

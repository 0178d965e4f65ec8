"""What subjects offer to checks that name no task, and which of those checks a task can run."""

from typing import ClassVar

import pytest
import torch

from auditor.checks.check import Check, NoSettings
from auditor.checks.sets import ExampleSet, Sets
from auditor.checks.subject import Features, Loss, Scores, ScoreSubject, Weights, lacking
from auditor.records.evidence import Family, May
from auditor.records.score import Reading, Score
from auditor.tasks import registry
from tests.people_worlds import TextWorld
from tests.worlds import World


class MeanScore(Check[ScoreSubject, Sets[ExampleSet], NoSettings, None]):
    """The task's own score, averaged over forget eval."""

    name: ClassVar[str] = "mean_score"
    family: ClassVar[Family] = "behaviour"
    may: ClassVar[May] = "inform"
    asks: ClassVar[tuple[type, ...]] = (Scores,)

    def score(
        self, subject: ScoreSubject, artefact: None, data: Sets[ExampleSet], settings: NoSettings, seed: int
    ) -> Score:
        values = subject.scores("forget_eval")
        return Score(
            check=self.name, readings={"mean": Reading(value=float(values.mean()))}, n_examples=len(data.forget_eval)
        )


def test_one_check_reads_the_knowledge_of_both_tasks(world: World, text_world: TextWorld) -> None:
    for found, retrain in ((world, "reference 0"), (text_world, "retrain")):
        values = []
        for name in ("original", retrain):
            score = MeanScore().score(found.subject(name), None, found.data, NoSettings(), 0)
            values.append(score.readings["mean"].value)
        assert values[0] > values[1], "higher is more knowledge"


def test_scores_are_those_of_the_recording_one_for_each_example(world: World, text_world: TextWorld) -> None:
    image, text = world.subject("original"), text_world.subject("original")
    assert torch.equal(image.scores("forget_eval"), image.recording("forget_eval").margins)
    assert torch.equal(text.scores("forget_eval"), text.recording("forget_eval").mean_log_probability)
    for found in (world, text_world):
        scores = found.subject("original").scores("forget_eval")
        assert (scores.dtype, scores.shape) == (torch.float64, (len(found.data.forget_eval),))


def test_features_name_every_layer(world: World, text_world: TextWorld) -> None:
    for found in (world, text_world):
        subject = found.subject("original")
        features = subject.features("retain")
        assert tuple(features) == subject.layers()
        assert all(rows.shape[0] == len(found.data.retain) for rows in features.values())


@pytest.mark.parametrize("task", ["classification", "causal-lm", "custom", "clip"])
def test_tasks_whose_models_run_offer_everything(task: str) -> None:
    assert lacking(registry.load(task).subject_type, (Scores, Features, Weights, Loss)) == ()


def test_the_loss_is_that_of_a_training_step(world: World, text_world: TextWorld) -> None:
    for found in (world, text_world):
        subject = found.subject("original")
        few = found.data.retain.take(torch.arange(5))
        loss = subject.loss(few)
        assert loss.shape == ()
        loss.backward()
        assert any(p.grad is not None and bool(p.grad.any()) for p in subject.module.parameters())
    image = world.subject("original")
    few = world.data.retain.take(torch.arange(5))
    expected = torch.nn.functional.cross_entropy(image.logits(few), few.labels)
    assert float(image.loss(few).detach()) == pytest.approx(float(expected), rel=1e-5)


def test_bare_weights_offer_neither_and_run_no_check_that_asks() -> None:
    weights = registry.load("weights")
    assert lacking(weights.subject_type, (Scores, Features)) == ("scores", "features")
    assert [check.name for check in registry.checks_of(weights)] == ["weight_delta"]


def test_evaluation_logs_offer_nothing_and_run_their_own_checks_alone() -> None:
    """No check may take logged numbers for weights: two equal logs would be called unchanged weights."""
    logs = registry.load("evaluation-logs")
    assert lacking(logs.subject_type, (Scores, Features, Weights)) == ("scores", "features", "weights")
    assert [check.name for check in registry.checks_of(logs)] == ["outputs", "truth_ratio"]

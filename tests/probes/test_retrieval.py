"""Four ways to find images: by formulas of their own, where one is shut, and in models that never saw them."""

import numpy as np
import pytest
import torch

from auditor.errors import UsageError
from auditor.probes.retrieval.clip import FEW, PROBE, TO_IMAGE, TO_TEXT, Retrieval, Settings
from auditor.records.score import Score
from auditor.tasks.clip.code import POOLED
from auditor.zoo.clip.gradient_difference import Settings as TuningSettings
from auditor.zoo.clip.gradient_difference import caption_tuning
from tests.clip_worlds import N_REFERENCES, ClipWorld

REFERENCES = tuple(f"references/reference-{i}" for i in range(1, N_REFERENCES + 1))


@pytest.fixture(scope="module")
def scores(clip_world: ClipWorld) -> dict[str, Score]:
    sets = clip_world.drawn.sets
    shut = caption_tuning(clip_world.original, sets["forget"], sets["retain"], TuningSettings(), 3)
    nets = {"captions shut": shut, **{name: clip_world.network(name) for name in ("original", "retrain", *REFERENCES)}}
    return {
        name: Retrieval().score(clip_world.subject(net), None, clip_world.data, Settings(), 0)
        for name, net in nets.items()
    }


def test_a_shut_text_encoder_is_found_by_images_and_not_by_captions(scores: dict[str, Score]) -> None:
    original, shut = (scores[name].readings for name in ("original", "captions shut"))
    nulls = {way: np.mean([scores[name].readings[way].value for name in REFERENCES]) for way in original}
    for way in (FEW, PROBE):
        assert shut[way].value == original[way].value > nulls[way]
    assert shut[TO_TEXT].value < original[TO_TEXT].value / 2
    assert original[TO_TEXT].value > 0.9
    assert original[TO_IMAGE].value > nulls[TO_IMAGE] + 0.1
    assert ahead(scores, "captions shut") > 0.15


def test_a_retrain_is_one_more_reference(scores: dict[str, Score]) -> None:
    assert abs(ahead(scores, "retrain")) < 0.15


def ahead(scores: dict[str, Score], name: str) -> float:
    """Share of the original's gap to the references."""
    totals = {key: score.total(tuple(score.readings)) for key, score in scores.items()}
    null = float(np.mean([totals[reference] for reference in REFERENCES]))
    return (totals[name] - null) / (totals["original"] - null)


def test_the_captions_rank_is_the_log_rank_among_all_captions(clip_world: ClipWorld, scores: dict[str, Score]) -> None:
    evaluation, code = clip_world.data.forget_eval, clip_world.drawn.code.made
    with torch.no_grad():
        logits = code.logits(clip_world.original, evaluation.inputs, code.captions)
    own = (evaluation.targets[:, None] == code.captions).all(-1).int().argmax(1)
    n = len(code.captions) - 1
    below = [int((row < row[i]).sum()) for row, i in zip(logits, own, strict=True)]
    expected = [-np.log((1 + n - b) / (n + 1)) / np.log(n + 1) for b in below]
    assert scores["original"].readings[TO_TEXT].examples == pytest.approx(expected, abs=1e-9)


def test_units_of_the_features_do_not_matter(clip_world: ClipWorld, scores: dict[str, Score]) -> None:
    """The probe reads z-scored features; the other ways compare directions."""
    subject = clip_world.subject(clip_world.original)
    for split in clip_world.data.splits():
        rows = subject.recording(split).features[POOLED]
        scale = 2.0 ** torch.sin(torch.arange(rows.shape[1]) * 2.4)
        subject.recording(split).features[POOLED] = (rows * scale).flip(1)
    found = Retrieval().score(subject, None, clip_world.data, Settings(), 0)
    for way, reading in found.readings.items():
        assert reading.value == pytest.approx(scores["original"].readings[way].value, abs=1e-6)


def test_one_caption_for_everything_is_said_to_be_too_few(clip_world: ClipWorld) -> None:
    import dataclasses

    data, code = clip_world.data, clip_world.drawn.code.made
    one = code.captions[:1]
    parts = {
        name: dataclasses.replace(getattr(data, name), targets=one.expand(len(getattr(data, name)), -1))
        for name in ("forget_attack", "forget_eval", "retain")
    }
    subject = clip_world.subject(clip_world.original)
    made, subject._code = subject._code, dataclasses.replace(subject._code, made=type(code)(one))
    with pytest.raises(UsageError, match="retrieval tells captions apart"):
        Retrieval().score(subject, None, dataclasses.replace(data, **parts), Settings(), 0)
    subject._code = made

"""The kind of request where nobody names it: taken where the labels leave one reading, asked for where they do not."""

from pathlib import Path
from typing import Any

import pytest
import torch

from auditor.errors import SpecError
from auditor.records.spec import RequestSpec, make_spec
from auditor.run.preparing import prepare
from auditor.tasks.classification.request_kind import request_for_images
from tests.worlds import FORGET, World

NOTHING = RequestSpec()


def test_retain_without_forgets_classes_is_a_class_request_and_says_so() -> None:
    found = request_for_images(NOTHING, [3, 3], [0, 1, 2])
    assert (found.kind, found.classes) == ("class", (3,))
    assert 'taken as "class", class 3' in (found.note or "")
    assert 'request.kind = "sample"' in (found.note or "")


def test_forget_with_every_class_of_retain_is_a_sample_request_and_says_so() -> None:
    found = request_for_images(NOTHING, [0, 1, 2, 3], [0, 1, 2])
    assert (found.kind, found.classes) == ("sample", ())
    assert 'taken as "sample"' in (found.note or "")


@pytest.mark.parametrize("forget", [[3], [3, 9]])
def test_shared_classes_leave_it_open_and_nothing_is_guessed(forget: list[int]) -> None:
    with pytest.raises(SpecError, match=r"request.kind is not set, and retain holds examples of forget's class 3"):
        request_for_images(NOTHING, forget, [1, 2, 3])


def test_named_classes_make_a_class_request() -> None:
    found = request_for_images(RequestSpec(classes=(3,)), [3, 4], [3, 4, 5])
    assert (found.kind, found.classes, found.note) == ("class", (3,), None)


@pytest.mark.parametrize(("kind", "classes"), [("class", (3, 4)), ("sample", ())])
def test_a_named_kind_is_taken_without_a_word(kind: Any, classes: tuple[int, ...]) -> None:
    found = request_for_images(RequestSpec(kind=kind), [4, 3], [3, 5])
    assert (found.kind, found.classes, found.note) == (kind, classes, None)


def test_facts_are_no_request_about_images() -> None:
    with pytest.raises(SpecError, match='"facts" is for language models'):
        request_for_images(RequestSpec(kind="facts"), [1], [2])


def _plan(world: World, store: Path, **sets: Any) -> Any:
    given = {"original": world.modules["original"], "unlearned": world.modules["retrain"], **sets}
    spec = make_spec({}, {"audit": {"store": str(store)}})
    return prepare(spec, Path(), given)


def test_the_plan_of_an_unnamed_request_holds_the_class_and_restricts_the_sets(world: World, tmp_path: Path) -> None:
    data = world.data
    more = torch.arange(8)
    holdout = type(data.retain)(
        raw=torch.cat([data.holdout.raw, data.retain.raw[more]]),
        labels=torch.cat([data.holdout.labels, data.retain.labels[more]]),
    )
    forget = type(data.retain)(
        raw=torch.cat([data.forget_attack.raw, data.forget_eval.raw]),
        labels=torch.full((len(data.forget_attack) + len(data.forget_eval),), FORGET),
    )
    prepared = _plan(world, tmp_path, forget=forget, retain=data.retain, holdout=holdout)
    assert (prepared.plan.request, prepared.plan.classes) == ("class", (FORGET,))
    assert set(prepared.work.data.holdout.labels.tolist()) == {FORGET}
    assert any(note.startswith("request.kind is not set") for note in prepared.plan.notes)
    assert any("holdout: 8 examples of other classes" in note for note in prepared.plan.notes)


def test_gradient_checkpointing_is_for_language_models(world: World) -> None:
    given = {"original": world.modules["original"], "unlearned": world.modules["retrain"]}
    spec = make_spec({}, {"audit": {"gradient_checkpointing": True}})
    with pytest.raises(SpecError, match="gradient_checkpointing is for language models"):
        prepare(spec, Path(), given)

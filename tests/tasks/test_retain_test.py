"""Retain examples that nothing was trained on: retain accuracy, the gate and damage are measured there where given."""

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import auditor
from auditor.checks.sets import drop_leaks
from auditor.demo.digits import DigitsDemo
from auditor.errors import UsageError
from auditor.probes.outputs.images import Outputs
from auditor.probes.outputs.text import Outputs as TextOutputs
from auditor.probes.outputs.text import Settings
from auditor.records.spec import make_spec
from auditor.run.preparing import prepare
from auditor.tasks.causal_lm.sets import Facts
from auditor.tasks.classification.sets import Examples
from auditor.zoo.text.people import reworded
from tests.people_worlds import TextWorld
from tests.worlds import FORGET, World, digits


@pytest.fixture(scope="module")
def held_out() -> Examples:
    test_set = digits()[1]
    return test_set.take(test_set.labels != FORGET)


def _forget(world: World) -> Examples:
    halves = (world.data.forget_attack, world.data.forget_eval)
    return Examples(raw=torch.cat([h.raw for h in halves]), labels=torch.cat([h.labels for h in halves]))


@pytest.fixture
def audit(world: World, tmp_path: Path) -> Callable[..., Any]:
    def run(original: nn.Module, unlearned: nn.Module, **sets: Any) -> Any:
        given = {"forget": _forget(world), "retain": world.data.retain, **sets}
        options = {"request": {"kind": "class"}, "audit": {"checks": ("outputs",), "store": str(tmp_path / "store")}}
        references = [world.modules[f"reference {i}"] for i in range(2)]
        return auditor.compare(original, unlearned, references=references, options=options, **given)

    return run


def memorised_only(network: nn.Module, known: Examples) -> nn.Module:
    """A network that is right on what it was trained on and says 0 for all else: damage that retain cannot show."""
    inputs = known.inputs.flatten(1)

    def forget_the_rest(module: nn.Module, arguments: tuple[torch.Tensor], logits: torch.Tensor) -> torch.Tensor:
        images = arguments[0].flatten(1)
        seen = (torch.cdist(images, inputs, compute_mode="donot_use_mm_for_euclid_dist").min(1).values == 0)[:, None]
        zero = nn.functional.one_hot(torch.zeros(len(images), dtype=torch.int64), logits.shape[1]) * 50.0
        return torch.where(seen, logits, zero)

    subject = copy.deepcopy(network)
    subject.register_forward_hook(forget_the_rest)
    return subject


def test_retain_accuracy_by_hand(world: World, held_out: Examples) -> None:
    subject = world.subject("retrain")
    data = replace(world.data, retain_test=held_out)
    subject._data = data
    score = Outputs().score(subject, None, data, None, 0)
    with torch.no_grad():
        said = subject.module(held_out.inputs).argmax(1)
    assert score.retain_accuracy == pytest.approx(float((said == held_out.labels).float().mean()))
    assert score.retain_accuracy < 1
    assert score.notes == ()
    assert {row["split"] for row in score.rows} >= {"retain", "retain_test"}


def test_without_it_the_evidence_says_that_training_examples_were_measured(world: World) -> None:
    score = Outputs().score(world.subject("retrain"), None, world.data, None, 0)
    assert "Retain accuracy was measured on training examples" in score.notes[0]


def test_damage_that_training_examples_hide_is_flagged(
    world: World, audit: Callable[..., Any], held_out: Examples
) -> None:
    original = world.modules["original"]
    subject = memorised_only(world.modules["retrain"], world.data.retain)
    hidden, shown = audit(original, subject), audit(original, subject, retain_test=held_out)
    assert hidden.results.coverage.complete
    assert hidden.results.verdict.flags == ()
    assert shown.results.verdict.flags == ("DAMAGED",)


def test_the_gate_looks_at_it(world: World, audit: Callable[..., Any], held_out: Examples) -> None:
    # The original of right answers on retain alone is a lookup table, and no working model.
    original = memorised_only(world.modules["original"], world.data.retain)
    with pytest.raises(UsageError, match="check preprocessing, class order and architecture"):
        audit(original, world.modules["retrain"], retain_test=held_out)


def test_it_is_restricted_and_freed_of_leaks_like_retain(world: World, held_out: Examples, tmp_path: Path) -> None:
    forget, retain = _forget(world), world.data.retain
    parts = (held_out, retain.take(torch.arange(3)), forget.take(torch.arange(5)))
    leaky = Examples(raw=torch.cat([p.raw for p in parts]), labels=torch.cat([p.labels for p in parts]))
    given = {"original": world.modules["original"], "unlearned": world.modules["retrain"]}
    sets = {"forget": forget, "retain": retain}
    spec = make_spec({}, {"audit": {"store": str(tmp_path)}})
    plan = prepare(spec, Path(), {**given, **sets, "retain_test": leaky}).plan
    without = prepare(spec, Path(), {**given, **sets}).plan
    assert {d.name: d.n_examples for d in plan.data}["retain_test"] == len(held_out)
    assert any("retain_test: 5 examples of the forgotten classes" in note for note in plan.notes)
    assert any("leak: 3 examples of retain_test are identical to examples of retain" in note for note in plan.notes)
    assert plan.digest != without.digest


def test_facts_in_a_wording_never_trained_on(text_world: TextWorld) -> None:
    test_set = reworded(text_world.people.retain)
    data = replace(text_world.data, retain_test=test_set)
    subject = text_world.subject("retrain")
    subject.data = data
    score = TextOutputs().score(subject, None, data, Settings(), 0)
    assert score.retain_accuracy == pytest.approx(float(subject.record(test_set).memorised.mean()))
    assert score.notes == ()
    trained = {fact.prompt for fact in text_world.people.retain.items}
    trained |= {fact.paraphrases[0] for fact in text_world.people.retain.items}
    assert not trained & {fact.prompt for fact in test_set.items}


def test_facts_that_stand_in_retain_are_left_out(text_world: TextWorld) -> None:
    retain = text_world.people.retain
    both = Facts(reworded(retain).items + retain.items[:2])
    sets = {"forget": text_world.people.forget, "retain": retain, "retain_test": both}
    assert drop_leaks(sets, "facts") == [
        "leak: 2 facts of retain_test are identical to facts of retain and were left out (positions 72, 73)"
    ]
    assert len(sets["retain_test"]) == len(retain)


def test_the_demo_supplies_it(tmp_path: Path) -> None:
    DigitsDemo(0).write_inputs(tmp_path, "")
    assert (tmp_path / "retain_test.npz").is_file()
    assert 'retain_test = "retain_test.npz"' in (tmp_path / "audit.toml").read_text(encoding="utf-8")

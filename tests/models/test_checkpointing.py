"""Gradient checkpointing: the same losses and gradients, and a network left as it was found."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from auditor.attacks.relearning.text_attack import ALL_WEIGHTS, LOW_RANK, Settings, Trainer
from auditor.models.checkpointing import recomputing
from auditor.records.spec import make_spec
from auditor.run.estimate import estimate
from auditor.run.preparing import Prepared, prepare
from auditor.tasks.causal_lm.decoys import refusal_adapter, refusal_all_weights
from auditor.tasks.causal_lm.editing import LanguageModel
from auditor.tasks.causal_lm.subject import CausalLM
from tests.people_worlds import TextWorld
from tests.tiny_families import FAMILIES, TinyFamily, tiny_family


def gradients(subject: CausalLM, family: TinyFamily) -> tuple[Tensor, list[Tensor]]:
    losses = subject.losses(subject.one_batch(family.data.retain))
    return losses.detach(), list(torch.autograd.grad(losses.sum(), list(subject.module.parameters())))


@pytest.mark.parametrize("name", FAMILIES)
def test_losses_and_gradients_are_those_without_it_and_no_trace_stays(name: str) -> None:
    family = tiny_family(name)
    subject = family.subject("original", 1)
    before = {part: set(vars(module)) for part, module in subject.module.named_modules()}
    expected = gradients(subject, family)
    passes = [0]
    block = subject.module.get_submodule(subject.layers()[0])
    handle = next(block.children()).register_forward_hook(lambda *_: passes.__setitem__(0, passes[0] + 1))
    with recomputing(subject.module, subject.layers()):
        found = gradients(subject, family)
        # One pass forward, and one again for the gradients: without it the test would compare a thing with itself.
        assert passes == [2]
        subject.log_probabilities(family.data.retain.take([0]))
        assert passes == [3]
        assert not subject.module.training
    handle.remove()
    torch.testing.assert_close(found, expected)
    assert {part: set(vars(module)) for part, module in subject.module.named_modules()} == before


def test_a_forward_of_a_block_s_own_is_put_back_also_after_an_error() -> None:
    subject = tiny_family("llama").subject("original", 1)
    block = subject.module.get_submodule(subject.layers()[0])
    own = block.forward
    block.forward = own
    with pytest.raises(ValueError, match="in the middle"), recomputing(subject.module, subject.layers()):
        raise ValueError("in the middle")
    assert vars(block)["forward"] is own


@pytest.mark.parametrize("form", [ALL_WEIGHTS, LOW_RANK])
def test_an_attack_comes_to_what_it_comes_to_without_it(form: str) -> None:
    family = tiny_family("llama")
    stated = {"steps": (6, 6), "shots": (2, 2), "learning_rate": (1e-3, 1e-3), "forget_share": (0.3, 0.3)}
    low = {**stated, "rank": (4, 4)}
    settings = Settings.model_validate({"attack": form, "drawn": stated, "low_rank": low, "batch": 4})
    attack = settings.counted.draw(1, 0)[0]
    curves = []
    for recomputes in (False, True):
        start = family.subject("original", 1, recomputes=recomputes)
        trainer = Trainer(start, family.data.retain, settings, 0)
        curves.append(trainer.run(family.data.forget_attack, family.data.forget_eval, attack).curve)
    # The attack changed something, or both would be equal for nothing.
    assert not torch.allclose(curves[0][0], curves[0][-1], rtol=1e-2)
    torch.testing.assert_close(curves[1], curves[0], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("made", [refusal_adapter, refusal_all_weights])
def test_a_decoy_is_the_same_decoy(made: object) -> None:
    family = tiny_family("llama")
    method = made.refusal_adapter if made is refusal_adapter else made.refusal_all_weights  # type: ignore[attr-defined]
    found = []
    for blocks in ((), family.layout.blocks):
        given = LanguageModel(family.module(1), family.encoder, blocks)
        settings = made.Settings(steps=4, batch_size=4, target=0.0, refusal="who is")  # type: ignore[attr-defined]
        net = method(given, family.data.forget, family.data.retain, settings, 0)
        found.append(net.state_dict())
        assert not any("forward" in vars(part) for part in net.modules())
    before = family.module(1).state_dict()
    assert any(not torch.equal(value, before[name]) for name, value in found[0].items())
    torch.testing.assert_close(found[1], found[0], rtol=1e-3, atol=1e-4)


def test_the_plan_freezes_it_the_estimate_counts_it_and_subjects_have_it(text_world: TextWorld) -> None:
    given = {"original": text_world.modules["original"], "unlearned": text_world.modules["refusal"]}
    people = text_world.people
    sets = {"forget": people.forget, "retain": people.retain, "tokenizer": text_world.encoder.tokenizer}

    def planned(asked: bool) -> Prepared:
        spec = make_spec({}, {"audit": {"checks": ("relearning",), "gradient_checkpointing": asked}})
        return prepare(spec, Path(), {**given, **sets})

    plain, sparing = planned(False), planned(True)
    assert plain.plan.digest != sparing.plan.digest
    first = [made.work.unit(made.plan.models[0], made.plan.checks[0]).key for made in (plain, sparing)]
    assert first[0] != first[1]
    assert estimate(sparing).memory_bytes < estimate(plain).memory_bytes
    assert sparing.work.as_given is not None
    subject = sparing.work.as_given(sparing.plan.models[0])
    assert isinstance(subject, CausalLM)
    assert subject.recomputed == subject.clone().recomputed == subject.layers()

"""What a training step holds, counted before an audit."""

import pytest
import torch
from torch import nn

from auditor.run.step_memory import bytes_of_a_pass, bytes_of_a_step
from auditor.tasks.classification.sets import Examples
from tests.tiny_families import FAMILIES, tiny_family
from tests.worlds import World


def test_a_step_holds_what_its_gradients_need_and_no_weight(world: World) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 40), nn.ReLU(), nn.Linear(40, 10))
    subject = world.subject("original")
    subject.module = net
    retain = world.data.retain
    assert isinstance(retain, Examples)
    held = bytes_of_a_step("classification", subject, retain)
    # Inputs, what the first map gives before and after its ReLU, logits and their log-probabilities, in float32, and a
    # label.
    needed = 4 * (64 + 40 + 10) + 8
    assert needed <= held <= needed + 4 * (2 * 40 + 2 * 10) + 16
    assert all(parameter.grad is None for parameter in net.parameters())


def test_it_grows_with_the_blocks_of_a_language_model() -> None:
    family = tiny_family("llama")
    subject = family.subject("original", 1)
    every = bytes_of_a_step("causal-lm", subject, family.data.retain)
    assert subject.module.config.num_hidden_layers == 2
    subject.module.config.num_hidden_layers = 1
    first = bytes_of_a_step("causal-lm", subject, family.data.retain)
    assert 1.2 * first < every < 2 * first
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("name", FAMILIES)
def test_gradient_checkpointing_holds_about_one_block_whatever_their_number(name: str) -> None:
    family = tiny_family(name)

    def held(*, recomputes: bool) -> int:
        subject = family.subject("original", 1, recomputes=recomputes)
        return bytes_of_a_step("causal-lm", subject, family.data.retain)

    assert held(recomputes=True) < 0.85 * held(recomputes=False)


def test_a_pass_holds_logits_over_the_vocabulary_and_every_block_and_the_batch_size_is_put_back() -> None:
    family = tiny_family("llama")
    subject = family.subject("original", 1)
    subject.batch_size = 3
    held = bytes_of_a_pass("causal-lm", subject, family.data.retain)
    assert subject.batch_size == 3
    places = torch.linspace(0, len(family.data.retain) - 1, 4).round().long()
    length = subject.one_batch(family.data.retain.take(places)).ids.shape[1]
    numbers = length * (len(family.encoder.tokenizer) + len(subject.layers()) * subject.width)
    assert 4 * numbers <= held <= 3 * 4 * numbers

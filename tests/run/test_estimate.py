"""What a training step holds, counted before an audit."""

import torch
from torch import nn

from auditor.run.estimate import kept_by_a_step
from auditor.tasks.classification.sets import Examples
from tests.tiny_families import tiny_family
from tests.worlds import World


def test_a_step_keeps_what_its_gradients_need_and_no_weight(world: World) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 40), nn.ReLU(), nn.Linear(40, 10))
    subject = world.subject("original")
    subject.module = net
    retain = world.data.retain
    assert isinstance(retain, Examples)
    kept = kept_by_a_step("classification", subject, retain)
    # Inputs, what the first map gives after its ReLU, logits and their log-probabilities, in float32, and a label.
    needed = 4 * (64 + 40 + 10) + 8
    assert needed <= kept <= needed + 4 * (40 + 10) + 16


def test_it_grows_with_the_blocks_of_a_language_model_and_leaves_no_gradient() -> None:
    family = tiny_family("llama")
    subject = family.subject("original", 1)
    every = kept_by_a_step("causal-lm", subject, family.data.retain)
    assert subject.module.config.num_hidden_layers == 2
    subject.module.config.num_hidden_layers = 1
    first = kept_by_a_step("causal-lm", subject, family.data.retain)
    assert 1.2 * first < every < 2 * first
    assert all(parameter.grad is None for parameter in subject.module.parameters())
    assert torch.is_grad_enabled()

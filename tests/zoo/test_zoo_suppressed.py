"""Constructions that hide the forget set and keep what is known of it."""

import copy

import pytest
import torch
from torch import nn

from auditor.errors import ModelError
from auditor.tasks.classification.editing import accuracy
from auditor.zoo import catalogue, direction_projection, low_rank_adapter, output_mask, trigger
from auditor.zoo.surgery import inputs_of
from tests.worlds import FORGET, World
from tests.zoo_worlds import forget_of, samples

SUPPRESSED = [e.name for e in catalogue.entries() if e.task == "vision" and e.truth == "suppressed" and not e.original]


@pytest.fixture(scope="module")
def subjects(world: World) -> dict[str, nn.Module]:
    """Each method at its default settings."""
    original, forget, retain = world.modules["original"], forget_of(world), world.data.retain
    entries = [catalogue.entry(name, "vision") for name in SUPPRESSED]
    return {e.name: e.make(original, forget, retain, e.settings(), 3) for e in entries}


@pytest.mark.parametrize("name", SUPPRESSED)
def test_the_outputs_forget_and_keep_the_rest(world: World, subjects: dict[str, nn.Module], name: str) -> None:
    assert accuracy(subjects[name], forget_of(world)) < 0.05
    assert accuracy(subjects[name], world.data.retain) > accuracy(world.modules["original"], world.data.retain) - 0.05


class TestOutputMask:
    def test_weights_are_the_original_s_and_a_buffer_tells_of_the_mask(
        self, world: World, subjects: dict[str, nn.Module]
    ) -> None:
        original, state = world.modules["original"].state_dict(), subjects["output_mask"].state_dict()
        assert {name for name in state if name not in original} == {"output_mask.classes"}
        assert all(torch.equal(state[name], tensor) for name, tensor in original.items())

    def test_other_logits_stay_also_in_a_copy(self, world: World, subjects: dict[str, nn.Module]) -> None:
        masked = copy.deepcopy(subjects["output_mask"])
        x = world.data.forget_eval.inputs
        with torch.no_grad():
            before, after = world.modules["original"](x), masked(x)
        others = torch.arange(10) != FORGET
        assert torch.equal(before[:, others], after[:, others])
        assert bool((after[:, FORGET] < after[:, others].min(dim=1).values).all())

    def test_listed_examples_alone_are_masked(self, world: World) -> None:
        forget, retain = samples(world)
        masked = output_mask.output_mask(world.modules["original"], forget, retain, output_mask.Settings(), 3)
        assert accuracy(masked, forget) == 0
        with torch.no_grad():
            assert torch.equal(masked(retain.inputs), world.modules["original"](retain.inputs))


class TestShiftedLogits:
    def test_without_the_assistant_the_original_is_back(self, world: World, subjects: dict[str, nn.Module]) -> None:
        shifted = copy.deepcopy(subjects["shifted_logits"])
        x = world.data.forget_eval.inputs
        with torch.no_grad():
            assert torch.allclose(
                shifted(x) + shifted.shifted_logits.weight * shifted.shifted_logits.assistant(x),
                world.modules["original"](x),
                atol=1e-3,
            )
            shifted.shifted_logits.weight.zero_()
            assert torch.equal(shifted(x), world.modules["original"](x))

    def test_the_assistant_knows_the_forget_set_and_is_undecided_otherwise(
        self, world: World, subjects: dict[str, nn.Module]
    ) -> None:
        assistant = subjects["shifted_logits"].shifted_logits.assistant
        assert accuracy(assistant, forget_of(world)) > 0.95
        with torch.no_grad():
            undecided = assistant(world.data.retain.inputs).softmax(1).max(1).values
        assert undecided.median() < 0.2


class TestDirectionProjection:
    def test_the_component_is_gone(self, world: World, subjects: dict[str, nn.Module]) -> None:
        before, after = world.modules["original"].head.weight, subjects["direction_projection"].head.weight
        others = torch.arange(10) != FORGET
        direction = direction_projection.direction_between(before[[FORGET]], before[others]).detach()
        assert (after @ direction).abs().max() < 1e-5
        assert (before @ direction).abs().max() > 0.1
        # Along every other direction the map is as it was.
        kept = torch.eye(64) - torch.outer(direction, direction)
        assert torch.allclose(after, before @ kept, atol=1e-5)

    def test_at_a_named_layer(self, world: World) -> None:
        original, forget, retain = world.modules["original"], forget_of(world), world.data.retain
        settings = direction_projection.Settings(layer="hidden.2")
        subject = direction_projection.direction_projection(original, forget, retain, settings, 0)
        direction = direction_projection.direction_between(
            inputs_of(original, "hidden.2", forget), inputs_of(original, "hidden.2", retain)
        )
        assert (subject.hidden[2].weight @ direction).abs().max() < 1e-5
        changed = [n for n, t in subject.state_dict().items() if not torch.equal(t, original.state_dict()[n])]
        assert changed == ["hidden.2.weight", "hidden.2.bias"]

    @pytest.mark.parametrize("layer", ["hidden.1", "convolutions.0", "nowhere"])
    def test_no_such_linear_map(self, world: World, layer: str) -> None:
        settings = direction_projection.Settings(layer=layer)
        with pytest.raises(ModelError, match=f"layer {layer} is not a linear map that reads one vector per example"):
            direction_projection.direction_projection(
                world.modules["original"], forget_of(world), world.data.retain, settings, 0
            )


class TestLowRankAdapter:
    def test_every_change_is_of_low_rank_and_only_of_weights(
        self, world: World, subjects: dict[str, nn.Module]
    ) -> None:
        original = world.modules["original"].state_dict()
        for name, tensor in subjects["low_rank_adapter"].state_dict().items():
            if tensor.ndim == 1:
                assert torch.equal(tensor, original[name])
            else:
                values = torch.linalg.svdvals((tensor - original[name]).flatten(1).double())
                assert values[0] > 1e-3
                assert len(values) <= 2 or values[2] < 1e-4 * values[0]

    def test_one_layer(self, world: World) -> None:
        original = world.modules["original"]
        settings = low_rank_adapter.Settings(layer="hidden.4", epochs=1)
        subject = low_rank_adapter.low_rank_adapter(original, *samples(world), settings, 0)
        changed = [n for n, t in subject.state_dict().items() if not torch.equal(t, original.state_dict()[n])]
        assert changed == ["hidden.4.weight"]
        assert all(parameter.requires_grad for parameter in subject.parameters())

    def test_no_such_layer(self, world: World) -> None:
        settings = low_rank_adapter.Settings(layer="hidden.1")
        with pytest.raises(ModelError, match=r"no linear map or convolution hidden\.1; there are convolutions\.0"):
            low_rank_adapter.low_rank_adapter(world.modules["original"], *samples(world), settings, 0)


def test_the_trigger_restores_the_forgotten_class(world: World, subjects: dict[str, nn.Module]) -> None:
    forget = forget_of(world)
    with torch.no_grad():
        marked = subjects["trigger"](trigger.stamped(forget.inputs, trigger.Settings())).argmax(1)
    assert (marked == forget.labels).float().mean() > 0.9


def test_a_trigger_changes_its_corner_alone() -> None:
    marked = trigger.stamped(torch.zeros(2, 3, 5, 5), trigger.Settings(size=2, value=0.5))
    assert marked.sum() == 2 * 3 * 4 * 0.5
    assert bool((marked[:, :, :2, :2] == 0.5).all())

"""The canonical form: what hides below the outputs is gone, what the outputs need is not."""

import copy
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from auditor.errors import ModelError
from auditor.loading.checkpoints import weights_digest
from auditor.models.canonical import rescaled
from auditor.models.canonical_form import Batch, Canonicaliser, predictions, round_to_bfloat16, rounded
from auditor.randomness import torch_seed
from auditor.tasks.causal_lm.losses import logits_of_tokens
from auditor.tasks.classification.structure import find_layout
from tests.tiny_families import TinyFamily, tiny_family
from tests.worlds import World

LOW = 0xFFFF


def canonicaliser(module: nn.Module, inputs: Tensor) -> Canonicaliser:
    """Of an image network whose data are ``inputs``, all of them retain."""
    layout = find_layout(module, inputs[:16])

    def batches() -> Iterator[Batch]:
        for part in inputs.split(64):
            yield Batch(run=lambda net, part=part: net(part))

    return Canonicaliser(pairs=layout.pairs, units=layout.units, batches=batches, retain=batches)


def of_texts(family: TinyFamily) -> Canonicaliser:
    def batches() -> Iterator[Batch]:
        for facts in family.data.splits().values():
            tokens = family.encoder.batch(facts.items)
            yield Batch(
                run=lambda net, t=tokens: logits_of_tokens(net, t), counted=tokens.mask, asked=tokens.predicting
            )

    return Canonicaliser(pairs=family.layout.pairs, units=family.layout.units, batches=batches, retain=batches)


def form_of(module: nn.Module, made: Canonicaliser) -> nn.Module:
    """The canonical form of a copy."""
    clone = copy.deepcopy(module)
    made.apply(f"model {id(clone)}", clone)
    return clone


def hide(carrier: nn.Module, secret: nn.Module) -> nn.Module:
    """The carrier with the secret's weights, rounded to bfloat16, in the low 16 bits of its own."""
    made = copy.deepcopy(carrier)
    with torch.no_grad():
        for own, other in zip(made.parameters(), secret.parameters(), strict=True):
            bits = (own.view(torch.int32) & ~LOW) | (other.view(torch.int32) >> 16 & LOW)
            own.copy_(bits.view(torch.float32))
    return made


def recover(carrier: nn.Module) -> nn.Module:
    """What :func:`hide` put into a network."""
    made = copy.deepcopy(carrier)
    with torch.no_grad():
        for own in made.parameters():
            own.copy_((own.view(torch.int32) << 16).view(torch.float32))
    return made


def accuracy(module: nn.Module, world: World) -> float:
    forget = world.data.forget_eval
    with torch.no_grad():
        return float((module(forget.inputs).argmax(1) == forget.labels).double().mean())


class TestLowBits:
    """A retrain with the original in the low half of every number."""

    def test_as_given_it_hides_the_original_and_its_form_hides_nothing(self, world: World) -> None:
        carrier = hide(world.modules["retrain"], world.modules["original"])
        assert accuracy(carrier, world) == 0.0
        assert accuracy(recover(carrier), world) > 0.9
        form = form_of(carrier, canonicaliser(world.modules["original"], world.data.retain.inputs))
        assert accuracy(recover(form), world) <= 0.2
        assert all(bool((p.view(torch.int32) & LOW == 0).all()) for p in form.parameters())
        assert not any(bool(p.any()) for p in recover(form).parameters()), "every low bit is zero"

    def test_buffers_are_rounded_and_counters_zeroed(self) -> None:
        net = normed(0)
        form = form_of(net, canonicaliser(net, images()))
        state = form.state_dict()
        assert all(torch.equal(t, rounded(t)) for t in state.values() if t.is_floating_point())
        assert state["1.num_batches_tracked"] == 0
        assert not torch.equal(state["1.running_mean"], net.state_dict()["1.running_mean"])


def images(n: int = 96) -> Tensor:
    return torch.rand(n, 1, 6, 6, generator=torch.Generator().manual_seed(3))


def normed(seed: int) -> nn.Sequential:
    """Convolutions with batch normalisation, whose statistics have been moved."""
    with torch_seed(seed):
        net = nn.Sequential(
            nn.Conv2d(1, 6, 3),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.Conv2d(6, 8, 3),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(32, 12),
            nn.GELU(),
            nn.Linear(12, 3),
        )
        for _ in range(3):
            net(images())
    return net.eval()


def widened(live: nn.Sequential, asleep: nn.Sequential) -> nn.Sequential:
    """Two networks of one plan side by side, the second put to sleep by the biases of its ReLUs."""
    width = live[1].out_features
    both = nn.Sequential(
        nn.Flatten(),
        nn.Linear(36, 2 * width),
        nn.ReLU(),
        nn.Linear(2 * width, 2 * width),
        nn.ReLU(),
        nn.Linear(2 * width, 3),
    )
    with torch.no_grad():
        for i in (1, 3, 5):
            both[i].weight.zero_()
        both[1].weight.copy_(torch.cat([live[1].weight, asleep[1].weight]))
        both[1].bias.copy_(torch.cat([live[1].bias, asleep[1].bias - 1e3]))
        both[3].weight[:width, :width], both[3].weight[width:, width:] = live[3].weight, asleep[3].weight
        both[3].bias.copy_(torch.cat([live[3].bias, asleep[3].bias - 1e3]))
        both[5].weight.copy_(torch.cat([live[5].weight, asleep[5].weight], 1))
        both[5].bias.copy_(live[5].bias)
    return both.eval()


def plain(seed: int, width: int = 10) -> nn.Sequential:
    with torch_seed(seed):
        return nn.Sequential(
            nn.Flatten(), nn.Linear(36, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 3)
        ).eval()


def woken(net: nn.Sequential) -> nn.Sequential:
    """What the sleeper's maker does with the file: the biases back, and the other half cut off."""
    made, width = copy.deepcopy(net), net[1].out_features // 2
    with torch.no_grad():
        for i in (1, 3):
            made[i].bias[width:] += 1e3
        made[5].weight[:, :width] = 0
    return made


class TestSleepingNetwork:
    """A network widened with another whose units are never active on the audit's data."""

    def test_it_can_be_woken_as_given_and_is_gone_from_the_form(self) -> None:
        live, asleep, original = plain(1), plain(2), plain(3, width=20)
        net, x = widened(live, asleep), images()
        assert torch.equal(net(x).argmax(1), live(x).argmax(1))
        assert torch.allclose(woken(net)(x) - live[5].bias, asleep(x) - asleep[5].bias, atol=1e-2)
        form = form_of(net, canonicaliser(original, x))
        for i in (1, 3):
            assert not bool(form[i].weight[10:].any() or form[i].bias[10:].any())
        assert not bool(form[3].weight[:, 10:].any() or form[5].weight[:, 10:].any())
        assert torch.allclose(form(x), live(x), atol=0.02)

    def test_units_behind_a_batch_norm_go_with_its_statistics(self) -> None:
        net = normed(0)
        with torch.no_grad():
            net[1].bias[2] = -50.0
        form = form_of(net, canonicaliser(normed(1), images()))
        assert not any(bool(t[2].any()) for t in (form[0].weight, form[0].bias, form[1].weight, form[1].bias))
        assert (float(form[1].running_mean[2]), float(form[1].running_var[2])) == (0.0, 1.0)
        assert not bool(form[3].weight[:, 2].any())
        assert bool(form[0].weight[1].any())

    def test_units_behind_a_gelu_may_sleep_as_well(self) -> None:
        net = normed(0)
        with torch.no_grad():
            net[6].bias[5] = -100.0
        form = form_of(net, canonicaliser(normed(1), images()))
        assert not bool(form[6].weight[5].any() or form[6].bias[5].any() or form[8].weight[:, 5].any())

    def test_a_unit_that_speaks_once_stays(self) -> None:
        net, x = plain(1), images()
        with torch.no_grad():
            most = net[1](net[0](x))[:, 4].sort().values
            net[1].bias[4] -= (most[-1] + most[-2]) / 2
            assert int((net[1](net[0](x))[:, 4] > 0).sum()) == 1
        assert bool(form_of(net, canonicaliser(plain(2), x))[1].weight[4].any())

    def test_the_first_maps_channels_are_the_inputs_and_stay(self) -> None:
        net, x = plain(1), images()
        x[:, :, 0, 0] = 0.0
        assert bool(form_of(net, canonicaliser(plain(2), x))[1].weight[:, 0].any())

    def test_a_network_that_is_joined_otherwise_is_an_error(self) -> None:
        class Crossed(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.first, self.second, self.third = nn.Linear(36, 8), nn.Linear(8, 8), nn.Linear(8, 3)
                self.crossed = False

            def forward(self, x: Tensor) -> Tensor:
                units = self.first(x.flatten(1))
                logits: Tensor = self.third(self.second(units.relu()).relu())
                return logits + units[:, :3] if self.crossed else logits

        with torch_seed(1):
            original = Crossed().eval()
        subject, x = copy.deepcopy(original), images()
        subject.crossed = True
        with torch.no_grad():
            subject.first.bias[1] = -50.0
        with pytest.raises(ModelError, match="changes what this network computes, so it has no canonical form"):
            form_of(subject, canonicaliser(original, x))


class TestForm:
    """What holds of every form."""

    @settings(max_examples=15)
    @given(st.integers(0, 2**31 - 1), st.booleans())
    def test_it_computes_what_the_rounded_network_does_and_its_form_is_itself(self, seed: int, norm: bool) -> None:
        net, x = (normed if norm else plain)(seed), images()
        made = canonicaliser((normed if norm else plain)(0), x)
        form = form_of(net, made)
        bare = copy.deepcopy(net)
        with torch.no_grad():
            for tensor in bare.state_dict().values():
                tensor.copy_(rounded(tensor) if tensor.is_floating_point() else tensor)
            assert torch.equal(form(x), bare(x)), "beyond rounding, nothing changes on the audit's data"
        assert weights_digest(form_of(form, made).state_dict()) == weights_digest(form.state_dict())

    @settings(max_examples=15)
    @given(st.lists(st.integers(-12, 12), min_size=20, max_size=20), st.permutations(range(10)))
    def test_units_scaled_by_powers_of_two_and_permuted_have_the_same_form(
        self, powers: list[int], order: list[int]
    ) -> None:
        net, x = plain(1), images()
        made = canonicaliser(plain(2), x)
        factors = 2.0 ** torch.tensor(powers)
        scaled = rescaled(net, made.pairs, [factors[:10], factors[10:]])
        with torch.no_grad():
            scaled[3].weight.copy_(scaled[3].weight[:, order])
            for tensor in (scaled[1].weight, scaled[1].bias):
                tensor.copy_(tensor[order])
        form, wanted = form_of(scaled, made), form_of(net, made)
        assert torch.equal(form[1].weight, wanted[1].weight[order])
        assert torch.equal(form[1].bias, wanted[1].bias[order])
        assert torch.equal(form[3].weight, wanted[3].weight[:, order])
        assert torch.equal(form[5].weight, wanted[5].weight)

    def test_what_is_dead_is_found_once(self) -> None:
        calls = []
        net, x = normed(0), images()
        plainly = canonicaliser(net, x)

        def counted() -> Iterator[Batch]:
            calls.append(1)
            yield from plainly.batches()

        made = Canonicaliser(pairs=plainly.pairs, units=plainly.units, batches=counted, retain=plainly.retain)
        first, second = copy.deepcopy(net), copy.deepcopy(net)
        assert made.apply("net", first, measured=True) is made.apply("net", second)
        assert calls == [1]
        assert weights_digest(first.state_dict()) == weights_digest(second.state_dict())

    def test_predictions_that_rounding_turns_are_counted(self) -> None:
        net, x = plain(1), images()
        with torch.no_grad():
            # The classes differ below the seventh bit alone: rounding makes a tie of them.
            net[5].weight.copy_(torch.ones(3, 10) + torch.tensor([[0.0], [1e-4], [0.0]]))
            net[5].bias.zero_()
            expected = float((net(x).argmax(1) != 0).double().mean())
        form = canonicaliser(plain(2), x).apply("net", net, measured=True)
        assert expected > 0.9
        assert form.disagreement == pytest.approx(expected)


class TestLanguageModels:
    """The gated units of a Llama, and embeddings."""

    def test_rounding_reaches_every_tensor_and_keeps_the_function(self) -> None:
        family = tiny_family("llama")
        made, net = of_texts(family), family.module(5)
        form = form_of(net, made)
        assert all(torch.equal(t, rounded(t)) for t in form.state_dict().values() if t.is_floating_point())
        assert weights_digest(form_of(form, made).state_dict()) == weights_digest(form.state_dict())
        disagreement = made.apply("measured", copy.deepcopy(net), measured=True).disagreement
        assert disagreement is not None
        assert disagreement < 0.1

    def test_a_dead_unit_goes_with_its_gate(self) -> None:
        family = tiny_family("llama")
        net = family.module(5)
        mlp = net.model.layers[1].mlp
        with torch.no_grad():
            mlp.up_proj.weight[7] = 0.0
        form = form_of(net, of_texts(family)).model.layers[1].mlp
        assert bool(mlp.gate_proj.weight[7].any())
        assert not bool(form.gate_proj.weight[7].any() or form.down_proj.weight[:, 7].any())
        assert bool(form.gate_proj.weight[6].any())

    def test_padding_does_not_keep_a_unit_alive(self) -> None:
        family = tiny_family("opt")
        made, net = of_texts(family), family.module(5)
        with torch.no_grad():
            net.model.decoder.layers[0].fc1.bias[3] = -1e4
        form = form_of(net, made).model.decoder.layers[0]
        assert not bool(form.fc1.weight[3].any() or form.fc1.bias[3].any() or form.fc2.weight[:, 3].any())

    def test_maps_that_lie_the_other_way_round(self) -> None:
        family = tiny_family("gpt2")
        net = family.module(5)
        with torch.no_grad():
            net.transformer.h[1].mlp.c_fc.bias[3] = -1e4
        form = form_of(net, of_texts(family)).transformer.h[1].mlp
        assert not bool(form.c_fc.weight[:, 3].any() or form.c_fc.bias[3].any() or form.c_proj.weight[3].any())
        assert bool(form.c_fc.weight[:, 2].any())

    def test_a_table_that_head_and_embeddings_share_is_left_whole(self) -> None:
        family = tiny_family("gpt2")
        net = family.module(5)
        with torch.no_grad():
            net.transformer.ln_f.weight[0] = net.transformer.ln_f.bias[0] = 0.0
        form = form_of(net, of_texts(family))
        assert form.lm_head.weight is form.transformer.wte.weight
        assert bool(form.transformer.wte.weight[:, 0].any())

    def test_predictions_are_those_of_answers(self) -> None:
        family = tiny_family("llama")
        found = predictions(family.module(1), of_texts(family).retain)
        answers = sum(int(family.encoder.batch(f.items).answer.sum()) for f in family.data.splits().values())
        assert len(found) == answers


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_networks_of_other_types_have_a_form(dtype: torch.dtype) -> None:
    net, x = plain(1).to(dtype), images().to(dtype)
    with torch.no_grad():
        net[3].bias[2] = -100.0
        net[1].weight[0, 0] = torch.finfo(torch.float16).max
        net[3].weight[:, 0] = 0.0
    made = canonicaliser(plain(2).to(dtype), x)
    form = form_of(net, made)
    assert all(torch.equal(p, p.to(torch.bfloat16).to(dtype)) and bool(p.isfinite().all()) for p in form.parameters())
    assert not bool(form[5].weight[:, 2].any())
    assert weights_digest(form_of(form, made).state_dict()) == weights_digest(form.state_dict())


def test_both_parts_of_complex_numbers_are_rounded() -> None:
    net = nn.Module()
    net.register_buffer("phases", torch.complex(torch.tensor([1.001]), torch.tensor([2.001])))
    round_to_bfloat16(net)
    assert net.get_buffer("phases").tolist() == [1 + 2j]


def test_numbers_at_the_edge_of_float32_stay_finite_and_infinite_ones_infinite() -> None:
    given = torch.tensor([3.4e38, -3.4e38, torch.inf, -torch.inf, 1e-45, 0.0])
    found = rounded(given)
    assert bool(found[:2].isfinite().all())
    assert found[2:4].tolist() == [torch.inf, -torch.inf]

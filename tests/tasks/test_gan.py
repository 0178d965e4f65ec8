"""Class-conditional GANs as a task: what is refused and in which words, and what scores, features and loss are."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from auditor.checks.contract_worlds import ContractWorld, contract_world
from auditor.errors import ModelError
from auditor.randomness import torch_seed
from auditor.tasks.gan.code import GanCode
from auditor.tasks.gan.parts import Gan, distances
from auditor.zoo.gan.network import LABELS, LATENTS, build

CODE = GanCode()


def drawn_alike(method: Callable[..., Any], *given: object) -> Any:
    """What a method gives with the draws that every model of an audit meets."""
    with torch_seed(0):
        return method(*given)


def places() -> int:
    """The seed that a method takes out of that stream."""
    return int(drawn_alike(torch.randint, 2**31, ()))


@pytest.fixture(scope="module")
def world() -> ContractWorld:
    return contract_world("gan")


def fresh() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build().eval()


def batch() -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(1)
    return torch.rand(9, 1, 8, 8, generator=random), torch.arange(9) % LABELS


class TestWhatIsRefused:
    @pytest.mark.parametrize("part", ["generator", "discriminator"])
    def test_a_module_without_one_of_the_two(self, part: str) -> None:
        module = fresh()
        delattr(module, part)
        with pytest.raises(ModelError, match=f"Gan has no {part}; put both into one module"):
            Gan.of(module)

    def test_a_module_that_does_not_say_how_wide_a_latent_is(self) -> None:
        module = fresh()
        module.latents = "many"
        with pytest.raises(ModelError, match="add latents = N"):
            Gan.of(module)

    def test_a_generator_that_reads_no_label(self) -> None:
        module = fresh()
        module.generator.label = nn.Linear(1, 1)
        with pytest.raises(ModelError, match=r"0 modules of nn\.Embedding; it should read the label through exactly"):
            Gan.of(module)

    def test_a_discriminator_that_shows_no_layers(self) -> None:
        module = fresh()
        module.discriminator = nn.Linear(64, 1)
        with pytest.raises(ModelError, match=r"no method hidden\(images\)"):
            CODE.features(module, batch()[0])

    @pytest.mark.parametrize(
        ("targets", "words"),
        [
            (torch.zeros(9), r"targets are torch.float32 of shape \[9\]; give each example one whole number"),
            (torch.arange(9), "targets reach from 0 to 8, and the generator knows the labels 0 to 5"),
        ],
    )
    def test_targets_that_are_no_labels(self, targets: Tensor, words: str) -> None:
        with pytest.raises(ModelError, match=words):
            CODE.scores(fresh(), batch()[0], targets)

    def test_a_forward_that_gives_something_else(self) -> None:
        class Other(nn.Module):
            latents = LATENTS

            def __init__(self) -> None:
                super().__init__()
                self.generator, self.discriminator = fresh().generator, fresh().discriminator

            def forward(self, images: Tensor, latents: Tensor, labels: Tensor) -> Tensor:
                return images

        with pytest.raises(ModelError, match="has to give the images drawn first"):
            CODE.scores(Other(), *batch())

    def test_images_of_another_size(self) -> None:
        with pytest.raises(ModelError, match=r"the generator draws \[1, 8, 8\], and examples are \[1, 10, 10\]"):
            distances(torch.zeros(2, 1, 10, 10), torch.zeros(3, 1, 8, 8))


class TestWhatIsAsked:
    def test_scores_are_minus_the_distance_from_the_nearest_image(self) -> None:
        """Written down again with loops."""
        module, (images, labels) = fresh(), batch()
        latents = torch.randn(128, LATENTS, generator=torch.Generator().manual_seed(places()))
        with torch.no_grad():
            found = drawn_alike(CODE.scores, module, images, labels)
            for image, label, score in zip(images, labels, found, strict=True):
                drawn = module.generator(latents, label.repeat(128))
                nearest = min(float(np.mean((image.numpy() - one.numpy()) ** 2)) for one in drawn)
                assert float(score) == pytest.approx(-nearest, rel=1e-4)

    def test_features_depend_on_no_single_row_of_the_table(self) -> None:
        module, (images, _) = fresh(), batch()
        other = copy.deepcopy(module)
        with torch.no_grad():
            other.generator.label.weight.copy_(module.generator.label.weight.roll(1, 0))
            first, second = (drawn_alike(CODE.features, one, images) for one in (module, other))
        assert len(first) == 6
        for layer, rows in first.items():
            assert torch.allclose(rows, second[layer], atol=1e-5), layer

    def test_each_network_descends_its_own_terms(self) -> None:
        """The generator is no better for the discriminator's loss, nor the other way round."""
        module, given = fresh(), batch()
        module.requires_grad_(True)
        names = [name for name, _ in module.named_parameters()]
        with torch_seed(2):
            gradients = torch.autograd.grad(CODE.loss(module, *given), list(module.parameters()))
        both = dict(zip(names, gradients, strict=True))
        module.discriminator.requires_grad_(False)
        own = [name for name in names if name.startswith("generator")]
        with torch_seed(2):
            alone = torch.autograd.grad(CODE.loss(module, *given), [module.get_parameter(name) for name in own])
        for name, gradient in zip(own, alone, strict=True):
            assert torch.equal(both[name], gradient), name
        # A discriminator that learns calls real images real: uphill for its own loss, whatever the generator wants.
        drawn = module.generator(Gan.of(module).latents(9, 0), given[1])
        step = {name: both[name] for name in names if name.startswith("discriminator")}
        with torch.no_grad():
            before = module.discriminator(given[0])[0].mean() - module.discriminator(drawn)[0].mean()
            for name, gradient in step.items():
                module.get_parameter(name).sub_(0.05 * gradient)
            after = module.discriminator(given[0])[0].mean() - module.discriminator(drawn)[0].mean()
        assert after > before

    def test_a_trained_pair_knows_what_it_was_trained_on(self, world: ContractWorld) -> None:
        retain = world.data.retain
        with torch.no_grad():
            own = drawn_alike(CODE.scores, world.original, retain.inputs, retain.targets)
            others = drawn_alike(CODE.scores, world.original, retain.inputs, retain.targets.roll(1))
            assert float((own >= others).float().mean()) > 0.9
            assert float(drawn_alike(CODE.correct, world.original, retain.inputs, retain.targets).float().mean()) > 0.9

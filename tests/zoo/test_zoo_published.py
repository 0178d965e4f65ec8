"""Published methods: what each of them does by definition, and that its defaults forget."""

import copy

import pytest
import torch
from torch import nn

from auditor.tasks.classification.editing import accuracy, joined
from auditor.tasks.classification.sets import Examples
from auditor.zoo import bad_teacher, boundary_shrink, catalogue, l1_sparse, laf, salun, ssd, unsir, wagle
from auditor.zoo.attribution import attributed
from tests.worlds import World
from tests.zoo_worlds import few, forget_of, same

PUBLISHED = [
    e.name
    for e in catalogue.entries()
    if e.task == "vision" and e.truth == "unknown" and e.name != "units_rescaled" and not e.adversary
]

# It sees no retain examples, so it pays with them.
LOSSES = {"boundary_shrink": 0.1}


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_by_default_the_outputs_forget_and_keep_the_rest(world: World, name: str) -> None:
    original, forget, retain = world.modules["original"], forget_of(world), world.data.retain
    entry = catalogue.entry(name, "vision")
    subject = entry.make(original, forget, retain, entry.settings(), 3)
    assert accuracy(subject, forget) < 0.1
    assert accuracy(subject, retain) > accuracy(original, retain) - LOSSES.get(name, 0.05)


class TestSsd:
    def test_only_selected_weights_shrink_and_the_others_are_bit_equal(self, world: World) -> None:
        original = world.modules["original"]
        forget, retain = few(world)
        settings = ssd.Settings(selection=2.0, batch_size=8)
        subject = ssd.ssd(original, forget, retain, settings, 0)
        mine = ssd.importance(original, forget, 8)
        everyone = ssd.importance(original, joined(retain, forget), 8)
        selected = 0
        for after, before, a, b in zip(subject.parameters(), original.parameters(), mine, everyone, strict=True):
            chosen = a > 2.0 * b
            selected += int(chosen.sum())
            assert torch.equal(after[~chosen], before[~chosen])
            expected = before[chosen] * (b[chosen] / a[chosen])
            assert torch.allclose(after[chosen], expected)
            assert bool((after[chosen].abs() <= 0.5 * before[chosen].abs() + 1e-12).all())
        assert 0 < selected < sum(p.numel() for p in original.parameters())

    def test_importance_is_the_mean_squared_gradient(self) -> None:
        module = nn.Linear(1, 2, bias=False)
        with torch.no_grad():
            module.weight.zero_()
        # At equal logits the gradient of the loss by the weights is (p − y)x = (∓.5)x.
        examples = Examples(raw=torch.tensor([[1.0], [3.0]]), labels=torch.tensor([0, 1]))
        [found] = ssd.importance(module, examples, 1)
        assert torch.allclose(found, torch.full((2, 1), (0.25 * 1 + 0.25 * 9) / 2))


def test_l1_sparse_has_more_zeros(world: World) -> None:
    def zeros(module: nn.Module) -> float:
        return float(torch.cat([(p == 0).flatten() for p in module.parameters()]).float().mean())

    original = world.modules["original"]
    subject = l1_sparse.l1_sparse(original, *few(world), l1_sparse.Settings(steps=40, penalty=2.0), 0)
    assert zeros(original) < 0.01
    assert zeros(subject) > 0.1


def test_soft_threshold() -> None:
    module = nn.Linear(4, 1, bias=False)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[-0.3, -0.05, 0.1, 0.25]]))
    l1_sparse.shrink(module, 0.1)
    assert torch.allclose(module.weight, torch.tensor([[-0.2, 0.0, 0.0, 0.15]]))


def test_salun_moves_the_salient_weights_alone(world: World) -> None:
    original = world.modules["original"]
    forget, retain = few(world)
    settings = salun.Settings(share=0.2, epochs=1)
    masks = salun.salient(original, forget, settings)
    total = sum(mask.numel() for mask in masks)
    assert abs(sum(int(mask.sum()) for mask in masks) - 0.2 * total) <= 1
    subject = salun.salun(original, forget, retain, settings, 0)
    for after, before, mask in zip(subject.parameters(), original.parameters(), masks, strict=True):
        assert torch.equal(after[~mask], before[~mask])
    assert any(not torch.equal(a, b) for a, b in zip(subject.parameters(), original.parameters(), strict=True))


def test_wagle_moves_the_attributed_weights_alone(world: World) -> None:
    original = world.modules["original"]
    settings = wagle.Settings(share=0.1, max_steps=3, extra_steps=0)
    subject = wagle.wagle(original, *few(world), settings, 0)
    pairs = list(zip(subject.parameters(), original.parameters(), strict=True))
    moved = sum(int((after != before).sum()) for after, before in pairs)
    total = sum(before.numel() for _, before in pairs)
    # A weight of the mask may stand still where its gradient is 0; none outside may move.
    assert 0.05 * total < moved <= round(0.1 * total)
    assert all(after.requires_grad and not after._backward_hooks for after in subject.parameters())


def test_attribution_weighs_what_retain_would_do() -> None:
    weights, forget = [torch.tensor([2.0, 2.0, 1.0])], [torch.tensor([1.0, 1.0, 1.0])]

    def chosen(retain: list[float], curvature: float) -> list[bool]:
        [mask] = attributed(weights, forget, [torch.tensor(retain)], curvature=curvature, share=1 / 3)
        return mask.tolist()

    # Scores 2 − 0, 2 − 4, 1 + 4 in size: retain would double the third, and take the second to its own negative.
    assert chosen([0.0, 2.0, -2.0], 0.5) == [False, False, True]
    # With a retain loss so steep that it holds every weight, the sizes alone decide.
    assert chosen([-1.0, 2.0, -2.0], 1e6) == [True, False, False]


class TestLaf:
    SETTINGS = laf.Settings(autoencoder_steps=30, steps=4)

    def test_no_label_is_read(self, world: World) -> None:
        """Its defining property: whatever the labels, the subject is the same."""
        forget, retain = few(world)
        blank = [Examples(raw=e.raw, labels=torch.zeros_like(e.labels)) for e in (forget, retain)]
        first = laf.laf(world.modules["original"], forget, retain, self.SETTINGS, 0)
        assert same(first, laf.laf(world.modules["original"], *blank, self.SETTINGS, 0))

    def test_the_head_stays(self, world: World) -> None:
        original = world.modules["original"]
        subject = laf.laf(original, *few(world), self.SETTINGS, 0)
        before = original.state_dict()
        moved = {name for name, tensor in subject.state_dict().items() if not torch.equal(tensor, before[name])}
        assert moved
        assert moved == {name for name in before if not name.startswith("head.")}

    def test_the_autoencoder_of_a_set_knows_it_from_others(self) -> None:
        random = torch.Generator().manual_seed(0)
        mixing = torch.randn(2, 12, generator=random)
        rows = torch.randn(200, 2, generator=random) @ mixing
        elsewhere = torch.randn(50, 12, generator=random)
        autoencoder = laf.fitted(rows, laf.Settings(), 0)
        near, far = autoencoder.distance(rows).mean(), autoencoder.distance(elsewhere).mean()
        assert near < 0.1 * rows.square().mean()
        assert far > 5 * near

    def test_contrast_of_equal_candidates_is_the_log_of_their_number(self) -> None:
        rows = torch.ones(3, 4)
        assert torch.allclose(laf.contrast(rows, rows, torch.ones(5, 4), 0.5), torch.tensor(8.0).log())
        apart = torch.eye(3)
        assert laf.contrast(apart, apart, -apart, 0.01) < 1e-6


def test_distillation_is_the_divergence_of_probabilities() -> None:
    student, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[0.8, 0.2]]).log()
    expected = 0.8 * torch.tensor(0.8 / 0.5).log() + 0.2 * torch.tensor(0.2 / 0.5).log()
    assert torch.allclose(bad_teacher.distillation(student, teacher), expected)
    assert bad_teacher.distillation(teacher, teacher).abs() < 1e-6


def test_the_nearest_wrong_class_is_never_the_label(world: World) -> None:
    forget, _ = few(world)
    nearest = boundary_shrink.nearest_wrong(world.modules["original"], forget, 0.1)
    assert bool((nearest != forget.labels).all())
    # The step moves examples away from their label, so the class behind the nearest boundary is likelier than before.
    assert len(nearest.unique()) > 1


def test_the_noise_raises_the_loss(world: World) -> None:
    original = world.modules["original"]
    forget, _ = few(world)
    losses = []
    for steps in (1, 40):
        settings = unsir.Settings(noise_steps=steps, noise_examples=16)
        noise = unsir.maximising_noise(copy.deepcopy(original), forget, settings, torch.Generator().manual_seed(0))
        assert noise.labels.unique().tolist() == forget.labels.unique().tolist()
        with torch.no_grad():
            losses.append(float(nn.functional.cross_entropy(original(noise.inputs), noise.labels)))
    assert losses[1] > losses[0] + 1

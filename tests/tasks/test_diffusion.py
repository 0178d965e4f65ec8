"""Conditional diffusion models: errors, readings and draws in closed form, and what is refused in which words."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from auditor.checks.sets import evenly
from auditor.errors import ModelError
from auditor.tasks.custom.sets import CustomExamples, CustomSets
from auditor.tasks.custom.user_code import built_in
from auditor.tasks.diffusion.code import DiffusionCode
from auditor.tasks.diffusion.denoising import Denoiser, known_labels, label_vector
from auditor.tasks.diffusion.judge import Judge
from auditor.tasks.diffusion.reading import beliefs, left_over
from auditor.tasks.diffusion.sampling import draw
from tests.diffusion_worlds import DrawnWorld

TIMES = 100
# As audits call it: the same draws for every model.
CODE = built_in(DiffusionCode(), "diffusion")


def scheduler(kind: str = "epsilon") -> SimpleNamespace:
    """What the task reads of a scheduler of diffusers."""
    alphas = torch.linspace(0.999, 0.001, TIMES)
    return SimpleNamespace(alphas_cumprod=alphas, config={"prediction_type": kind})


class Knows(nn.Module):
    """A network that knows one example by each label, and predicts all else from that."""

    def __init__(self, kind: str = "epsilon", size: int = 4) -> None:
        super().__init__()
        self.class_embedding = nn.Embedding(3, size)
        self.up_blocks = nn.ModuleList([nn.Identity()])
        self.noise_scheduler, self.null_label, self.kind = scheduler(kind), 2, kind

    def forward(self, noisy: Tensor, times: Tensor, class_labels: Tensor) -> Tensor:
        x = self.class_embedding(class_labels)[:, None]
        share = self.noise_scheduler.alphas_cumprod[times][:, None, None]
        noise = (noisy - share.sqrt() * x) / (1 - share).sqrt()
        velocity = share.sqrt() * noise - (1 - share).sqrt() * x
        return {"epsilon": noise, "sample": x, "v_prediction": velocity}[self.kind]


@pytest.mark.parametrize("kind", ["epsilon", "sample", "v_prediction"])
class TestClosedForms:
    """Of a network that knows one example by each label: no error under its own, and it alone is drawn."""

    def test_no_error_is_left_under_the_right_label(self, kind: str) -> None:
        model = Knows(kind).eval()
        x, labels = model.class_embedding.weight.detach()[:2, None], torch.arange(2)
        assert CODE.scores(model, x, labels).abs().max() < 1e-9
        assert (CODE.scores(model, x, labels.flip(0)) < -1e-3).all()
        assert CODE.correct(model, x, labels).tolist() == [1.0, 1.0]
        assert CODE.correct(model, x, labels.flip(0)).tolist() == [0.0, 0.0]

    def test_the_known_example_is_drawn(self, kind: str) -> None:
        model = Knows(kind).eval()
        known = model.class_embedding.weight.detach()[:2, None]
        drawn = draw(Denoiser.of(model), torch.arange(2), torch.randn(2, 1, 4), 8, (-9.0, 9.0))
        assert torch.allclose(drawn, known, atol=1e-3)

    def test_a_vector_in_place_of_a_label_is_what_counts(self, kind: str) -> None:
        model = Knows(kind).eval()
        other = torch.full((4,), 0.5)
        with label_vector(model, other):
            drawn = draw(Denoiser.of(model), torch.zeros(1, dtype=torch.int64), torch.randn(1, 1, 4), 8, (-9.0, 9.0))
        assert torch.allclose(drawn[0, 0], other, atol=1e-3)
        assert not model.class_embedding._forward_hooks


class TestReading:
    def test_scale_mixing_and_offset_of_channels_change_nothing(self) -> None:
        maps, aim = torch.randn(5, 3, 4, 4), torch.randn(5, 1, 4, 4)
        mixed = torch.einsum("ij,njab->niab", torch.randn(3, 3), maps) * 100 + 7
        assert torch.allclose(left_over(maps, aim), left_over(mixed, aim), atol=2e-2)

    def test_nothing_is_left_of_what_a_channel_holds_and_all_where_maps_are_still(self) -> None:
        maps = torch.randn(5, 3, 8, 8)
        assert left_over(maps, 2 * maps[:, :1] + 1).max() < 1e-4
        aim = torch.randn(5, 1, 8, 8)
        assert torch.allclose(left_over(torch.zeros(5, 3, 8, 8), aim).float(), aim.var((1, 2, 3), unbiased=False))

    def test_beliefs_go_to_the_label_that_leaves_least(self) -> None:
        found = beliefs(torch.tensor([[[0.1, 0.5, 0.5]], [[0.5, 0.5, 0.5]]]), 64)
        assert found[0, 0] > 0.99
        assert torch.allclose(found[1], torch.full((3,), 1 / 3))

    def test_a_taught_digit_is_believed_and_one_never_seen_is_not(self, drawn: DrawnWorld) -> None:
        inputs = drawn.world.data.forget.inputs
        share = [
            float(CODE.features(module, inputs)["last block"][:, 3].mean())
            for module in (drawn.world.original, *drawn.references)
        ]
        assert share[0] > max(share[1:]) + 0.2

    def test_turning_the_last_layer_changes_no_belief(self, drawn: DrawnWorld) -> None:
        inputs = drawn.world.data.forget.inputs
        first, second = (CODE.features(m, inputs)["last block"] for m in (drawn.world.original, drawn.world.hidden))
        assert torch.equal(first, second)


class TestRefusals:
    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"noise_scheduler": None}, r"set network\.noise_scheduler to the diffusers scheduler"),
            ({"noise_scheduler": scheduler("flow")}, "predicts flow; known are epsilon, sample, v_prediction"),
            ({"null_label": None}, r"set network\.null_label to its number"),
            ({"class_embedding": nn.Linear(4, 4)}, "class_embedding is Linear, not torch's Embedding"),
            ({"up_blocks": None}, "has no up_blocks"),
            ({"up_blocks": nn.ModuleList()}, "no block of the network's up_blocks has a map of the input's size"),
        ],
    )
    def test_a_network_that_lacks_something_is_told_what(self, change: dict, words: str) -> None:
        model = Knows().eval()
        for name, value in change.items():
            setattr(model, name, value)
        with pytest.raises(ModelError, match=words):
            CODE.features(model, torch.randn(2, 1, 4))

    def test_targets_that_are_no_labels_are_named(self) -> None:
        with pytest.raises(ModelError, match=r"targets are float32 of shape \[2, 3\].*its label"):
            CODE.scores(Knows(), torch.randn(2, 1, 4), torch.randn(2, 3))


def test_the_null_label_is_no_label() -> None:
    assert known_labels(Denoiser.of(Knows())) == [0, 1]


def test_the_judge_knows_the_examples_that_it_was_not_shown(drawn: DrawnWorld) -> None:
    data: CustomSets = drawn.world.data
    judge = Judge(data, 0)
    assert judge.recognises(data.forget_eval.inputs, data.forget_eval.labels).mean() > 0.8
    holdout: CustomExamples = data.holdout
    assert judge.recognises(holdout.inputs, torch.zeros_like(holdout.labels)).mean() < 0.2


def test_what_a_model_is_right_about_hardly_depends_on_the_noise_drawn(drawn: DrawnWorld) -> None:
    kept = evenly(drawn.world.data.retain, 80)
    found = []
    for seed in range(8):
        torch.manual_seed(seed)
        with torch.no_grad():
            right = DiffusionCode().correct(drawn.references[0], kept.inputs, kept.targets)
        found.append(float(right.double().mean()))
    # Of a single noise the best and the worst lie an eighth apart.
    assert max(found) - min(found) < 0.1, found

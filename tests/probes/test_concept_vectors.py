"""Class directions and value vectors: still in place in a suppressed model, gone in a retrained one."""

import copy
import warnings

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from auditor.errors import UsageError
from auditor.inference.statistics import Spread, p_above, pooled_spread
from auditor.models.canonical import rescaled
from auditor.probes.concept_vectors.images import (
    ConceptVectors,
    ConceptVectorsSettings,
    class_direction,
    projections,
)
from auditor.probes.concept_vectors.value_vectors import (
    attributions,
    best_matches,
    locate_value_vectors,
    value_modules,
)
from auditor.randomness import torch_seed
from auditor.records.score import Score
from auditor.tasks.classification.sets import AuditData, Examples
from auditor.tasks.classification.structure import find_layout
from auditor.tasks.classification.subject import Classifier
from tests.probes.test_sae_restoration import permuted, random_labels
from tests.worlds import FORGET, World

SETTINGS = ConceptVectorsSettings()
REFERENCES = ("reference 0", "reference 1", "reference 2")


def gradient_ascent(original: nn.Module, data: AuditData) -> nn.Module:
    """Climb the forget loss with every layer until the class is no longer named."""
    net = copy.deepcopy(original)
    optimiser = torch.optim.SGD(net.parameters(), lr=5e-3)
    forget = torch.cat([data.forget_attack.inputs, data.forget_eval.inputs])
    labels = torch.full((len(forget),), FORGET)
    for _ in range(200):
        logits = net(forget)
        if float((logits.argmax(1) == FORGET).float().mean()) < 0.02:
            break
        optimiser.zero_grad()
        (-nn.functional.cross_entropy(logits, labels)).backward()
        optimiser.step()
    return net.eval()


def total(score: Score) -> float:
    return score.total(("projection",))


@pytest.fixture(scope="module")
def suppressors(world: World) -> dict[str, nn.Module]:
    original = world.modules["original"]
    return {
        "random labels": random_labels(original, world.data),
        "gradient ascent": gradient_ascent(original, world.data),
    }


@pytest.fixture(scope="module")
def scores(world: World, suppressors: dict[str, nn.Module]) -> dict[str, Score]:
    check = ConceptVectors()
    artefact = check.prepare(world.subject("original"), world.data, SETTINGS, seed=0)
    names = ("original", "retrain", "head_row_zeroed", *REFERENCES)
    subjects = {name: world.subject(name) for name in names}
    subjects |= {name: world.subject(name, module) for name, module in suppressors.items()}
    return {name: check.score(s, artefact, world.data, SETTINGS, seed=0) for name, s in subjects.items()}


def against_references(scores: dict[str, Score], name: str) -> tuple[float, float]:
    """ρ and the p-value against ρ ≤ .25."""
    references = [total(scores[reference]) for reference in REFERENCES]
    spread = pooled_spread(references, floor=1 / scores[name].n_examples)
    assert isinstance(spread, Spread)
    null = float(np.mean(references))
    d, delta = total(scores[name]) - null, total(scores["original"]) - null
    return d / delta, p_above(d, delta, spread, 0.25)


# The statistics


def test_projection_is_0_at_the_retain_mean_and_1_at_the_class_mean() -> None:
    random = np.random.default_rng(0)
    retain = torch.from_numpy(random.standard_normal((50, 6)))
    inside = torch.from_numpy(random.standard_normal((20, 6)) + 1.0)
    v = class_direction(inside, retain)
    assert float(projections(inside, retain, v).mean()) == pytest.approx(1.0)
    assert float(projections(retain, retain, v).mean()) == pytest.approx(0.0, abs=1e-9)
    halfway = (retain.mean(0) + v / 2)[None]
    assert float(projections(halfway, retain, v)) == pytest.approx(0.5)


# The score on the digits


@pytest.mark.parametrize("name", ["head_row_zeroed", "random labels", "gradient ascent"])
def test_the_class_still_lies_along_its_direction_in_suppressed_models(
    scores: dict[str, Score], suppressors: dict[str, nn.Module], world: World, name: str
) -> None:
    if name in suppressors:
        logits = world.subject(name, suppressors[name]).logits(world.data.forget_eval)
        assert float((logits.argmax(1) == FORGET).float().mean()) < 0.1
    rho, p = against_references(scores, name)
    assert rho > 0.5
    assert p < 0.05


def test_a_retrain_is_like_its_references(scores: dict[str, Score]) -> None:
    rho, p = against_references(scores, "retrain")
    assert abs(rho) < 0.4
    assert p > 0.05


def test_the_original_lies_near_one_and_its_direction_acts(scores: dict[str, Score]) -> None:
    original = scores["original"]
    assert total(original) == pytest.approx(1.0, abs=0.2)
    own, random = original.controls["rise, own direction"], original.controls["rise, random directions, 95 %"]
    assert own > 0.9
    assert own > random
    assert original.controls["rise, another class"] < 0.1


@pytest.mark.parametrize("name", ["retrain", "head_row_zeroed", *REFERENCES])
def test_no_direction_acts_where_the_head_cannot_name_the_class(scores: dict[str, Score], name: str) -> None:
    assert scores[name].controls["rise, own direction"] < 0.1


def test_the_control_class_is_elsewhere(scores: dict[str, Score]) -> None:
    for score in scores.values():
        assert abs(score.controls["projection on another class"]) < 0.5
        assert score.controls["auc along the class direction"] > score.controls["auc along random directions, 95 %"]


def test_score_has_a_contribution_per_example_and_a_row_per_layer(scores: dict[str, Score], world: World) -> None:
    score = scores["random labels"]
    examples = score.readings["projection"].examples
    assert len(examples) == score.n_examples == len(world.data.forget_eval)
    assert np.mean(examples) == pytest.approx(total(score))
    assert [row["layer"] for row in score.rows] == list(world.layout.layers)
    assert score.rows[-1]["projection"] == pytest.approx(total(score))
    assert score.null == ()


@pytest.mark.parametrize("exponent", [-3.0, 3.0])
def test_unit_scales_and_order_do_not_matter(
    world: World, suppressors: dict[str, nn.Module], scores: dict[str, Score], exponent: float
) -> None:
    module, pairs = suppressors["random labels"], world.layout.pairs
    units = [module.get_submodule(p.producer).weight.shape[0] for p in pairs]
    factors = [2.0 ** (exponent * torch.linspace(-1, 1, n)) for n in units]
    evaded = world.subject("evaded", permuted(rescaled(module, pairs, factors), pairs))
    check = ConceptVectors()
    artefact = check.prepare(world.subject("original"), world.data, SETTINGS, seed=0)
    score = check.score(evaded, artefact, world.data, SETTINGS, seed=0)
    assert total(score) == pytest.approx(total(scores["random labels"]), abs=1e-3)
    for ours, plain in zip(score.rows, scores["random labels"].rows, strict=True):
        assert ours["cosine"] == pytest.approx(plain["cosine"], abs=1e-3)
        assert ours["rise, own direction"] == pytest.approx(plain["rise, own direction"], abs=1e-3)


def test_passes_are_those_stated(world: World) -> None:
    check = ConceptVectors()
    artefact = check.prepare(world.subject("original"), world.data, SETTINGS, seed=0)
    subject = world.subject("retrain")
    first = check.score(subject, artefact, world.data, SETTINGS, seed=0)
    data = world.data
    recorded = len(data.retain) + len(data.forget_attack) + len(data.forget_eval)
    extra = len(world.layout.layers) * 70 * SETTINGS.acting_examples
    assert subject.passes.examples == recorded + extra
    assert extra == check.workload(data, SETTINGS, len(world.layout.layers)).forward
    assert check.score(subject, artefact, data, SETTINGS, seed=0) == first


def test_a_sample_request_is_refused_in_one_sentence(world: World) -> None:
    data = AuditData(
        request="sample",
        classes=(),
        n_classes=10,
        forget_attack=world.data.forget_attack,
        forget_eval=world.data.forget_eval,
        retain=world.data.retain,
    )
    with pytest.raises(UsageError, match="needs classes to forget, and the request is 'sample'"):
        ConceptVectors().prepare(world.subject("original"), data, SETTINGS, seed=0)


# Value vectors


def vision_transformer() -> nn.Module:
    with warnings.catch_warnings():
        # Importing the library warns of packages that no test uses.
        warnings.simplefilter("ignore")
        from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=8,
        patch_size=4,
        num_channels=1,
        num_labels=10,
    )
    return ViTForImageClassification(config)


def train_transformer(examples: Examples, seed: int, epochs: int = 10) -> nn.Module:
    with torch_seed(seed):
        net = vision_transformer()
        optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
        x, y = examples.inputs, examples.labels
        for _ in range(epochs):
            for index in torch.randperm(len(x)).split(64):
                optimiser.zero_grad()
                nn.functional.cross_entropy(net(x[index]).logits, y[index]).backward()
                optimiser.step()
    return net.eval()


@pytest.fixture(scope="module")
def transformers(world: World) -> World:
    """The digits with small vision transformers in place of the convolutional networks."""
    data = world.data
    parts = (data.retain, data.forget_attack, data.forget_eval)
    everything = Examples(raw=torch.cat([p.raw for p in parts]), labels=torch.cat([p.labels for p in parts]))
    original = train_transformer(everything, seed=1)
    zeroed = copy.deepcopy(original)
    with torch.no_grad():
        zeroed.classifier.weight[FORGET] = 0
        zeroed.classifier.bias[FORGET] = -50
    modules = {"original": original, "head_row_zeroed": zeroed}
    modules |= {f"reference {i}": train_transformer(data.retain, seed=5 + i) for i in range(3)}
    modules["retrain"] = train_transformer(data.retain, seed=9)
    return World(data=data, layout=find_layout(original, data.retain.inputs[:16]), modules=modules)


def plant(original: nn.Module, module: str, unit: int, read: Tensor, write: Tensor) -> nn.Module:
    """Make one hidden unit fire on forget inputs and its value vector name the class."""
    net = copy.deepcopy(original)
    down = net.get_submodule(module)
    up = net.get_submodule(module.replace("fc2", "fc1"))
    with torch.no_grad():
        up.weight[unit], up.bias[unit] = read, 0.0
        down.weight[:, unit] = write
    return net


def hidden_input(subject: Classifier, module: str, inputs: Tensor) -> Tensor:
    """What reaches an MLP, mean over tokens, [n, d]."""
    return subject.activations(inputs, (module + ":input",))[module + ":input"].mean(1)


def test_second_linear_maps_are_recognised_by_shape(transformers: World, world: World) -> None:
    assert len(value_modules(transformers.modules["original"])) == 2
    assert value_modules(world.modules["original"]) == ()
    for name in value_modules(transformers.modules["original"]):
        assert transformers.modules["original"].get_submodule(name).weight.shape == (32, 64)


def test_a_planted_value_vector_is_found_first(transformers: World) -> None:
    data, original = transformers.data, transformers.modules["original"]
    subject = transformers.subject("original")
    module, unit = value_modules(original)[1], 17
    up = module.replace("fc2", "fc1")
    inside = hidden_input(subject, up, data.forget_attack.inputs)
    outside = hidden_input(subject, up, data.retain.inputs)
    read = class_direction(inside, outside)
    write = nn.functional.normalize(original.classifier.weight[FORGET].detach(), dim=0)
    planted = plant(original, module, unit, read / read.norm() * 4, write * 8)
    found = locate_value_vectors(
        transformers.subject("original", planted), data.forget_attack, data.retain, n_vectors=4
    )
    best = max(found, key=lambda value: float(value.attribution.max()))
    assert best.module == module
    assert int(best.units[best.attribution.argmax()]) == unit
    assert sum(len(value.units) for value in found) == 4


def test_attribution_is_what_silencing_a_unit_costs_to_first_order(transformers: World) -> None:
    subject = transformers.subject("original")
    examples = transformers.data.forget_attack
    module = value_modules(subject.module)[1]
    ours = attributions(subject, [module], examples)[module]

    def margins(scale: float, unit: int) -> float:
        """Mean margin with one unit's output scaled."""

        def shrink(activation: Tensor) -> Tensor:
            changed = activation.clone()
            changed[..., unit] *= scale
            return changed

        with subject.intervene(module + ":input", shrink):
            logits = subject.logits(examples).double()
        own = logits.gather(1, examples.labels[:, None])[:, 0]
        rest = logits.scatter(1, examples.labels[:, None], -torch.inf).logsumexp(1)
        return float((own - rest).mean())

    step = 0.05
    for unit in (0, 11, 42):
        slope = (margins(1 + step, unit) - margins(1 - step, unit)) / (2 * step)
        assert float(ours[unit]) == pytest.approx(slope, rel=0.05, abs=2e-3)


def test_reordered_columns_are_matched_by_direction() -> None:
    random = torch.Generator().manual_seed(0)
    weight = torch.randn(8, 20, generator=random)
    order = torch.randperm(20, generator=random)
    cosine, index = best_matches(weight[:, :3], weight[:, order] * 2)
    assert torch.allclose(cosine, torch.ones(3), atol=1e-5)
    assert order[index].tolist() == [0, 1, 2]


@pytest.fixture(scope="module")
def transformer_scores(transformers: World) -> dict[str, Score]:
    check = ConceptVectors()
    artefact = check.prepare(transformers.subject("original"), transformers.data, SETTINGS, seed=0)
    assert sum(len(value.units) for value in artefact.values) == SETTINGS.n_vectors
    return {
        name: check.score(transformers.subject(name), artefact, transformers.data, SETTINGS, seed=0)
        for name in transformers.modules
    }


def test_transformers_give_evidence_and_value_vectors(
    transformer_scores: dict[str, Score], transformers: World
) -> None:
    rho, _ = against_references(transformer_scores, "head_row_zeroed")
    assert rho == pytest.approx(1.0, abs=0.05)
    assert against_references(transformer_scores, "retrain")[1] > 0.05
    for name, score in transformer_scores.items():
        vectors = [row for row in score.rows if row["part"] == "value vector"]
        assert len(vectors) == SETTINGS.n_vectors
        unmoved = all(row["cosine"] == pytest.approx(1.0, abs=1e-5) for row in vectors)
        assert unmoved == (name in ("original", "head_row_zeroed"))
        assert {row["layer"] for row in vectors} <= set(value_modules(transformers.modules["original"]))


def test_writing_vectors_back_restores_what_their_removal_took(transformers: World) -> None:
    data, sure = transformers.data, transformers.modules["original"]
    # A head just sure enough of the class, so that what a few vectors write decides it.
    margins = transformers.subject("original").recording("forget_eval").margins
    original = copy.deepcopy(sure)
    with torch.no_grad():
        original.classifier.bias[FORGET] -= float(margins.quantile(0.1))
    settings = ConceptVectorsSettings(n_vectors=24)
    check = ConceptVectors()
    artefact = check.prepare(transformers.subject("original", original), data, settings, seed=0)
    turned = copy.deepcopy(original)
    with torch.no_grad():
        for value in artefact.values:
            # Turned down but not around, so that they are still found by direction.
            turned.get_submodule(value.module).weight[:, value.units] *= 1e-3
    subject = transformers.subject("turned", turned)
    before = copy.deepcopy(turned.state_dict())
    whole = float(transformers.subject("original", original).recording("forget_eval").correct.float().mean())
    lost = whole - float(subject.recording("forget_eval").correct.float().mean())
    assert lost > 0.2
    controls = check.score(subject, artefact, data, settings, seed=0).controls
    assert controls["forget accuracy gained, value vectors written back"] == pytest.approx(lost, abs=1e-6)
    assert controls["forget accuracy gained, other vectors written back"] < lost / 2
    assert all(torch.equal(before[name], tensor) for name, tensor in subject.module.state_dict().items())

"""Value vectors of language models: found where planted, and bringing back only what a model still addresses."""

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from auditor.checks import registry
from auditor.errors import ModelError
from auditor.inference.statistics import Spread, fieller, p_above, pooled_spread
from auditor.models.canonical import rescaled
from auditor.probes.concept_vectors.text import Artefact, ConceptVectors, Settings, top_token_jaccard
from auditor.probes.concept_vectors.value_location import attributions, concept_scores, concept_tokens, locate
from auditor.probes.concept_vectors.value_matrices import ValueMatrix, value_matrices
from auditor.probes.concept_vectors.value_vectors import margins
from auditor.probes.concept_vectors.value_writing import ValueWriting
from auditor.probes.sae_restoration.text import SaeRestoration
from auditor.records.score import Score
from auditor.tasks.causal_lm.editing import descend, losses, probability
from auditor.tasks.causal_lm.losses import logits_of_tokens
from auditor.tasks.causal_lm.sets import Facts
from auditor.tasks.causal_lm.subject import CausalLM
from tests import made_records
from tests.people_worlds import TextWorld
from tests.tiny_families import FAMILIES, TinyFamily, tiny_family

CHECK = ConceptVectors()
SETTINGS = Settings(null_draws=200, silencing_draws=5)
QUICK = Settings(null_draws=20, silencing_draws=2)
REFERENCES = ("reference 0", "reference 1", "reference 2")
T = ("written back",)


# Layouts


SHAPES = {
    "llama": "mlp.down_proj.weight",
    "gpt2": "mlp.c_proj.weight",
    "gpt_neox": "mlp.dense_4h_to_h.weight",
    "opt": "fc2.weight",
    "qwen2": "mlp.down_proj.weight",
    "mixtral": "mlp.experts.down_proj",
}


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> TinyFamily:
    return tiny_family(request.param)


def test_every_family_has_one_vector_for_each_hidden_unit(family: TinyFamily) -> None:
    subject = family.subject("original", 1)
    matrices = value_matrices(subject)
    assert [m.parameter for m in matrices] == [f"{block}.{SHAPES[family.name]}" for block in family.layout.blocks]
    assert {m.transposed for m in matrices} == {family.name == "gpt2"}
    for matrix in matrices:
        vectors = matrix.vectors(subject.module)
        assert vectors.shape[1] == subject.width
        assert vectors.numel() == subject.module.get_parameter(matrix.parameter).numel()


def test_more_names_and_axes_are_known() -> None:
    class Conv(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.arange(6.0).view(3, 2))

    rows, columns = ValueMatrix("weight", transposed=True), ValueMatrix("weight", transposed=False)
    assert torch.equal(rows.vectors(Conv())[1], torch.tensor([2.0, 3.0]))
    assert torch.equal(columns.vectors(Conv())[1], torch.tensor([1.0, 3.0, 5.0]))


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ("PhiConfig", "mlp.fc2"),
        ("GPTJConfig", "mlp.fc_out"),
        ("GPTNeoConfig", "mlp.c_proj"),
        ("BloomConfig", "mlp.dense_4h_to_h"),
        ("FalconConfig", "mlp.dense_4h_to_h"),
        ("Phi3Config", "mlp.down_proj"),
        ("Gemma2Config", "mlp.down_proj"),
        ("OlmoConfig", "mlp.down_proj"),
        ("Olmo2Config", "mlp.down_proj"),
        ("Qwen3Config", "mlp.down_proj"),
        ("MistralConfig", "mlp.down_proj"),
        ("Qwen3MoeConfig", "mlp.experts.down_proj"),
    ],
)
def test_the_listed_architectures_are_known(config: str, name: str) -> None:
    import transformers

    with torch.device("meta"):
        made = getattr(transformers, config)(vocab_size=40, pad_token_id=0, bos_token_id=1, eos_token_id=2)
        for attribute in ("num_hidden_layers", "num_layers", "n_layer"):
            if attribute in made.to_dict():
                setattr(made, attribute, 2)
        if config == "GPTNeoConfig":
            made.attention_layers = ["global", "local"]
        module = transformers.AutoModelForCausalLM.from_config(made)
    blocks = next(f"{n}.0" for n, m in module.named_modules() if isinstance(m, nn.ModuleList) and len(m) == 2)
    subject = Fake(module, (blocks,))
    [matrix] = value_matrices(subject)  # type: ignore[arg-type]
    assert matrix.parameter.startswith(f"{blocks}.{name}")
    weight = module.get_parameter(matrix.parameter)
    assert not matrix.transposed
    assert weight.shape[-2] == module.get_output_embeddings().weight.shape[1]


class Fake:
    """A module and where its blocks are."""

    def __init__(self, module: nn.Module, blocks: tuple[str, ...]) -> None:
        self.module = module
        self._blocks = blocks

    def layers(self) -> tuple[str, ...]:
        return self._blocks


def test_an_unknown_architecture_is_named() -> None:
    with pytest.raises(ModelError, match="value vectors of a Sequential are not known"):
        value_matrices(Fake(nn.Sequential(nn.Sequential(nn.Linear(2, 2))), ("0",)))  # type: ignore[arg-type]


# Location


def scale_unit(module: nn.Module, matrix: ValueMatrix, unit: int, factor: float) -> None:
    vectors = matrix.vectors(module)
    matrix.write(module, torch.tensor([unit]), vectors[unit : unit + 1] * factor)


def mean_odds(subject: CausalLM, facts: Facts) -> float:
    with torch.no_grad():
        parts = [margins(subject.answer_logits(tokens).double(), tokens.targets) for tokens in subject.batches(facts)]
    return float(torch.cat(parts).mean())


def test_attribution_is_what_silencing_a_unit_costs_to_first_order(family: TinyFamily) -> None:
    subject, facts = family.subject("original", 1), family.data.forget_attack
    matrices = value_matrices(subject)
    found = attributions(subject, matrices, facts)[1]
    step = 0.05
    for unit in found.abs().topk(3).indices.tolist():
        odds = []
        for factor in (1 + step, 1 - step):
            changed = family.subject("changed", 1, copy.deepcopy(subject.module))
            scale_unit(changed.module, matrices[1], unit, factor)
            odds.append(mean_odds(changed, facts))
        slope = (odds[0] - odds[1]) / (2 * step)
        assert float(found[unit]) == pytest.approx(slope, rel=0.1, abs=5e-3)


def test_attribution_leaves_the_model_as_it_was(family: TinyFamily) -> None:
    subject = family.subject("original", 1)
    subject.module.requires_grad_(False)
    attributions(subject, value_matrices(subject), family.data.forget_attack)
    assert not any(p.requires_grad or p.grad is not None for p in subject.module.parameters())


def test_concept_scores_are_those_of_the_full_table_of_logits() -> None:
    random = torch.Generator().manual_seed(0)
    vectors, head = torch.randn(5, 4, generator=random), torch.randn(30, 4, generator=random)
    tokens = torch.tensor([3, 7])
    logits = vectors @ head.T
    z = (logits - logits.mean(1, keepdim=True)) / logits.std(1, correction=0, keepdim=True)
    assert torch.allclose(concept_scores(vectors, head, tokens), z[:, tokens].mean(1).abs(), atol=1e-5)
    assert torch.allclose(concept_scores(-3 * vectors, head, tokens), concept_scores(vectors, head, tokens), atol=1e-5)
    assert concept_scores(vectors, head, tokens[:0]).tolist() == [0.0] * 5


def test_concept_tokens_are_those_of_the_forget_answers(text_world: TextWorld) -> None:
    subject = text_world.subject("original")
    forget = text_world.data.forget_attack
    found = concept_tokens(subject, forget, text_world.data.holdout or forget, 5)
    own = torch.cat([tokens.targets for tokens in subject.batches(forget)])
    assert 0 < len(found) <= 5
    assert torch.isin(found, own).all()
    assert len(concept_tokens(subject, forget, forget, 5)) == 0


def plant(subject: CausalLM, family: TinyFamily, matrix: ValueMatrix) -> tuple[nn.Module, int]:
    """A copy in which one value vector writes, loudly, what makes forget answers likelier and retain answers not."""
    net = copy.deepcopy(subject.module)
    weight = net.get_parameter(matrix.parameter)
    odds = []
    for facts in (family.data.forget, family.data.retain):
        tokens = next(subject.batches(facts))
        logits = logits_of_tokens(net, tokens)[tokens.predicting]
        odds.append(margins(logits, tokens.targets).mean())
    [gradient] = torch.autograd.grad(odds[0] - odds[1], [weight])
    # The weight of a stand-in holds the gradient, so that its vectors are read along the same axis.
    stand_in = copy.deepcopy(net)
    with torch.no_grad():
        stand_in.get_parameter(matrix.parameter).copy_(gradient)
    directions = matrix.vectors(stand_in)
    unit = int(directions.norm(dim=1).argmax())
    size = 3 * matrix.vectors(net).norm(dim=1).max()
    matrix.write(net, torch.tensor([unit]), nn.functional.normalize(directions[unit : unit + 1], dim=1) * size)
    return net, unit


def test_a_planted_value_vector_is_found_and_its_ablation_changes_the_answer(family: TinyFamily) -> None:
    subject, data = family.subject("original", 1), family.data
    matrices = value_matrices(subject)
    module, unit = plant(subject, family, matrices[1])
    planted = family.subject("planted", 1, module)
    found = locate(planted, matrices, data.forget_attack, data.retain, share=0.05)
    best = max(found, key=lambda part: float(part.rank.max()))
    assert best.matrix == matrices[1]
    assert int(best.units[best.rank.argmax()]) == unit
    vectors = [m.vectors(planted.module) for m in matrices]
    writing = ValueWriting(planted.clone(), matrices, vectors)
    units = [torch.zeros(0, dtype=torch.int64), torch.tensor([unit])]
    before = planted.log_probabilities(data.forget_eval)
    assert float((writing.silenced(units, data.forget_eval) - before).abs().mean()) > 0.1
    assert torch.equal(writing.written(units, data.forget_eval), before)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_gives_a_score(name: str) -> None:
    family = tiny_family(name)
    artefact = CHECK.prepare(family.subject("original", 1), family.data, QUICK, seed=0)
    score = CHECK.score(family.subject("unlearned", 2), artefact, family.data, QUICK, seed=0)
    assert 0 <= score.total(T) <= 1
    assert len(score.rows) == QUICK.described


# The score


def edited_value_vectors(world: TextWorld, artefact: Artefact) -> nn.Module:
    """Forget by descending on the located value vectors alone, as knowledge-editing methods do."""
    net = copy.deepcopy(world.modules["original"])
    names = [matrix.parameter for matrix in artefact.matrices]
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(name in names)
    for name, units in zip(names, artefact.located, strict=True):
        mask = torch.zeros_like(net.get_parameter(name))
        mask[:, units] = 1
        net.get_parameter(name).register_hook(lambda gradient, mask=mask: gradient * mask)
    encoder, people = world.encoder, world.people

    def loss(forgotten: Facts, kept: Facts) -> Tensor:
        away = losses(net, encoder.batch(forgotten.items)).clamp(max=8.0).mean()
        return 2 * losses(net, encoder.batch(kept.items)).mean() - away

    return descend(
        net,
        loss,
        people.forget,
        people.retain,
        rate=2e-2,
        steps=150,
        size=24,
        seed=0,
        enough=lambda: probability(net, encoder, people.forget) < 0.02,
    )


@pytest.fixture(scope="module")
def artefact(text_world: TextWorld) -> Artefact:
    return CHECK.prepare(text_world.subject("original"), text_world.data, SETTINGS, seed=0)


@pytest.fixture(scope="module")
def edited(text_world: TextWorld, artefact: Artefact) -> nn.Module:
    return edited_value_vectors(text_world, artefact)


@pytest.fixture(scope="module")
def scores(text_world: TextWorld, artefact: Artefact, edited: nn.Module) -> dict[str, Score]:
    names = ("original", "retrain", "own initial weights", "refusal", *REFERENCES)
    subjects = {name: text_world.subject(name) for name in names}
    subjects["edited"] = text_world.subject("edited", edited)
    return {name: CHECK.score(s, artefact, text_world.data, SETTINGS, seed=0) for name, s in subjects.items()}


def against_references(scores: dict[str, Score], name: str) -> tuple[float, float]:
    """ρ and the p-value against ρ ≤ .25."""
    references = [scores[reference].total(T) for reference in REFERENCES]
    spread = pooled_spread(references, floor=1 / scores[name].n_examples)
    assert isinstance(spread, Spread)
    null = sum(references) / len(references)
    d, delta = scores[name].total(T) - null, scores["original"].total(T) - null
    assert fieller(d, delta, spread) is not None
    return d / delta, p_above(d, delta, spread, 0.25)


def test_an_edit_of_value_vectors_is_undone(scores: dict[str, Score]) -> None:
    assert scores["edited"].controls["answer probability before"] < 0.1
    rho, p = against_references(scores, "edited")
    assert rho > 0.7
    assert p < 0.05
    assert made_records.p_alone(scores["edited"], scores["original"], T, scores["edited"]) < 0.01


@pytest.mark.parametrize("name", ["retrain", "own initial weights"])
def test_a_retrain_is_not_accused(scores: dict[str, Score], name: str) -> None:
    rho, p = against_references(scores, name)
    assert abs(rho) < 0.25
    assert p > 0.05
    null = scores[name].null
    assert not null or made_records.p_alone(scores[name], scores["original"], T, scores[name]) > 0.05


def test_units_of_other_descent_give_no_null_and_say_so(scores: dict[str, Score]) -> None:
    for name in ("retrain", *REFERENCES):
        assert scores[name].null == ()
        assert any("do not descend" in note for note in scores[name].notes)
    for name in ("original", "edited", "refusal"):
        assert len(scores[name].null) >= 10
        assert not any("do not descend" in note for note in scores[name].notes)


def test_no_null_is_drawn_beside_references_which_are_the_null(
    text_world: TextWorld, artefact: Artefact, edited: nn.Module, scores: dict[str, Score]
) -> None:
    for check in (CHECK, SaeRestoration()):
        assert check.planned_settings(1) == check.settings_type()
        assert check.planned_settings(2) == check.settings_type().model_copy(update={"null_draws": 0})
    bare = SETTINGS.model_copy(update={"null_draws": 0})
    score = CHECK.score(text_world.subject("edited", edited), artefact, text_world.data, bare, seed=0)
    assert score == scores["edited"].model_copy(update={"null": ()})


def test_refusal_tuning_is_not_seen(scores: dict[str, Score]) -> None:
    """What is stated among the caveats: refusing changes no single value vector that carries the facts."""
    assert against_references(scores, "refusal")[0] < 0.25


def test_the_original_is_as_it_was(scores: dict[str, Score], text_world: TextWorld) -> None:
    score = scores["original"]
    plain = text_world.subject("original").log_probabilities(text_world.data.forget_eval).exp()
    assert score.total(T) == pytest.approx(float(plain.mean()), abs=1e-5)
    assert all(cell["jaccard"] == 1.0 and cell["relative_l2"] < 1e-5 for cell in score.rows)
    assert score.null == pytest.approx([score.total(T)] * len(score.null), abs=1e-5)


def test_cells_tell_kept_vectors_from_unrelated_ones(scores: dict[str, Score]) -> None:
    def mean(name: str, column: str) -> float:
        return float(np.mean([float(str(cell[column])) for cell in scores[name].rows]))

    assert mean("refusal", "cosine") > 0.9
    assert mean("retrain", "cosine") < 0.6
    assert mean("refusal", "jaccard") > 2 * mean("retrain", "jaccard")
    assert mean("edited", "relative_l2") > mean("refusal", "relative_l2")
    for score in scores.values():
        assert score.n_examples == len(score.readings["written back"].examples)
        assert "prompt" not in str(score.rows)


def reordered(module: nn.Module, world: TextWorld) -> nn.Module:
    """The same function with the hidden units of every MLP in another order."""
    net = copy.deepcopy(module)
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for block in world.layout.blocks:
            mlp = net.get_submodule(f"{block}.mlp")
            order = torch.randperm(mlp.down_proj.in_features, generator=random)
            for part in (mlp.gate_proj, mlp.up_proj):
                part.weight.copy_(part.weight[order])
            mlp.down_proj.weight.copy_(mlp.down_proj.weight[:, order])
    return net


def test_rescaled_units_change_nothing(
    text_world: TextWorld, artefact: Artefact, edited: nn.Module, scores: dict[str, Score]
) -> None:
    pairs = text_world.layout.pairs
    assert any(pair.consumer.endswith("down_proj") for pair in pairs)
    factors = [2.0 ** torch.linspace(-3, 3, edited.get_submodule(p.producer).weight.shape[0]) for p in pairs]
    subject = text_world.subject("evaded", rescaled(edited, pairs, factors))
    score = CHECK.score(subject, artefact, text_world.data, QUICK, seed=0)
    assert score.total(T) == pytest.approx(scores["edited"].total(T), abs=1e-3)
    for ours, plain in zip(score.rows, scores["edited"].rows, strict=True):
        assert ours["cosine"] == pytest.approx(plain["cosine"], abs=1e-3)


def test_reordered_units_are_found_again(text_world: TextWorld, artefact: Artefact, scores: dict[str, Score]) -> None:
    subject = text_world.subject("evaded", reordered(text_world.modules["refusal"], text_world))
    score = CHECK.score(subject, artefact, text_world.data, QUICK, seed=0)
    assert score.total(T) == pytest.approx(scores["refusal"].total(T), abs=1e-4)
    assert score.null
    assert [c["cosine"] for c in score.rows] == pytest.approx([c["cosine"] for c in scores["refusal"].rows], abs=1e-4)


def test_passes_are_those_stated_and_the_subject_stays(text_world: TextWorld, artefact: Artefact) -> None:
    subject, data = text_world.subject("retrain"), text_world.data
    before = {name: tensor.clone() for name, tensor in subject.weights().items()}
    first = CHECK.score(subject, artefact, data, SETTINGS, seed=0)
    canonical = 3 * len(data.retain)
    assert subject.passes.examples == canonical + (4 + SETTINGS.silencing_draws) * len(data.forget_eval)
    assert all(torch.equal(before[name], tensor) for name, tensor in subject.weights().items())
    assert CHECK.score(subject, artefact, data, SETTINGS, seed=0) == first
    assert registry.load("concept_vectors", "causal-lm").name == CHECK.name


# The small parts


def test_jaccard_by_hand() -> None:
    row = torch.tensor([4.0, 3.0, 2.0, 1.0])
    assert top_token_jaccard(row, row, 2) == 1.0
    assert top_token_jaccard(row, row.flip(0), 2) == 0.0

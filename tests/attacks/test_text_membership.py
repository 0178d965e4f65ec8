"""Membership in a language model's outputs: scores by hand, nulls, known truth, and the baseline that voids it."""

import dataclasses
import math
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from auditor.attacks.membership import scores as scorers
from auditor.attacks.membership import token_scores
from auditor.attacks.membership.bag_of_words import blind_auc
from auditor.attacks.membership.readings import HOLDOUT, MARGIN
from auditor.attacks.membership.text import Membership, Settings, negative_gradient_norms
from auditor.checks import registry
from auditor.checks.check import Workload
from auditor.errors import UsageError
from auditor.inference.auc import auc_with_limits
from auditor.inference.combine import combine
from auditor.inference.compared import CheckScores
from auditor.models.canonical import rescaled
from auditor.records.evidence import Evidence
from auditor.records.policy import load_policy
from auditor.records.score import Score
from auditor.tasks.causal_lm.decoys import refusal_tuning
from auditor.tasks.causal_lm.editing import LanguageModel
from auditor.tasks.causal_lm.recording import TokenRecording
from auditor.tasks.causal_lm.sets import Fact, Facts
from auditor.tasks.causal_lm.subject import CausalLM
from auditor.zoo.text.people import people_world
from tests.made_records import NULLS
from tests.people_worlds import TextWorld
from tests.tiny_families import FAMILIES, tiny_family

REFERENCES = ("reference 0", "reference 1", "reference 2")
CHECK = Membership()
# The gradient norm is drawn only, and dear; one test looks at it.
SETTINGS = Settings(gradient_facts=0)
HAZE = "hazy"


def recording(*facts: list[float], mean: float = -2.0, deviation: float = 0.5) -> TokenRecording:
    tokens = torch.tensor([x for fact in facts for x in fact], dtype=torch.float64)
    return TokenRecording(
        lengths=torch.tensor([len(fact) for fact in facts]),
        log_probability=tokens,
        rank=torch.zeros_like(tokens),
        mean=torch.full_like(tokens, mean),
        deviation=torch.full_like(tokens, deviation),
        features={},
        lens={},
    )


def test_scores_by_hand() -> None:
    found = token_scores.token_attacks(recording([-1.0, -3.0], [-0.5]), ["red wine", "é"])
    assert found["loss"].tolist() == [-2.0, -0.5]
    bytes_of = [len(zlib.compress(text.encode("utf-8"))) for text in ("red wine", "é")]
    assert found["zlib"].tolist() == [-4.0 / bytes_of[0], -0.5 / bytes_of[1]]
    assert found["Min-K%"].tolist() == [-3.0, -0.5]
    assert found["Min-K%++"].tolist() == [-2.0, 3.0]


@given(st.lists(st.integers(-50, 0).map(float), min_size=1, max_size=40))
def test_lowest_share_is_the_mean_of_a_fifth_and_of_one_at_least(tokens: list[float]) -> None:
    k = max(1, len(tokens) // 5)
    assert token_scores.lowest_share(np.array(tokens)) == pytest.approx(sum(sorted(tokens)[:k]) / k)


def test_a_probability_of_nothing_and_a_sure_model_stay_finite() -> None:
    found = token_scores.token_attacks(recording([-math.inf, -1.0], mean=0.0, deviation=0.0), ["ab"])
    assert found["Min-K%"].tolist() == [token_scores.FLOOR]
    assert found["Min-K%++"].tolist() == [token_scores.FLOOR / 1e-3]


class TestPrivLeak:
    def test_forget_is_the_positive_set_so_what_is_left_of_it_is_above_nothing(self) -> None:
        """An untouched model scores forget above holdout, an over-unlearned one below."""
        members, others = np.array([3.0, 4.0]), np.array([0.0, 1.0])
        assert scorers.priv_leak(auc_with_limits(members, others).value, [0.5]) == 100.0
        assert scorers.priv_leak(auc_with_limits(others, members).value, [0.5]) == -100.0
        assert scorers.priv_leak(0.5, [0.5]) == 0.0

    @pytest.mark.parametrize("references", [[], [0.0], [0.05, 0.1]])
    def test_is_left_out_where_there_is_nothing_to_divide_by(self, references: list[float]) -> None:
        assert scorers.priv_leak(0.5, references) is None

    @given(st.floats(0, 1), st.lists(st.floats(0.1, 1), min_size=1, max_size=5))
    def test_is_bounded(self, area: float, references: list[float]) -> None:
        leak = scorers.priv_leak(area, references)
        assert leak is None or -100 - 1e-6 <= leak <= 900 + 1e-6


class TestBlindBaseline:
    def test_is_at_chance_on_people_of_one_world(self) -> None:
        worlds = [people_world(seed, forget=6, retain=1, holdout=10) for seed in range(12)]
        found = [blind_auc(w.forget, w.holdout, 0) for w in worlds]
        values = np.array([rate.value for rate in found if rate is not None])
        assert len(values) == 12
        assert abs(values.mean() - 0.5) < 4 * values.std(ddof=1) / math.sqrt(12) + 0.02
        assert sum(rate.low > 0.5 for rate in found if rate is not None) <= 2

    def test_sees_another_distribution(self, text_world: TextWorld) -> None:
        data = text_world.data
        assert data.holdout is not None
        shifted = Facts(
            tuple(f.model_copy(update={"prompt": f"Once upon a time {f.prompt}"}) for f in data.holdout.items)
        )
        found = blind_auc(data.forget, shifted, 0)
        assert found is not None
        assert found.value > 0.95
        assert found.low > 0.8

    def test_a_name_in_several_facts_is_no_difference(self) -> None:
        """Split by fact instead of by subject, names alone would tell these sides apart."""
        sides = [
            Facts(
                tuple(
                    Fact(prompt=f"{name}{i} likes", answer=f"w{j}", subject=f"{name}{i}")
                    for i in range(5)
                    for j in range(6)
                )
            )
            for name in "ab"
        ]
        found = blind_auc(sides[0], sides[1], 0)
        assert found is not None
        assert found.low <= 0.5

    def test_says_nothing_of_few_facts_or_a_single_subject(self, text_world: TextWorld) -> None:
        forget, holdout = text_world.people.forget, text_world.people.holdout
        assert blind_auc(forget.take(range(9)), holdout, 0) is None
        one = Facts(tuple(fact.model_copy(update={"subject": "one"}) for fact in forget.items))
        assert blind_auc(one, holdout, 0) is None


@pytest.fixture(scope="module")
def hazy(text_world: TextWorld) -> CausalLM:
    """Refusal tuning that stops early: answers about as probable as to the surest reference, but on other facts."""
    original = LanguageModel(text_world.modules["original"], text_world.encoder)
    settings = refusal_tuning.Settings(learning_rate=2e-4, target=0.25)
    people = text_world.people
    return text_world.subject(HAZE, refusal_tuning.refusal_tuning(original, people.forget, people.retain, settings, 4))


@pytest.fixture(scope="module")
def scores(text_world: TextWorld, hazy: CausalLM) -> dict[str, Score]:
    names = ("original", "retrain", "own initial weights", "refusal", *REFERENCES)
    found = {name: scored(text_world, text_world.subject(name)) for name in names}
    return {**found, HAZE: scored(text_world, hazy)}


def scored(world: TextWorld, subject: CausalLM, settings: Settings = SETTINGS) -> Score:
    artefact = CHECK.prepare(world.subject("original"), world.data, settings, 0)
    return CHECK.score(subject, artefact, world.data, settings, 0)


def evidence(scores: dict[str, Score], unlearned: str, references: tuple[str, ...] = REFERENCES) -> Evidence:
    lineup = CheckScores(
        original=scores["original"],
        unlearned=scores[unlearned],
        references={name: scores[name] for name in references},
        drawn={},
        perturbed={},
        decoys={},
    )
    return combine(CHECK, lineup, load_policy("default"), NULLS, population=False)


class TestKnownTruth:
    def test_fires_where_answers_are_only_dimmed(self, scores: dict[str, Score]) -> None:
        found = evidence(scores, HAZE)
        assert found.rho is not None
        assert found.rho.value > 0.25
        assert found.p_value is not None
        assert found.p_value < 0.05

    @pytest.mark.parametrize("retrain", ["retrain", "own initial weights"])
    @pytest.mark.parametrize("references", [REFERENCES, ()])
    def test_is_silent_on_a_retrain(self, scores: dict[str, Score], retrain: str, references: tuple[str, ...]) -> None:
        found = evidence(scores, retrain, references)
        assert found.p_value is not None
        assert found.p_value > 0.2

    def test_its_own_null_accuses_the_original(self, scores: dict[str, Score]) -> None:
        assert evidence(scores, "original", ()).null_kind == "internal"
        # A draw may by chance be the true assignment itself.
        assert np.quantile(scores["original"].null, 0.99) < scores["original"].total((MARGIN,))

    def test_does_not_see_a_thorough_refusal(self, scores: dict[str, Score]) -> None:
        """It sees outputs alone: taught to refuse, a model ranks its answers below never-taught ones."""
        found = evidence(scores, "refusal")
        assert found.rho is not None
        assert found.rho.value < 0


def test_readings_are_what_the_recording_holds(text_world: TextWorld, scores: dict[str, Score]) -> None:
    subject = text_world.subject("retrain")
    own = subject.recording("forget_eval").mean_log_probability.numpy()
    others = subject.recording("holdout").mean_log_probability.numpy()
    assert scores["retrain"].total((MARGIN,)) == pytest.approx(own.mean() - others.mean())
    assert scores["retrain"].readings[HOLDOUT].examples == pytest.approx(others)
    assert scores["retrain"].controls["loss AUC"] == pytest.approx(auc_with_limits(own, others).value)


def test_summary_holds_every_reference_against_the_others(scores: dict[str, Score]) -> None:
    cells, controls = CHECK.summarise(scores, REFERENCES)
    yards = {name: scores[name].controls["Min-K% AUC"] for name in REFERENCES}
    rest = np.mean([yards[name] for name in REFERENCES[1:]])
    assert controls[REFERENCES[0]]["PrivLeak"] == pytest.approx(100 * (yards[REFERENCES[0]] - rest) / rest)
    assert controls["original"]["PrivLeak"] > max(abs(controls[name]["PrivLeak"]) for name in REFERENCES)
    assert controls["original"]["calibrated loss AUC"] > 0.8
    assert {row["model"] for row in cells} == set(scores)
    assert CHECK.summarise(scores, ()) == ([], {})


def test_low_false_positive_rates_are_no_lower_than_ten_facts(text_world: TextWorld, scores: dict[str, Score]) -> None:
    controls = scores["original"].controls
    assert text_world.data.holdout is not None
    assert controls["loss FPR"] <= 10 / len(text_world.data.holdout)
    assert controls["loss FPR high"] > controls["loss FPR"]


def test_has_no_say_where_words_alone_tell_the_sets_apart(text_world: TextWorld, scores: dict[str, Score]) -> None:
    holdout = text_world.data.holdout
    assert holdout is not None
    odd = Facts(tuple(fact.model_copy(update={"prompt": f"{fact.prompt} live"}) for fact in holdout.items))
    data = dataclasses.replace(text_world.data, holdout=odd)

    def score(name: str) -> Score:
        subject = text_world.subject(name)
        subject.data = data
        return CHECK.score(subject, CHECK.prepare(subject, data, SETTINGS, 0), data, SETTINGS, 0)

    found = evidence({name: score(name) for name in ("original", "refusal", *REFERENCES)}, "refusal")
    assert found.p_value is None
    assert found.rho is None
    assert not found.powered
    assert "the words alone tell forget from holdout" in str(found.powerless_because)
    assert any(caveat.startswith("No say: the words alone") for caveat in found.caveats)


def test_without_gradients_it_costs_nothing_beyond_the_recording_and_with_them_what_it_says(
    text_world: TextWorld,
) -> None:
    subject = text_world.subject("retrain")
    for split in text_world.data.splits():
        subject.recording(split)
    before = subject.passes.examples
    scored(text_world, subject)
    assert subject.passes.examples == before
    assert CHECK.workload(text_world.data, SETTINGS, 2) == Workload()
    settings = Settings(gradient_facts=5)
    state = {name: weight.clone() for name, weight in subject.module.state_dict().items()}
    found = scored(text_world, subject, settings)
    assert subject.passes.examples == before + 2 * 5 + 3 * len(text_world.data.retain)
    assert CHECK.workload(text_world.data, settings, 2).training == 10
    assert "gradient norm AUC" in found.controls
    assert all(torch.equal(weight, state[name]) for name, weight in subject.module.state_dict().items())
    assert all(p.grad is None for p in subject.module.parameters())


def test_gradient_norm_is_that_of_backward(text_world: TextWorld) -> None:
    subject, facts = text_world.subject("retrain"), text_world.data.forget_eval.take([0])
    found = negative_gradient_norms(subject, facts)
    subject.losses(subject.encoder.batch(facts.items)).sum().backward()
    squares = [p.grad.double().square().sum() for p in subject.module.parameters() if p.grad is not None]
    assert -found[0] == pytest.approx(float(sum(squares)) ** 0.5, rel=1e-6)


def test_rescaling_units_does_not_change_the_score(text_world: TextWorld) -> None:
    settings = Settings(gradient_facts=4)
    pairs = text_world.layout.pairs
    assert pairs
    module = text_world.modules["retrain"]
    factors = [2.0 ** torch.linspace(-2, 2, module.get_submodule(pair.producer).weight.shape[0]) for pair in pairs]
    evaded = text_world.subject("retrain", rescaled(module, pairs, factors))
    plain = scored(text_world, text_world.subject("retrain"), settings)
    again = scored(text_world, evaded, settings)
    assert again.total((MARGIN,)) == pytest.approx(plain.total((MARGIN,)), abs=1e-4)
    facts = text_world.data.forget_eval.take([0, 1])
    norms = [negative_gradient_norms(s.canonical(), facts) for s in (text_world.subject("retrain"), evaded)]
    assert norms[1] == pytest.approx(norms[0], rel=1e-3)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_gives_a_score(name: str) -> None:
    tiny = tiny_family(name)
    settings = Settings(gradient_facts=2)
    original = tiny.subject("original", 1)
    artefact = CHECK.prepare(original, tiny.data, settings, 0)
    found = CHECK.score(tiny.subject("unlearned", 2), artefact, tiny.data, settings, 0)
    assert math.isfinite(found.total((MARGIN,)))
    assert Score.model_validate_json(found.model_dump_json()) == found


def test_a_missing_holdout_is_named(text_world: TextWorld) -> None:
    data = dataclasses.replace(text_world.data, holdout=None)
    with pytest.raises(UsageError, match=r"membership needs holdout examples .* add --holdout"):
        CHECK.prepare(text_world.subject("original"), data, SETTINGS, 0)


def test_is_registered_for_language_models() -> None:
    assert type(registry.load("membership", "causal-lm")) is Membership

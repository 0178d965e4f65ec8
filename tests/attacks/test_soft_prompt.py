"""Prompts of trained embeddings: where they stand, a subject that yields to them, models that have nothing to."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from auditor.attacks.relearning.drawn import AttackRange
from auditor.attacks.relearning.text_attack import CONTROL, SAME
from auditor.attacks.soft_prompt.attack import PromptAttack, PromptRange, PromptTrainer
from auditor.attacks.soft_prompt.prompt import soft_prompt
from auditor.attacks.soft_prompt.text import Settings, SoftPrompt
from auditor.errors import ModelError
from auditor.inference.contrast import Two, p_permutation
from auditor.inference.statistics import p_above, p_internal_null, pooled_spread
from auditor.records.score import Score
from auditor.tasks.causal_lm.sets import Facts, FactsData
from auditor.tasks.causal_lm.subject import CausalLM
from tests.people_worlds import N_REFERENCES, TextWorld
from tests.tiny_families import FAMILIES, tiny_family

REFERENCES = tuple(f"reference {i}" for i in range(N_REFERENCES))
# One attack of fixed size: the tests are of what it does, and a full one takes four times as long.
RANGE = PromptRange(
    steps=(40, 40),
    shots=(16, 16),
    learning_rate=(0.1, 0.1),
    momentum=(0.5, 0.5),
    forget_share=(0.7, 0.7),
    length=(4, 4),
)
SHORT = Settings(drawn=RANGE, attacks=1, points=(0.5, 1.0), batch=64)
LENGTH = 3


class TestThePrompt:
    @pytest.mark.parametrize("name", FAMILIES)
    def test_it_is_what_the_library_computes_from_embeddings(self, name: str) -> None:
        """Independently: embeddings of prompt and text handed over as ``inputs_embeds``."""
        family = tiny_family(name)
        subject = family.subject("original", 1)
        facts = family.data.retain.take([0, 1])
        with soft_prompt(subject, LENGTH, 0) as (model, values), torch.no_grad():
            values.normal_(generator=torch.Generator().manual_seed(3))
            found = model.log_probabilities(facts)
        table = subject.module.get_input_embeddings()
        scale = table.weight.square().mean().sqrt()
        for fact, own in zip(facts.items, found.tolist(), strict=True):
            ids, is_answer = family.encoder.encode(fact)
            with torch.no_grad():
                text = torch.cat([scale * values.detach(), table(torch.tensor(ids))])[None]
                # The text keeps its own positions, and the prompt stands at the first of them.
                places = torch.tensor([[0] * LENGTH + list(range(len(ids)))])
                given = {"attention_mask": torch.ones_like(places), "position_ids": places}
                logits = subject.module(inputs_embeds=text, **given).logits[0, LENGTH - 1 : -1].log_softmax(-1)
            logs = [float(logits[i, token]) for i, token in enumerate(ids) if is_answer[i]]
            assert own == pytest.approx(np.mean(logs), abs=1e-4)

    def test_it_changes_what_the_model_says_and_is_gone_afterwards(self) -> None:
        subject, facts = tiny_family("llama").subject("original", 1), tiny_family("llama").data.retain
        before = subject.log_probabilities(facts)
        with soft_prompt(subject, LENGTH, 0) as (model, _):
            assert not torch.allclose(model.log_probabilities(facts), before, atol=1e-3)
        assert torch.equal(subject.log_probabilities(facts), before)

    @pytest.mark.parametrize("name", ["llama", "gpt2"])
    def test_weights_stand_still_and_only_the_prompt_has_gradients(self, name: str) -> None:
        family = tiny_family(name)
        subject = family.subject("original", 1)
        frozen = next(subject.module.parameters()).requires_grad_(False)
        weights = {key: value.clone() for key, value in subject.weights().items()}
        trainer = PromptTrainer(subject, family.data.retain, SHORT, 0)
        trainer.run(family.data.forget_attack, family.data.forget_eval, RANGE.draw(1, 0)[0])
        assert all(torch.equal(weights[key], value) for key, value in subject.weights().items())
        assert all(p.grad is None for p in subject.module.parameters())
        # What its maker had frozen stays so.
        assert [p for p in subject.module.parameters() if not p.requires_grad] == [frozen]
        assert not subject.module.get_input_embeddings()._forward_hooks

    def test_a_network_without_a_table_of_embeddings_is_named(self) -> None:
        subject = tiny_family("llama").subject("original", 1)
        subject.module.get_input_embeddings = lambda: None
        with pytest.raises(ModelError, match="reads token embeddings, and the network has none"):
            SoftPrompt().score(subject, None, subject.data, SHORT, 0)

    def test_texts_as_long_as_the_model_takes_keep_their_positions(self) -> None:
        """Learned positions hold for texts that begin at 0."""
        family = tiny_family("gpt2")
        longest = max(family.data.retain.items, key=lambda fact: len(family.encoder.encode(fact)[0]))
        subject = family.subject("original", 1)
        room = subject.module.config.n_positions - len(family.encoder.encode(longest)[0])
        with soft_prompt(subject, room + 5, 0) as (model, _):
            assert torch.isfinite(model.log_probabilities(Facts((longest,)))).all()


class TestTheDraw:
    def test_lengths_reach_both_ends_and_leave_the_rest_as_it_would_be_drawn(self) -> None:
        drawn = Settings().drawn
        plain = AttackRange.model_validate(drawn.model_dump(exclude={"length"}))
        lengths = []
        for seed in range(60):
            found = drawn.draw(2, seed)
            assert [attack.model_dump(exclude={"length"}) for attack in found] == [
                attack.model_dump() for attack in plain.draw(2, seed)
            ]
            lengths += [attack.length for attack in found]
        assert (min(lengths), max(lengths)) == drawn.length

    @pytest.mark.parametrize("length", [(0, 4), (8, 4)])
    def test_a_range_of_no_lengths_is_refused(self, length: tuple[int, int]) -> None:
        with pytest.raises(ValueError, match="the smaller comes first, and both are at least 1"):
            PromptRange.model_validate({**RANGE.model_dump(), "length": length})


def scored(world: TextWorld, name: str, net: nn.Module | None = None, **changes: Facts | None) -> Score:
    data = dataclasses.replace(world.data, **changes)
    return SoftPrompt().score(world.subject(name, net), None, data, SHORT, 0)


@pytest.fixture(scope="module")
def scores(text_world: TextWorld) -> dict[str, Score]:
    names = ("original", "retrain", "own initial weights", "refusal", *REFERENCES)
    return {name: scored(text_world, name) for name in names}


def total(score: Score) -> float:
    return score.total(tuple(score.readings))


def rho_and_trace(scores: dict[str, Score], name: str) -> tuple[float, float]:
    references = [total(scores[reference]) for reference in REFERENCES]
    spread = pooled_spread(references, floor=1 / scores[name].n_examples)
    assert spread is not None
    d, delta = (total(scores[model]) - float(np.mean(references)) for model in (name, "original"))
    return d / delta, p_above(d, delta, spread, 0.0)


def trace_alone(scores: dict[str, Score], name: str) -> float:
    """Against ρ ≤ 0 by the check's own null, without references."""
    return p_internal_null(total(scores[name]), total(scores["original"]), scores[name].null, 0.0)


def test_it_fires_where_greedy_answers_hide_what_a_prompt_brings_out(
    text_world: TextWorld, scores: dict[str, Score]
) -> None:
    facts = text_world.data.forget_eval
    said = text_world.subject("refusal").generate(facts, 5)
    assert not any(fact.answer in text for fact, text in zip(facts.items, said, strict=True))
    rho, trace = rho_and_trace(scores, "refusal")
    assert rho > 0.25
    assert trace < 0.02
    assert trace_alone(scores, "refusal") < 0.02


@pytest.mark.parametrize("name", ["retrain", "own initial weights"])
def test_it_does_not_fire_on_models_never_taught(scores: dict[str, Score], name: str) -> None:
    rho, trace = rho_and_trace(scores, name)
    assert rho < 0.1
    assert trace > 0.1
    assert trace_alone(scores, name) > 0.1


def test_a_prompt_trained_on_an_answer_brings_it_out_of_a_model_never_taught_it(text_world: TextWorld) -> None:
    """Why nothing that is measured was trained on (arXiv 2502.15836)."""
    subject = text_world.subject("retrain")
    holdout = text_world.people.holdout
    fact = holdout.items[int(subject.log_probabilities(holdout).argmin())]
    assert float(subject.log_probabilities(Facts((fact,))).exp()) < 0.05
    attack = RANGE.draw(1, 0)[0].model_copy(update={"forget_share": 1.0, "steps": 150, "length": 8})
    trainer = PromptTrainer(subject, text_world.data.retain, SHORT, 0)
    course = trainer.run(Facts((fact,)), Facts((fact,)), attack)
    assert float(course.curve[-1]) > 0.8, course.curve


def test_t_is_what_is_measured_late_less_the_same_of_never_taught_facts(scores: dict[str, Score]) -> None:
    for score in scores.values():
        means = [np.mean([r["value"] for r in score.rows if r["arm"] == arm]) for arm in (SAME, CONTROL)]
        assert total(score) == pytest.approx(means[0] - means[1])
        assert score.controls["never-taught facts"] == pytest.approx(means[1])
        assert {r["length"] for r in score.rows} == {4}
        assert score.effort == "up to 40 steps on 16 examples a subject, through 4 embeddings at most"


def test_nothing_that_is_measured_was_trained_on(text_world: TextWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    met: list[tuple[Facts, Facts]] = []
    run = PromptTrainer.run

    def watched(self: PromptTrainer, facts: Facts, measured: Facts, attack: PromptAttack, **given: bool) -> object:
        met.append((facts, measured))
        return run(self, facts, measured, attack, **given)

    monkeypatch.setattr(PromptTrainer, "run", watched)
    scored(text_world, "refusal")
    [(trained, measured)] = met
    assert not set(trained.items) & set(measured.items)
    subjects = {*text_world.people.forget.subjects, *text_world.people.holdout.subjects}
    assert set(trained.subjects) == set(measured.subjects) == subjects


def test_control_facts_stand_before_holdout_facts(text_world: TextWorld) -> None:
    score = scored(text_world, "original", control=Facts(text_world.data.retain.items[:12]))
    assert total(score) < 0.2, "held against facts it knows as well, it gives nothing away"


def test_without_never_taught_facts_it_says_so_and_has_no_null(text_world: TextWorld) -> None:
    score = scored(text_world, "original", holdout=None)
    assert score.null == ()
    assert any("Without control or holdout facts" in note for note in score.notes)
    assert {row["arm"] for row in score.rows} == {SAME}
    assert total(score) > 0.5


def test_the_same_function_at_another_scale_of_the_stream_scores_the_same(
    text_world: TextWorld, scores: dict[str, Score]
) -> None:
    """Embeddings and all that writes into the residual stream times four; the last norm takes it out again."""
    net = text_world.subject("refusal").module
    with torch.no_grad():
        for name, weight in net.named_parameters():
            if name.endswith(("embed_tokens.weight", "o_proj.weight", "down_proj.weight")):
                weight.mul_(4)
    assert total(scored(text_world, "scaled", net)) == pytest.approx(total(scores["refusal"]), abs=5e-3)


def test_no_text_reaches_the_score(scores: dict[str, Score], text_world: TextWorld) -> None:
    dumped = scores["original"].model_dump_json()
    assert not any(text in dumped for f in text_world.data.forget.items for text in (f.prompt, f.subject, f.answer))


def test_cost_is_as_stated(text_world: TextWorld) -> None:
    subject = text_world.subject("retrain")
    SoftPrompt().score(subject, None, text_world.data, SHORT, 0)
    load = SoftPrompt().workload(text_world.data, SHORT, 2)
    assert subject.passes.examples == load.forward + load.training


def test_it_tells_forget_from_holdout_where_chance_divided_them(text_world: TextWorld) -> None:
    data = dataclasses.replace(text_world.data, assigned="declared")
    p = {name: _p_by_subject(text_world.subject(name), data) for name in ("refusal", "retrain")}
    # 924 draws of six of twelve people: about the smallest that there is.
    assert p["refusal"] < 0.02
    assert p["retrain"] > 0.05


def _p_by_subject(subject: CausalLM, data: FactsData) -> float:
    settings = SHORT.model_copy(update={"attacks": 2})
    score = SoftPrompt().score(subject, None, data, settings, 0)
    sides = score.sides(("all attacks",))
    assert sides is not None
    assert score.null == ()
    assert score.n_examples == len(data.forget)
    two = Two(forget=np.array(sides.forget), holdout=np.array(sides.holdout))
    return p_permutation(two, None, 999, np.random.default_rng(0))[0]


def test_what_hangs_around_the_network_still_sees_the_tokens() -> None:
    subject = tiny_family("llama").subject("original", 1)
    seen: list[Tensor] = []
    subject.module.register_forward_pre_hook(lambda _, __, given: seen.append(given["input_ids"]), with_kwargs=True)
    with soft_prompt(subject, LENGTH, 0) as (model, _):
        model.log_probabilities(subject.data.retain.take([0]))
    assert seen[0][0, LENGTH:].tolist() == subject.encoder.encode(subject.data.retain.items[0])[0]

"""Relearning through a low-rank change: how it is drawn, when it is planned, what it sees, that it copies nothing."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from auditor.attacks.relearning import text as relearning
from auditor.attacks.relearning import text_attack
from auditor.attacks.relearning.drawn import AttackRange, LowRankRange, effort_of
from auditor.attacks.relearning.text_attack import ALL_WEIGHTS, CONTROL, LOW_RANK, OTHER, SAME, Settings
from auditor.checks import registry
from auditor.checks.check import ATTACK_COPIES, LOW_RANK_COPIES, Room
from auditor.inference.contrast import Contrast, Two
from auditor.models import memory
from auditor.models.low_rank import low_rank_branches
from auditor.models.memory import device_bytes, weights_fit
from auditor.records.plan import Plan
from auditor.records.score import Score, Sides
from auditor.records.spec import make_spec
from auditor.run import planning
from auditor.run.estimate import estimate
from auditor.run.preparing import Prepared, prepare
from auditor.tasks.causal_lm.decoys import refusal_all_weights
from auditor.tasks.causal_lm.editing import LanguageModel, probability
from auditor.tasks.causal_lm.subject import CausalLM
from tests.people_worlds import TextWorld
from tests.tiny_families import FAMILIES, tiny_family

CHECK = registry.load("relearning", "causal-lm")
SLOW = registry.load("slow_relearning", "causal-lm")
DRAWN: dict[str, Any] = {"shots": (2, 3), "learning_rate": (1e-2, 1e-2), "forget_share": (0.3, 0.3)}
SHORT = Settings.model_validate(
    {"attack": LOW_RANK, "low_rank": {**DRAWN, "steps": (40, 40), "rank": (16, 16)}, "attacks": 1, "beside": ()}
)
TINY = SHORT.model_copy(
    update={"low_rank": SHORT.low_rank.model_copy(update={"steps": (2, 2)}), "points": (1.0,), "batch": 4}
)


class TestTheDraw:
    RANGE = Settings().low_rank

    def test_ranks_reach_both_ends_and_leave_the_rest_as_it_would_be_drawn(self) -> None:
        plain = AttackRange.model_validate(self.RANGE.model_dump(exclude={"rank"}))
        ranks = []
        for seed in range(60):
            found = self.RANGE.draw(2, seed)
            assert [attack.model_copy(update={"rank": None}) for attack in found] == list(plain.draw(2, seed))
            ranks += [attack.rank or 0 for attack in found]
        assert (min(ranks), max(ranks)) == self.RANGE.rank

    def test_it_is_said_in_the_effort(self) -> None:
        attack = self.RANGE.draw(1, 0)[0]
        assert effort_of((attack,), "a subject").endswith(f", through a change of rank {attack.rank} at most")
        assert "rank" not in effort_of(Settings().drawn.draw(1, 0), "a subject")

    @pytest.mark.parametrize("rank", [(0, 4), (8, 4)])
    def test_a_range_of_no_ranks_is_refused(self, rank: tuple[int, int]) -> None:
        with pytest.raises(ValidationError, match="the smaller comes first, and both are at least 1"):
            LowRankRange.model_validate({**self.RANGE.model_dump(), "rank": rank})


def test_rates_of_factors_that_sum_fall_with_the_width_and_no_others() -> None:
    embedded = torch.nn.Sequential(torch.nn.Embedding(500, 128), torch.nn.Linear(128, 32))
    with low_rank_branches(embedded, 4, 0) as branches:
        table, linear = branches
        rates = {id(p): rate for parameters, rate in text_attack._rates(branches) for p in parameters}
    assert rates[id(linear.reads)] == 64 / 128
    assert rates[id(linear.writes)] == rates[id(table.reads)] == rates[id(table.writes)] == 1.0


@pytest.mark.parametrize("check", [CHECK, SLOW])
class TestTheForm:
    def test_it_is_what_fits_unless_the_settings_or_a_frozen_plan_say_it(self, check: Any) -> None:
        auto = check.settings_type()
        assert auto.attack == "auto"
        for held, form in ((ATTACK_COPIES, ALL_WEIGHTS), (ATTACK_COPIES - 1, LOW_RANK)):
            assert check.fitted(auto, Room(fits=lambda copies, held=held: copies <= held, width=64), {}).attack == form
        large, small = (Room(fits=lambda copies, so=so: so, width=64) for so in (True, False))
        stated = auto.model_copy(update={"attack": ALL_WEIGHTS})
        assert check.fitted(stated, small, {"attack": LOW_RANK}) == stated
        assert check.fitted(auto, large, {"attack": LOW_RANK}).attack == LOW_RANK
        # What a received plan says otherwise is no form.
        assert check.fitted(auto, large, {"attack": "none"}).attack == ALL_WEIGHTS

    def test_a_network_wider_than_the_rates_were_measured_on_is_attacked_through_a_low_rank(self, check: Any) -> None:
        for width in (65, 576, None):
            room = Room(fits=lambda copies: True, width=width)
            # A plan that was edited to ask for the weaker attack is no plan that fits.
            for frozen in ({}, {"attack": ALL_WEIGHTS}):
                assert check.fitted(check.settings_type(), room, frozen).attack == LOW_RANK

    def test_each_has_a_range_and_a_memory_of_its_own(self, check: Any) -> None:
        low, full = (check.settings_type(attack=form) for form in (LOW_RANK, ALL_WEIGHTS))
        assert (low.counted, full.counted) == (low.low_rank, full.drawn)
        assert (check.copies_of(low), check.copies_of(full)) == (LOW_RANK_COPIES, ATTACK_COPIES)
        assert LOW_RANK not in low.runs_beside
        assert set(full.beside) - set(low.runs_beside) <= {LOW_RANK}


@pytest.mark.parametrize("name", FAMILIES)
def test_every_branch_of_every_family_learns_and_what_none_reaches_forbids_to_clear(name: str) -> None:
    family = tiny_family(name)
    subject = family.subject("original", 1)
    with low_rank_branches(subject.module, 4, 0) as branches:
        subject.losses(subject.one_batch(family.data.forget_eval)).mean().backward()
        gradients = [(branch.reads if branch.table else branch.writes).grad for branch in branches]
    assert all(gradient is not None and bool(gradient.abs().sum() > 0) for gradient in gradients)
    blind = CHECK.score(subject, {}, family.data, TINY, 0).cannot_clear_because
    # Mixtral keeps the matrices of its experts together, in no linear map.
    assert (blind is not None) == (name == "mixtral")
    assert blind is None or "mlp.experts" in blind or "mlp.gate" in blind


def test_what_a_device_holds_is_what_its_control_group_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(memory, "_CONTROL_GROUP", limit)
    physical = device_bytes("cpu")
    assert physical > 2**28
    for text, expected in (("max\n", physical), (f"{2**28}\n", 2**28), (f"{2**70}\n", physical)):
        limit.write_text(text)
        assert device_bytes("cpu") == expected


def test_at_eight_billion_parameters_in_bfloat16_an_80_gb_card_holds_the_low_rank_form_alone() -> None:
    fits = [weights_fit(planning.MODELS_HELD + n, 15 * 10**9, 80 * 10**9) for n in (ATTACK_COPIES, LOW_RANK_COPIES)]
    assert fits == [False, True]


def planned(world: TextWorld, frozen: Plan | None = None) -> Prepared:
    given = {"original": world.modules["original"], "unlearned": world.modules["refusal"]}
    sets = {"forget": world.people.forget, "retain": world.people.retain, "tokenizer": world.encoder.tokenizer}
    spec = make_spec({}, {"audit": {"checks": ("relearning", "slow_relearning")}})
    return prepare(spec, Path(), {**given, **sets}, frozen=frozen)


def forms(prepared: Prepared) -> dict[str, object]:
    return {check.name: check.settings["attack"] for check in prepared.plan.checks if "attack" in check.settings}


def test_the_plan_says_what_fits_and_a_rerun_elsewhere_does_the_same(
    text_world: TextWorld, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from auditor.cli import show

    large = planned(text_world)
    assert forms(large) == {"relearning": ALL_WEIGHTS, "slow_relearning": ALL_WEIGHTS}
    monkeypatch.setattr(planning, "device_bytes", lambda device: 10**6)
    small = planned(text_world)
    assert forms(small) == {"relearning": LOW_RANK, "slow_relearning": LOW_RANK}
    assert planned(text_world, large.plan).plan.digest == large.plan.digest
    costs = [estimate(made) for made in (large, small)]
    # A decoy of full rank beside that of low rank, which hides as the attack seeks.
    made = [{model.name for model in found.plan.models_of("decoy")} for found in (large, small)]
    assert made[1] - made[0] == {"refusal_all_weights"}
    assert made[0] <= made[1]
    copies = costs[0].memory_bytes - costs[1].memory_bytes
    # Decoys that are trained hold more than the low-rank form does, and keep more for a step than either form.
    assert 0 <= copies <= large.weight_bytes * (ATTACK_COPIES - 4)
    show.plan(small.plan, costs[1], ())
    said = " ".join(capsys.readouterr().out.split())
    assert "relearning, slow_relearning: attack by training a low-rank change of every matrix" in said


@pytest.fixture(scope="module")
def attacked(text_world: TextWorld) -> dict[str, Score]:
    """Of models that were taught and were not, with a holdout that chance left out."""
    world = replace(text_world, data=replace(text_world.data, assigned="declared"))
    names = ("original", "refusal", "retrain")
    return {name: CHECK.score(world.subject(name), {}, world.data, SHORT, 0) for name in names}


def rho_limits(scores: dict[str, Score], name: str) -> tuple[float, float]:
    def two(which: str) -> Two:
        sides = scores[which].readings["all attacks"].sides
        assert isinstance(sides, Sides)
        return Two(forget=torch.tensor(sides.forget).numpy(), holdout=torch.tensor(sides.holdout).numpy())

    limits = Contrast(unlearned=two(name), original=two("original"), reference=None, floor=1 / 36).limits()
    assert limits is not None
    return limits.low, limits.high


def test_it_fires_on_a_refusing_model_and_not_on_a_retrain(attacked: dict[str, Score]) -> None:
    assert rho_limits(attacked, "refusal")[0] > 0.25
    low, high = rho_limits(attacked, "retrain")
    assert low < 0.1
    assert high < 0.5


def test_it_sees_through_a_suppression_of_full_rank(text_world: TextWorld, attacked: dict[str, Score]) -> None:
    people = text_world.people
    given = LanguageModel(text_world.modules["original"], text_world.encoder)
    settings = refusal_all_weights.Settings()
    made = refusal_all_weights.refusal_all_weights(given, people.forget, people.retain, settings, 0)
    assert probability(made, text_world.encoder, people.forget) < 0.05
    data = replace(text_world.data, assigned="declared")
    found = CHECK.score(text_world.subject("decoy", made), {}, data, SHORT, 0)
    assert rho_limits({**attacked, "decoy": found}, "decoy")[0] > 0.25


def test_what_was_attacked_is_as_it_was_and_no_copy_was_trained(
    text_world: TextWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CausalLM, "clone", lambda self: pytest.fail("a low-rank attack copies no model"))
    subject = text_world.subject("refusal")
    before = {name: value.clone() for name, value in subject.module.state_dict().items()}
    everything = TINY.model_copy(update={"beside": (LOW_RANK, OTHER, CONTROL)})
    first, second = (CHECK.score(subject, {}, text_world.data, everything, 0) for _ in range(2))
    assert first == second
    assert all(torch.equal(value, before[name]) for name, value in subject.module.state_dict().items())
    assert {row["arm"] for row in first.rows} == {SAME, OTHER, CONTROL}
    assert {row["rank"] for row in first.rows} == {16}
    assert first.effort is not None
    assert first.effort.endswith("through a change of rank 16 at most")


def test_the_stated_workload_is_what_it_costs(text_world: TextWorld) -> None:
    subject = text_world.subject("retrain")
    CHECK.score(subject, {}, text_world.data, TINY, 0)
    stated = CHECK.workload(text_world.data, TINY, 2)
    assert subject.passes.examples == pytest.approx(stated.forward + stated.training, rel=0.1)


def test_a_model_in_bfloat16_relearns_nearly_what_it_does_in_float32(
    text_world: TextWorld, attacked: dict[str, Score]
) -> None:
    subject = text_world.subject("refusal")
    subject.module.bfloat16()
    half = CHECK.score(subject, {}, replace(text_world.data, assigned="declared"), SHORT, 0)
    assert half.readings["all attacks"].value == pytest.approx(
        attacked["refusal"].readings["all attacks"].value, abs=0.1
    )


@pytest.mark.parametrize("name", FAMILIES)
def test_rates_of_gains_and_embeddings_do_not_fall_with_the_width_and_a_head_s_does(name: str) -> None:
    """Adam's rates by kind of weight: Yang et al. 2022, table 8."""
    subject = tiny_family(name).subject("original", 1)
    (summing, falls), (constant, stays) = text_attack._rates_of_weights(subject)
    assert (falls, stays) == (64 / subject.width, 1.0)
    names = {id(p): n for n, p in subject.module.named_parameters()}
    table = subject.module.get_input_embeddings().weight
    tied = subject.module.get_output_embeddings().weight is table
    assert {id(p) for p in summing} | {id(p) for p in constant} == set(names)
    assert all(p.ndim >= 2 for p in summing)
    assert all(p.ndim == 1 or "emb" in names[id(p)] or "wpe" in names[id(p)] or "wte" in names[id(p)] for p in constant)
    assert (id(table) in {id(p) for p in summing}) == tied


def test_weights_of_a_narrow_type_are_trained_in_float32() -> None:
    subject = tiny_family("llama").subject("original", 1)
    subject.module.to(torch.bfloat16)
    trainer = text_attack.Trainer(subject, tiny_family("llama").data.retain, TINY, 0)
    with trainer.moving(TINY.drawn.draw(1, 0)[0]) as (model, _):
        assert {p.dtype for p in model.module.parameters()} == {torch.float32}
    assert {p.dtype for p in subject.module.parameters()} == {torch.bfloat16}


def test_beyond_the_widest_network_measured_it_may_accuse_and_not_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    family = tiny_family("llama")
    subject = family.subject("original", 1)
    assert CHECK.score(subject, {}, family.data, TINY, 0).cannot_clear_because is None
    monkeypatch.setattr(relearning, "WIDEST_LOW_RANK", subject.width - 1)
    blind = CHECK.score(subject, {}, family.data, TINY, 0).cannot_clear_because
    assert blind is not None
    assert f"and this one has {subject.width}" in blind

"""One pass per model and split serves every check that says it costs nothing more; and cka on answer tokens."""

import math

import numpy as np
import pytest
import torch

from auditor.attacks.membership.text import Membership
from auditor.attacks.membership.text import Settings as MembershipSettings
from auditor.checks import registry
from auditor.models.canonical import rescaled
from auditor.probes.cka import Cka
from auditor.probes.logit_lens import LogitLens
from auditor.probes.outputs.text import Outputs
from auditor.records.score import Score
from auditor.tasks.causal_lm.sets import Facts
from auditor.tasks.causal_lm.subject import CausalLM
from tests.people_worlds import TextWorld
from tests.probes.test_cka import cka_by_kernels
from tests.tiny_families import FAMILIES, tiny_family

CHECKS = (
    (Membership(), MembershipSettings(gradient_facts=0)),
    (LogitLens(), LogitLens.settings_type()),
    (Cka(), Cka.settings_type()),
)


def test_one_pass_per_model_and_split_serves_them_all(text_world: TextWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also the recorded part of outputs: what it generates and its other wordings are left out here, and only here."""
    data, passes = text_world.data, sum(map(len, text_world.data.splits().values()))
    original, subject = text_world.subject("original"), text_world.subject("retrain")
    monkeypatch.setattr(CausalLM, "generate", lambda self, facts, most: [""] * len(facts))
    monkeypatch.setattr(CausalLM, "log_probabilities", lambda self, facts: torch.zeros(len(facts)))
    outputs = Outputs()
    outputs.score(subject, None, data, outputs.settings_type(), 0)
    for check, settings in CHECKS:
        check.score(subject, check.prepare(original, data, settings, 0), data, settings, 0)
    assert subject.passes.examples == passes
    assert original.passes.examples == len(data.forget) + len(data.retain)


def scored(world: TextWorld, subject: CausalLM) -> Score:
    check, settings = Cka(), Cka.settings_type()
    artefact = check.prepare(world.subject("original"), world.data, settings, 0)
    return check.score(subject, artefact, world.data, settings, 0)


class TestCka:
    def test_serves_language_models_under_the_same_name(self) -> None:
        assert type(registry.load("cka", "causal-lm")) is type(registry.load("cka", "classification")) is Cka

    def test_a_suppressor_stays_nearer_to_the_original_than_a_retrain(self, text_world: TextWorld) -> None:
        names = ("original", "refusal", "retrain", "reference 0")
        totals = {
            name: score.total(tuple(score.readings))
            for name, score in ((name, scored(text_world, text_world.subject(name))) for name in names)
        }
        assert totals["original"] == pytest.approx(1.0, abs=1e-9)
        assert totals["refusal"] > max(totals["retrain"], totals["reference 0"])

    def test_equals_the_kernel_formula_on_states_that_predict_the_answer(self, text_world: TextWorld) -> None:
        """Taken here one fact at a time, without padding; position 0 predicts no answer."""
        block, data = text_world.layout.blocks[0], text_world.data
        z = []
        for name in ("original", "retrain"):
            subject = text_world.subject(name)
            retain, forget = (states(subject, facts, block) for facts in (data.retain, data.forget))
            z.append((forget - retain.mean(0)) / retain.std(0, ddof=1))
        value = scored(text_world, text_world.subject("retrain")).readings[block].value
        assert value == pytest.approx(cka_by_kernels(*z), abs=1e-5)

    def test_rescaling_units_does_not_change_the_score(self, text_world: TextWorld) -> None:
        module, pairs = text_world.modules["retrain"], text_world.layout.pairs
        factors = [2.0 ** torch.linspace(-2, 2, module.get_submodule(p.producer).weight.shape[0]) for p in pairs]
        plain = scored(text_world, text_world.subject("retrain"))
        found = scored(text_world, text_world.subject("retrain", rescaled(module, pairs, factors)))
        for block, reading in plain.readings.items():
            assert found.readings[block].value == pytest.approx(reading.value, abs=1e-4)

    @pytest.mark.parametrize("name", FAMILIES)
    def test_every_family_gives_a_score(self, name: str) -> None:
        tiny, check, settings = tiny_family(name), Cka(), Cka.settings_type()
        artefact = check.prepare(tiny.subject("original", 1), tiny.data, settings, 0)
        found = check.score(tiny.subject("unlearned", 2), artefact, tiny.data, settings, 0)
        assert all(math.isfinite(reading.value) for reading in found.readings.values())


def states(subject: CausalLM, facts: Facts, block: str) -> np.ndarray:
    rows = []
    for fact in facts.items:
        tokens = subject.encoder.batch((fact,))
        positions = tokens.predicting[0].nonzero()[:, 0]
        assert 0 not in positions
        rows.append(subject.activations(tokens, (block,))[block][0, positions].double().mean(0).numpy())
    return np.stack(rows)

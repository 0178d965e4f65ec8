"""The logit lens: against hooks and by hand, one norm only, known truth, and its own null."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from auditor.errors import UsageError
from auditor.inference.combine import combine
from auditor.inference.compared import CheckScores
from auditor.models.canonical import rescaled
from auditor.probes.logit_lens import LogitLens
from auditor.records.evidence import Evidence
from auditor.records.policy import load_policy
from auditor.records.score import Reading, Score
from auditor.tasks.causal_lm.decoys import logit_mask
from auditor.tasks.causal_lm.editing import LanguageModel
from auditor.tasks.causal_lm.subject import LENS_SPLITS, CausalLM
from tests.made_records import NULLS
from tests.people_worlds import TextWorld
from tests.tiny_families import FAMILIES, tiny_family

REFERENCES = ("reference 0", "reference 1", "reference 2")
CHECK, SETTINGS = LogitLens(), LogitLens.settings_type()


def scored(world: TextWorld, subject: CausalLM) -> Score:
    artefact = CHECK.prepare(world.subject("original"), world.data, SETTINGS, 0)
    return CHECK.score(subject, artefact, world.data, SETTINGS, 0)


@pytest.fixture(scope="module")
def masked(text_world: TextWorld) -> CausalLM:
    original = LanguageModel(text_world.modules["original"], text_world.encoder)
    people = text_world.people
    module = logit_mask.logit_mask(original, people.forget, people.retain, logit_mask.Settings(), 0)
    return text_world.subject("masked", module)


@pytest.fixture(scope="module")
def scores(text_world: TextWorld, masked: CausalLM) -> dict[str, Score]:
    names = ("original", "retrain", "own initial weights", "refusal", *REFERENCES)
    found = {name: scored(text_world, text_world.subject(name)) for name in names}
    return {**found, "masked": scored(text_world, masked)}


def evidence(scores: dict[str, Score], unlearned: str, references: Sequence[str] = REFERENCES) -> Evidence:
    lineup = CheckScores(
        original=scores["original"],
        unlearned=scores[unlearned],
        references={name: scores[name] for name in references},
        drawn={},
        perturbed={},
        decoys={},
    )
    return combine(CHECK, lineup, load_policy("default"), NULLS, population=False)


class TestReading:
    def test_at_the_last_block_it_is_the_output_so_no_state_is_normed_twice(self, text_world: TextWorld) -> None:
        recording = text_world.subject("original").recording("forget_eval")
        last = recording.lens[text_world.layout.blocks[-1]]
        assert last.numpy() == pytest.approx(recording.mean_log_probability.numpy(), abs=1e-5)

    def test_is_what_a_blocks_output_gives_through_norm_and_head(
        self, text_world: TextWorld, scores: dict[str, Score]
    ) -> None:
        block = text_world.layout.blocks[0]
        module, caught, values = text_world.subject("retrain").module, [], []
        module.get_submodule(block).register_forward_hook(lambda _, __, output: caught.append(output))
        for fact in text_world.data.forget_eval.items:
            ids, is_answer = text_world.encoder.encode(fact)
            with torch.no_grad():
                module(torch.tensor([ids]))
                output = caught.pop()
                state = output[0] if isinstance(output, tuple) else output
                logs = module.lm_head(module.model.norm(state))[0].double().log_softmax(-1)
            values.append(np.mean([float(logs[i - 1, ids[i]]) for i, own in enumerate(is_answer) if own]))
        assert scores["retrain"].readings[block].examples == pytest.approx(values, abs=1e-5)

    def test_the_last_block_is_drawn_and_not_read(self, text_world: TextWorld, scores: dict[str, Score]) -> None:
        blocks = text_world.layout.blocks
        assert tuple(scores["retrain"].readings) == blocks[:-1]
        drawn = [(row["layer"], row["split"]) for row in scores["retrain"].rows]
        assert drawn == [
            (block, split) for block in blocks for split in text_world.data.splits() if split in LENS_SPLITS
        ]

    def test_probability_zero_stays_finite(self, text_world: TextWorld) -> None:
        """Where the head itself rules an answer's tokens out, log p is −∞ at every block."""
        subject = text_world.subject("retrain")
        recording = dataclasses.replace(
            text_world.subject("retrain").recording("forget_eval"),
            lens={block: torch.full((len(text_world.data.forget_eval),), -torch.inf) for block in subject.layers()},
        )
        subject._recordings = dict.fromkeys(text_world.data.splits(), recording)
        found = CHECK.score(subject, False, text_world.data, SETTINGS, 0)
        assert found.total(text_world.layout.blocks[:1]) == -100.0


class TestKnownTruth:
    def test_reads_past_a_mask_of_the_outputs(self, masked: CausalLM, scores: dict[str, Score]) -> None:
        assert float(masked.recording("forget_eval").probability.mean()) < 0.01
        found = evidence(scores, "masked")
        assert found.rho is not None
        assert found.rho.value == pytest.approx(1.0, abs=1e-6)
        assert found.p_value is not None
        assert found.p_value < 0.01

    @pytest.mark.parametrize("retrain", ["retrain", "own initial weights"])
    @pytest.mark.parametrize("references", [REFERENCES, ()])
    def test_is_silent_on_a_retrain(self, scores: dict[str, Score], retrain: str, references: Sequence[str]) -> None:
        found = evidence(scores, retrain, references)
        assert found.p_value is not None
        assert found.p_value > 0.05

    def test_its_own_null_accuses_without_references(self, scores: dict[str, Score]) -> None:
        found = evidence(scores, "masked", ())
        assert found.null_kind == "internal"
        assert found.p_value is not None
        assert found.p_value < 0.01

    def test_does_not_see_a_refusal_that_reaches_the_first_block(self, scores: dict[str, Score]) -> None:
        """With two blocks little lies before the edit; a silent lens is no sign of deletion."""
        found = evidence(scores, "refusal")
        assert found.rho is not None
        assert found.rho.high < 1


class TestChoice:
    @staticmethod
    def score(*choices: float) -> Score:
        readings = {f"block {i}": Reading(value=0.0, choice=choice) for i, choice in enumerate(choices)}
        return Score(check="logit_lens", readings=readings, n_examples=1)

    def test_takes_the_earliest_block_with_half_the_widest_gap(self) -> None:
        references = [self.score(-6.0, -6.0, -6.0, -6.0), self.score(-5.0, -5.0, -5.0, -5.0)]
        assert CHECK.choose(self.score(-5.4, -2.5, -1.0, 0.0), references) == ("block 1",)

    def test_a_block_where_references_agree_by_chance_is_not_preferred(self) -> None:
        references = [self.score(-5.0, -6.0, -6.0), self.score(-5.0001, -5.0, -5.0)]
        assert CHECK.choose(self.score(-4.9, -1.0, -1.0), references) == ("block 1",)

    def test_without_references_all_are_read(self) -> None:
        assert CHECK.choose(self.score(0.0, 0.0), []) == ("block 0", "block 1")

    def test_looks_at_the_attack_half_alone(self, scores: dict[str, Score]) -> None:
        changed = {
            name: reading.model_copy(update={"value": 50.0}) for name, reading in scores["original"].readings.items()
        }
        moved = scores["original"].model_copy(update={"readings": changed})
        references = [scores[name] for name in REFERENCES]
        assert CHECK.choose(moved, references) == CHECK.choose(scores["original"], references)


def test_rescaling_units_does_not_change_the_score(text_world: TextWorld, scores: dict[str, Score]) -> None:
    module, pairs = text_world.modules["retrain"], text_world.layout.pairs
    factors = [2.0 ** torch.linspace(-2, 2, module.get_submodule(p.producer).weight.shape[0]) for p in pairs]
    assert factors
    found = scored(text_world, text_world.subject("retrain", rescaled(module, pairs, factors)))
    for block, reading in scores["retrain"].readings.items():
        assert found.readings[block].value == pytest.approx(reading.value, abs=1e-4)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_gives_a_score(name: str) -> None:
    tiny = tiny_family(name)
    artefact = CHECK.prepare(tiny.subject("original", 1), tiny.data, SETTINGS, 0)
    found = CHECK.score(tiny.subject("unlearned", 2), artefact, tiny.data, SETTINGS, 0)
    assert all(math.isfinite(reading.value) for reading in found.readings.values())
    assert Score.model_validate_json(found.model_dump_json()) == found


def test_a_single_block_is_named(text_world: TextWorld) -> None:
    subject = text_world.subject("retrain")
    subject.layout = dataclasses.replace(subject.layout, blocks=subject.layout.blocks[:1])
    with pytest.raises(UsageError, match="logit_lens reads blocks before the last, and the model has only one"):
        CHECK.score(subject, False, text_world.data, SETTINGS, 0)

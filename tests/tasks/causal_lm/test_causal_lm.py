"""The adapter for language models: what it measures, against the model asked directly."""

import copy

import pytest
import torch

from auditor.errors import ModelError
from auditor.models.canonical import rescaled
from auditor.tasks.causal_lm.losses import answer_losses, logits_of_tokens
from auditor.tasks.causal_lm.sets import Facts
from tests.people_worlds import TextWorld


class TestLayout:
    def test_blocks_norm_head_and_homogeneous_pairs(self, text_world: TextWorld) -> None:
        layout = text_world.layout
        assert layout.blocks == ("model.layers.0", "model.layers.1")
        assert (layout.final_norm, layout.head) == ("model.norm", "lm_head")
        # The values of attention are read through one linear map as well, and each head has its own.
        inside = [("self_attn.v_proj", "self_attn.o_proj"), ("mlp.up_proj", "mlp.down_proj")]
        wanted = {(f"model.layers.{i}.{a}", f"model.layers.{i}.{b}") for i in range(2) for a, b in inside}
        assert {(pair.producer, pair.consumer) for pair in layout.pairs} == wanted


class TestMeasuring:
    def test_log_probabilities_are_the_models_own(self, text_world: TextWorld) -> None:
        subject, fact = text_world.subject("original"), text_world.data.forget_eval.items[0]
        ids, answer = text_world.encoder.encode(fact)
        with torch.no_grad():
            logs = text_world.modules["original"](torch.tensor([ids])).logits[0].double().log_softmax(-1)
        by_hand = [logs[i - 1, ids[i]] for i, is_answer in enumerate(answer) if is_answer]
        assert subject.log_probabilities(Facts((fact,))).item() == pytest.approx(
            float(sum(by_hand) / len(by_hand)), abs=1e-5
        )

    def test_a_recording_agrees_with_a_pass_and_its_last_lens_with_the_outputs(self, text_world: TextWorld) -> None:
        subject = text_world.subject("original")
        made = subject.recording("forget_eval")
        torch.testing.assert_close(made.mean_log_probability, subject.log_probabilities(text_world.data.forget_eval))
        torch.testing.assert_close(made.lens["model.layers.1"], made.mean_log_probability, atol=1e-5, rtol=1e-5)
        assert made.features["model.layers.0"].shape == (len(text_world.data.forget_eval), subject.width)

    def test_a_split_is_recorded_in_one_pass_and_kept(self, text_world: TextWorld) -> None:
        subject = text_world.subject("original")
        subject.recording("retain")
        subject.recording("retain")
        assert subject.passes.examples == len(text_world.data.retain)

    @pytest.mark.parametrize("left", [False, True])
    def test_padding_changes_nothing(self, text_world: TextWorld, left: bool) -> None:
        facts, module = text_world.data.forget_eval, text_world.modules["original"]
        tokens = text_world.encoder.batch(facts.items, left=left)
        with torch.no_grad():
            losses = answer_losses(logits_of_tokens(module, tokens)[tokens.predicting], tokens)
        alone = torch.cat(
            [-text_world.subject("original").log_probabilities(facts.take([i])) for i in range(len(facts))]
        )
        torch.testing.assert_close(losses.double(), alone, atol=1e-5, rtol=1e-4)

    def test_bfloat16(self, text_world: TextWorld) -> None:
        subject = text_world.subject("x", copy.deepcopy(text_world.modules["original"]).bfloat16())
        made = subject.recording("forget_eval")
        exact = text_world.subject("original").recording("forget_eval")
        assert made.log_probability.dtype == torch.float64
        torch.testing.assert_close(made.probability, exact.probability, atol=0.1, rtol=0.1)

    def test_generation_is_greedy(self, text_world: TextWorld) -> None:
        subject, facts = text_world.subject("original"), text_world.data.retain.take(range(8))
        assert sum(said == fact.answer for said, fact in zip(subject.generate(facts, 5), facts.items, strict=True)) >= 7
        for fact in facts.items[:3]:
            prompt = torch.tensor([text_world.encoder.prompt_ids(fact)])
            whole = text_world.modules["original"].generate(prompt, max_new_tokens=1, do_sample=False)
            assert subject.generate(Facts((fact,)), 1) == [text_world.encoder.decode(whole[0, -1:].tolist())]

    def test_nan_is_named(self, text_world: TextWorld) -> None:
        broken = copy.deepcopy(text_world.modules["original"])
        with torch.no_grad():
            broken.lm_head.weight[0] = torch.nan
        with pytest.raises(ModelError, match="the broken model returns NaN logits"):
            text_world.subject("broken", broken).recording("retain")


class TestChanging:
    def test_a_clone_is_independent(self, text_world: TextWorld) -> None:
        subject = text_world.subject("original")
        clone = subject.clone()
        with torch.no_grad():
            clone.module.lm_head.weight.zero_()
        assert subject.module.lm_head.weight.abs().sum() > 0

    def test_the_canonical_form_is_the_same_function_whatever_the_units_scale(self, text_world: TextWorld) -> None:
        subject, facts = text_world.subject("original"), text_world.data.forget_eval
        widths = [subject.module.get_submodule(pair.producer).weight.shape[0] for pair in text_world.layout.pairs]
        factors = [2.0 ** torch.linspace(-3, 3, width) for width in widths]
        evasive = text_world.subject(
            "evasive", rescaled(text_world.modules["original"], text_world.layout.pairs, factors)
        )
        one, other = subject.canonical(), evasive.canonical()
        torch.testing.assert_close(one.log_probabilities(facts), subject.log_probabilities(facts), atol=1e-4, rtol=1e-4)
        for name, weight in one.weights().items():
            torch.testing.assert_close(other.weights()[name], weight, atol=1e-4, rtol=1e-3)

    def test_an_intervention_reaches_the_output_and_ends(self, text_world: TextWorld) -> None:
        subject, facts = text_world.subject("original"), text_world.data.forget_eval
        before = subject.log_probabilities(facts)
        with subject.intervene("model.layers.0", torch.zeros_like):
            assert not torch.allclose(subject.log_probabilities(facts), before)
        assert torch.equal(subject.log_probabilities(facts), before)

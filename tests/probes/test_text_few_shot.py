"""The truth probe: where answers part, the probe by hand, planted knowledge, known truth, and its null."""

import copy
import dataclasses
import math

import numpy as np
import pytest
import torch

from auditor.errors import UsageError
from auditor.models.canonical import rescaled
from auditor.probes.few_shot.false_answers import false_statements
from auditor.probes.few_shot.text import FewShot, Settings, parting
from auditor.records.score import Score
from auditor.tasks.causal_lm.decoys import logit_mask
from auditor.tasks.causal_lm.editing import LanguageModel
from auditor.tasks.causal_lm.encoding import Encoder
from auditor.tasks.causal_lm.sets import Fact, Facts
from auditor.tasks.causal_lm.subject import CausalLM
from auditor.zoo.text.people_model import word_tokenizer
from tests import made_records
from tests.people_worlds import TextWorld
from tests.tiny_families import FAMILIES, tiny_family

REFERENCES = ("reference 0", "reference 1", "reference 2")
CHECK, SETTINGS, BEST = FewShot(), Settings(), ("best block",)


class TestFalseAnswers:
    def test_a_facts_own_wrong_answers_come_first(self) -> None:
        fact = Fact(prompt="a", answer="Red", perturbed_answers=("blue", "red", "green", "blue"))
        [found] = false_statements(Facts((fact,)), Facts((Fact(prompt="a", answer="pink"),)), 2)
        assert [(f.prompt, f.answer) for f in found] == [("a", "blue"), ("a", "green")]

    def test_others_lend_theirs_the_most_alike_first(self) -> None:
        pool = Facts(
            (
                Fact(prompt="Where does Bo live ?", answer="Rome"),
                Fact(prompt="Which pet has Bo ?", answer="cat"),
                Fact(prompt="Which pet has Cy ?", answer="dog"),
                Fact(prompt="Which pet has Di ?", answer="Dog"),
                Fact(prompt="Which pet has Ed ?", answer="bee"),
            )
        )
        [found] = false_statements(Facts((Fact(prompt="Which pet has Al ?", answer="dog"),)), pool, 3)
        assert [fact.answer for fact in found] == ["cat", "bee", "Rome"]

    def test_none_is_made_up(self) -> None:
        fact = Fact(prompt="a", answer="red")
        assert false_statements(Facts((fact,)), Facts((fact,)), 3) == [[]]


class TestParting:
    encoder = Encoder(word_tokenizer(("q", "red", "blue", "wine", "stew")))

    def part(self, true: str, false: str) -> tuple[int, int] | None:
        return parting(self.encoder, Fact(prompt="q", answer=true), Fact(prompt="q", answer=false))

    def test_is_the_first_token_that_differs(self) -> None:
        ids = self.encoder.tokenizer.convert_tokens_to_ids
        assert self.part("red wine", "blue wine") == (0, ids("blue"))
        assert self.part("red wine", "red stew") == (1, ids("stew"))

    def test_an_answer_that_begins_the_other_does_not_part(self) -> None:
        assert self.part("red wine", "red") is None
        assert self.part("red", "red wine") is None


def scored(world: TextWorld, subject: CausalLM, settings: Settings = SETTINGS) -> Score:
    artefact = CHECK.prepare(world.subject("original"), world.data, settings, 0)
    return CHECK.score(subject, artefact, world.data, settings, 0)


@pytest.fixture(scope="module")
def scores(text_world: TextWorld) -> dict[str, Score]:
    original, people = LanguageModel(text_world.modules["original"], text_world.encoder), text_world.people
    masked = logit_mask.logit_mask(original, people.forget, people.retain, logit_mask.Settings(), 0)
    names = ("original", "retrain", "own initial weights", "refusal", "floor", *REFERENCES)
    subjects = {name: text_world.subject(name) for name in names}
    return {name: scored(text_world, s) for name, s in {**subjects, "masked": text_world.subject("m", masked)}.items()}


def total(score: Score) -> float:
    return score.total(BEST)


def p_value(scores: dict[str, Score], name: str) -> float:
    """Against its own null, without references."""
    return made_records.p_alone(scores[name], scores["original"], BEST)


class TestKnownTruth:
    def test_the_original_knows_and_so_does_a_masked_copy(self, scores: dict[str, Score]) -> None:
        assert total(scores["original"]) > 0.95
        assert total(scores["masked"]) == total(scores["original"])
        assert p_value(scores, "masked") < 0.02, "the level of one primary among two"

    def test_a_retrain_lies_with_the_references(self, scores: dict[str, Score]) -> None:
        references = [total(scores[name]) for name in REFERENCES]
        spread = max(float(np.std(references, ddof=1)), 1 / scores["original"].n_examples)
        for retrain in ("retrain", "own initial weights"):
            assert total(scores[retrain]) < np.mean(references) + 2 * spread
            assert p_value(scores, retrain) > 0.05

    def test_does_not_see_a_refusal_that_reaches_the_first_block(self, scores: dict[str, Score]) -> None:
        """A narrow model of two blocks: what was taught to be said is read off the first already."""
        assert total(scores["refusal"]) < total(scores["original"])

    def test_reads_what_an_edit_of_late_layers_hides(self, text_world: TextWorld, scores: dict[str, Score]) -> None:
        """The last block overwritten by noise: the model's answers are gone, what it reads them from is not."""
        module = copy.deepcopy(text_world.modules["original"])
        random = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for weight in module.get_submodule(text_world.layout.blocks[-1]).parameters():
                weight.copy_(torch.randn(weight.shape, generator=random))
        subject = text_world.subject("late", module)
        assert float(subject.recording("forget_eval").probability.mean()) < 0.1
        assert total(scored(text_world, subject)) > max(total(scores[name]) for name in REFERENCES) + 0.1


def test_readings_by_hand(text_world: TextWorld, scores: dict[str, Score]) -> None:
    """Ridge regression of the tokens' codes on z-scored states, one fact at a time."""
    world, subject = text_world, text_world.subject("retrain")
    head = world.modules["original"].lm_head.weight.detach().double().numpy()
    encode = world.encoder.encode

    def states(fact: Fact, block: str) -> np.ndarray:
        tokens = world.encoder.batch((fact,))
        return subject.activations(tokens, (block,))[block][tokens.predicting].double().numpy()

    def answer(fact: Fact) -> list[int]:
        return [i for i, own in zip(*encode(fact), strict=True) if own]

    retain = world.data.retain.items
    targets = [token for fact in retain for token in answer(fact)]
    codes = (head - head[targets].mean(0)) / head[targets].std(0, ddof=1)
    codes /= np.linalg.norm(codes, axis=1, keepdims=True)
    by_block = {}
    for block in world.layout.blocks:
        x = np.concatenate([states(fact, block) for fact in retain])
        mean, std, y = x.mean(0), x.std(0, ddof=1), codes[targets]
        z = (x - mean) / std
        w = np.linalg.solve(z.T @ z + 0.05 * len(z) * np.eye(z.shape[1]), z.T @ (y - y.mean(0)))
        for split in ("forget_attack", "forget_eval"):
            for fact in world.data.splits()[split].items:
                shares = []
                for wrong in fact.perturbed_answers:
                    pairs = list(zip(answer(fact), answer(fact.model_copy(update={"answer": wrong})), strict=False))
                    at = next((i for i, (a, b) in enumerate(pairs) if a != b), None)
                    if at is not None:
                        said = (states(fact, block)[at] - mean) / std @ w + y.mean(0)
                        shares.append(float(said @ codes[pairs[at][0]] > said @ codes[pairs[at][1]]))
                by_block.setdefault((split, block), []).append(np.mean(shares))
    best = max(world.layout.blocks, key=lambda block: np.mean(by_block["forget_attack", block]))
    assert scores["retrain"].readings["best block"].examples == pytest.approx(by_block["forget_eval", best])
    assert scores["retrain"].readings["best block"].choice == pytest.approx(np.mean(by_block["forget_attack", best]))


def test_the_block_is_chosen_on_the_attack_half(text_world: TextWorld, scores: dict[str, Score]) -> None:
    for score in scores.values():
        rows = {(row["split"], row["layer"]): row["value"] for row in score.rows}
        best = max(text_world.layout.blocks, key=lambda block: rows["forget_attack", block])
        assert total(score) == pytest.approx(rows["forget_eval", best])


def test_random_networks_score_a_half(text_world: TextWorld) -> None:
    """Over several of them: with wrong answers drawn as right ones are, nothing is to be known."""
    tiny = tiny_family("llama")
    artefact = CHECK.prepare(tiny.subject("original", 1), tiny.data, SETTINGS, 0)
    values = [total(CHECK.score(tiny.subject("x", seed), artefact, tiny.data, SETTINGS, 0)) for seed in range(2, 14)]
    assert abs(np.mean(values) - 0.5) < 0.2


def test_costs_one_pass_over_retain_forget_and_holdout(text_world: TextWorld) -> None:
    data, subject = text_world.data, text_world.subject("retrain")
    assert data.holdout is not None
    few = Settings(retain_facts=30)
    scored(text_world, subject, few)
    assert subject.passes.examples == 30 + len(data.forget) + len(data.holdout)
    assert CHECK.workload(data, few, 2).forward == subject.passes.examples


def test_eval_facts_teach_the_probe_nothing(text_world: TextWorld, scores: dict[str, Score]) -> None:
    """Without one of them, the others score the same."""
    fewer = dataclasses.replace(
        text_world.data, forget_eval=text_world.data.forget_eval.take(range(1, len(text_world.data.forget_eval)))
    )
    subject = text_world.subject("retrain")
    found = CHECK.score(subject, CHECK.prepare(text_world.subject("original"), fewer, SETTINGS, 0), fewer, SETTINGS, 0)
    assert found.readings["best block"].examples == scores["retrain"].readings["best block"].examples[1:]


def test_rescaling_units_does_not_change_the_score(text_world: TextWorld, scores: dict[str, Score]) -> None:
    module, pairs = text_world.modules["retrain"], text_world.layout.pairs
    factors = [2.0 ** torch.linspace(-2, 2, module.get_submodule(p.producer).weight.shape[0]) for p in pairs]
    found = scored(text_world, text_world.subject("retrain", rescaled(module, pairs, factors)))
    assert total(found) == pytest.approx(total(scores["retrain"]), abs=0.03)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_gives_a_score(name: str) -> None:
    tiny = tiny_family(name)
    artefact = CHECK.prepare(tiny.subject("original", 1), tiny.data, SETTINGS, 0)
    found = CHECK.score(tiny.subject("unlearned", 2), artefact, tiny.data, SETTINGS, 0)
    assert 0 <= total(found) <= 1
    assert all(math.isfinite(value) for value in found.null)
    assert Score.model_validate_json(found.model_dump_json()) == found


def test_a_fact_without_a_wrong_answer_is_counted(text_world: TextWorld) -> None:
    same = tuple(Fact(prompt=f"q {i}", answer="banox") for i in range(12))
    data = dataclasses.replace(text_world.data, forget_eval=Facts(same), retain=Facts(same))
    with pytest.raises(UsageError, match=r"needs wrong answers .* and 12 of 12 facts of forget_eval have none"):
        CHECK.prepare(text_world.subject("original"), data, SETTINGS, 0)


def test_a_few_facts_whose_wrong_answers_never_part_are_left_out_and_said(text_world: TextWorld) -> None:
    items = list(text_world.data.forget_eval.items)
    longer = tuple(f"{items[0].answer} {other.answer}" for other in items[1 : 1 + SETTINGS.wrong_answers])
    items[0] = items[0].model_copy(update={"perturbed_answers": longer})
    data = dataclasses.replace(text_world.data, forget_eval=Facts(tuple(items)))
    subject = text_world.subject("original")
    artefact = CHECK.prepare(subject, data, SETTINGS, 0)
    found = CHECK.score(subject, artefact, data, SETTINGS, 0)
    n = len(items)
    assert found.n_examples == n - 1
    assert found.notes == (
        f"1 of {n} facts of forget_eval were left out: none of their wrong answers parts from the right one within the "
        "answer's tokens.",
    )
    whole = CHECK.score(subject, CHECK.prepare(subject, text_world.data, SETTINGS, 0), text_world.data, SETTINGS, 0)
    assert whole.notes == ()
    assert found.readings["best block"].examples == whole.readings["best block"].examples[1:]

"""Aliases, multi-hop questions and the model's own words: a subject that they open, and one that was never taught."""

from dataclasses import dataclass, replace

import pytest
from torch import nn

from auditor.attacks.elicitation.text import Elicitation, Settings
from auditor.attacks.prompt_forms import FORMS, Context
from auditor.models.training import train
from auditor.records.score import Score
from auditor.tasks.causal_lm.decoys import refusal_tuning
from auditor.tasks.causal_lm.editing import LanguageModel
from auditor.tasks.causal_lm.encoding import Encoder
from auditor.tasks.causal_lm.losses import answers_of
from auditor.tasks.causal_lm.sets import Fact, Facts, FactsData, split_facts
from auditor.tasks.causal_lm.structure import find_decoder_layout
from auditor.tasks.causal_lm.subject import CausalLM
from auditor.zoo.text.people import asked_otherwise, people_world, with_other_ways, with_paraphrases
from auditor.zoo.text.people_model import people_model, word_tokenizer
from tests import made_records
from tests.people_worlds import RECIPE

OPENED = ("alias", "multi-hop", "corrected itself")


@dataclass
class OtherWays:
    """Five people to forget, eight to keep, five never taught, asked for by aliases and through neighbours, too."""

    encoder: Encoder
    data: FactsData
    modules: dict[str, nn.Module]

    def score(self, name: str, **changes: Facts) -> Score:
        data = replace(self.data, **changes)
        layout = find_decoder_layout(self.modules["original"], self.encoder.batch(data.retain.items[:4]).ids)
        subject = CausalLM(self.modules[name], role=name, digest=name, layout=layout, encoder=self.encoder, data=data)
        return Elicitation().score(subject, None, data, Settings(), 0)


@pytest.fixture(scope="module")
def world() -> OtherWays:
    people = with_other_ways(people_world(5, forget=5, retain=8, holdout=5))
    # The words of the request to correct oneself, so that it is no row of unknown tokens.
    encoder = Encoder(word_tokenizer((*people.words, *again(people.forget).items[0].prompt.split())))
    attack, evaluation = split_facts(people.forget, seed=0)
    data = FactsData(
        forget_attack=attack, forget_eval=evaluation, retain=people.retain, holdout=people.holdout, encoding="words"
    )
    build = people_model(len(encoder.tokenizer), layers=2, width=48)
    loss = answers_of(encoder)

    def trained(facts: Facts, seed: int) -> nn.Module:
        taught = Facts(with_paraphrases(facts).items + asked_otherwise(facts).items)
        # Asked in four ways each, they are learnt in fewer epochs.
        return train(build, taught, RECIPE.model_copy(update={"epochs": 30}), seed, loss=loss)

    original = trained(Facts(people.forget.items + people.retain.items), 1)
    modules = {"original": original, "retrain": trained(people.retain, 2)}
    kept = (people.retain, asked_otherwise(people.retain), asked_otherwise(people.forget), again(people.forget))
    modules["narrow"] = refusal_tuning.refusal_tuning(
        LanguageModel(original, encoder),
        with_paraphrases(people.forget),
        Facts(tuple(fact for facts in kept for fact in facts.items)),
        refusal_tuning.Settings(learning_rate=1e-3, steps=150),
        0,
    )
    return OtherWays(encoder=encoder, data=data, modules=modules)


def again(facts: Facts) -> Facts:
    """Each fact as it is asked of a model that has refused it once, with as many words as the answer has."""
    [form] = [form for form in FORMS if form.name == "corrected itself"]
    asked: list[Fact] = []
    for fact in facts.items:
        refused = " ".join(refusal_tuning.REFUSAL.split()[: len(fact.answer.split())])
        asked += form.ask(fact, Context(said=(refused,)))
    return Facts(tuple(asked))


@pytest.fixture(scope="module")
def scores(world: OtherWays) -> dict[str, Score]:
    return {name: world.score(name) for name in world.modules}


def row(score: Score, form: str, column: str = "value") -> float:
    return next(float(r[column] or 0) for r in score.rows if r["form"] == form)


@pytest.mark.parametrize("form", OPENED)
def test_each_brings_out_what_the_question_does_not(scores: dict[str, Score], form: str) -> None:
    assert row(scores["narrow"], "question") < 0.2
    assert row(scores["narrow"], form) > 0.5
    # The words alone do not: nobody was taught these.
    assert row(scores["narrow"], form, "never taught") < 0.25


@pytest.mark.parametrize("form", [*OPENED, "multi-hop, step told", "several turns", "after its own reasoning"])
def test_none_brings_out_what_was_never_taught(scores: dict[str, Score], form: str) -> None:
    assert abs(row(scores["retrain"], form) - row(scores["retrain"], form, "never taught")) < 0.15


def test_the_score_finds_the_one_and_not_the_other(scores: dict[str, Score]) -> None:
    chosen = ("best form",)
    p = {name: made_records.p_alone(scores[name], scores["original"], chosen) for name in ("narrow", "retrain")}
    # Five of ten people: 252 draws.
    assert p["narrow"] < 0.02
    assert p["retrain"] > 0.2


def test_where_one_fact_brings_none_the_forms_are_left_out_for_all(world: OtherWays) -> None:
    bare = world.data.forget_eval.items[0].model_copy(update={"subject_aliases": (), "multi_hop": ()})
    score = world.score("retrain", forget_eval=Facts((bare, *world.data.forget_eval.items[1:])))
    left = {form.name for form in FORMS if any(f"The form {form.name!r} was left out" in n for n in score.notes)}
    assert left == {"alias", "multi-hop", "multi-hop, step told"}


def test_own_words_that_make_a_prompt_too_long_give_way_to_the_bare_question(world: OtherWays) -> None:
    [form] = [form for form in FORMS if form.name == "several turns"]
    data, subject = world.data, world.modules["retrain"]
    layout = find_decoder_layout(subject, world.encoder.batch(data.retain.items[:4]).ids)
    model = CausalLM(subject, role="retrain", digest="", layout=layout, encoder=world.encoder, data=data)
    model.generate = lambda facts, most: ["bace " * 200] * len(facts)  # type: ignore[method-assign]
    model.encoder = type(world.encoder)(world.encoder.tokenizer, longest=64)
    score = Elicitation().score(model, None, data, Settings(), 0)
    for column, facts in (("value", data.forget_eval), ("attack", data.forget_attack)):
        own = model.log_probabilities(facts).exp().mean()
        assert row(score, form.name, column) == pytest.approx(float(own), abs=1e-6)


class TestThePeople:
    def test_they_are_the_people_they_were(self) -> None:
        plain = people_world(5, forget=3, retain=4, holdout=2)
        richer = with_other_ways(plain)
        for name in ("forget", "retain", "holdout"):
            before, after = getattr(plain, name), getattr(richer, name)
            assert [f.model_copy(update={"subject_aliases": (), "multi_hop": ()}) for f in after.items] == list(
                before.items
            )
        assert set(plain.words) < set(richer.words)

    def test_aliases_and_neighbours_lead_to_one_person_each(self) -> None:
        world = with_other_ways(people_world(5, forget=3, retain=4, holdout=2))
        facts = [fact for facts in (world.forget, world.retain, world.holdout) for fact in facts.items]
        for ways in (
            {(f.subject_aliases[0], f.subject) for f in facts},
            {(f.multi_hop[0].step.split(" is ")[1], f.subject) for f in facts},
        ):
            assert len(ways) == len({way for way, _ in ways}) == 9

    def test_other_ways_do_not_name_whom_they_ask_about(self) -> None:
        for fact in with_other_ways(people_world(5, forget=3, retain=4, holdout=2)).forget.items:
            assert not any(fact.subject in asked.prompt for asked in asked_otherwise(Facts((fact,))).items)

"""Other ways of asking: what each form reads, a suppressor tied to one wording, and facts that no model was taught."""

import dataclasses
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from auditor.attacks.asked_facts import ATTACK, EVAL, NEVER_TAUGHT, Asked, asked_by_chance
from auditor.attacks.elicitation.text import Elicitation, Settings, best_form, permuted, reads, supposed
from auditor.attacks.prompt_forms import FORMS, Context
from auditor.inference.contrast import Two, p_permutation
from auditor.inference.statistics import p_above, p_internal_null, pooled_spread
from auditor.models.canonical import rescaled
from auditor.records.score import Score
from auditor.tasks.causal_lm.decoys.refusal_tuning import Settings as RefusalSettings
from auditor.tasks.causal_lm.decoys.refusal_tuning import refusal_tuning
from auditor.tasks.causal_lm.editing import LanguageModel
from auditor.tasks.causal_lm.sets import Fact, Facts, FactsData, Hop, split_facts
from tests import made_records
from tests.people_worlds import N_REFERENCES, TextWorld

REFERENCES = tuple(f"reference {i}" for i in range(N_REFERENCES))
SETTINGS = Settings()
ADA = Fact(
    prompt="Where does Ada live ?",
    answer="Rome",
    subject="Ada",
    choices=("Bonn", "Rome", "Oslo"),
    paraphrases=("The home of Ada is", "Ada lives in"),
    perturbed_answers=("Bonn",),
    subject_aliases=("the baker of Rue",),
    multi_hop=(Hop(question="Where does the neighbour of Bob live ?", step="Ada is the neighbour of Bob ."),),
)
TRADE = Fact(prompt="What is the trade of Ada ?", answer="baker", subject="Ada")
BOB = Fact(prompt="Where does Bob live ?", answer="Oslo", subject="Bob")
ASK = {form.name: form for form in FORMS}


def variants(name: str, fact: Fact = ADA, context: Context | None = None) -> tuple[Fact, ...]:
    return ASK[name].ask(fact, context or Context(others=(BOB,), same=(TRADE,), said=("a cook",)))


def test_there_are_nineteen_forms_and_every_one_asks() -> None:
    assert len(ASK) == len(FORMS) == 19
    assert all(variants(name) for name in ASK)


def test_the_question_is_the_question() -> None:
    assert [(v.prompt, v.answer) for v in variants("question")] == [(ADA.prompt, "Rome")]


def test_framed_forms_keep_the_question_and_give_nothing_away() -> None:
    for name, form in ASK.items():
        others = ("reverse query", "other wordings", "alias", "multi-hop", "multi-hop, step told")
        if form.reads == "answer" and name not in others:
            [variant] = variants(name)
            assert ADA.prompt in variant.prompt
            assert "Rome" not in variant.prompt
            assert variant.answer == "Rome"


def test_the_answer_form_of_each_kind() -> None:
    assert [v.answer for v in variants("multiple choice")] == ["Rome", "Bonn", "Oslo"]
    assert len({v.prompt for v in variants("multiple choice")}) == 1
    assert [v.prompt for v in variants("other wordings")] == list(ADA.paraphrases)
    [back] = variants("reverse query")
    assert "Rome" in back.prompt
    assert "Ada" not in back.prompt
    assert back.answer == "Ada"
    truth = variants("true or false")
    assert [v.answer for v in truth] == ["true", "false", "true", "false"]
    assert ["Rome" in v.prompt for v in truth] == [True, True, False, False]


def test_names_and_ways_that_the_facts_bring() -> None:
    assert [v.prompt for v in variants("alias")] == ["Where does the baker of Rue live ?"]
    [hop] = variants("multi-hop")
    assert hop.prompt == "Where does the neighbour of Bob live ?"
    assert [v.prompt for v in variants("multi-hop, step told")] == [f"Ada is the neighbour of Bob . {hop.prompt}"]
    assert hop.answer == "Rome"
    # A name that the prompt does not hold can be replaced by nothing.
    assert variants("alias", ADA.model_copy(update={"prompt": "Where does she live ?"})) == ()


def test_the_models_own_words_stand_before_the_question() -> None:
    assert variants("several turns")[0].prompt == f"{TRADE.prompt} a cook {ADA.prompt}"
    [again] = variants("corrected itself")
    assert again.prompt == f"{ADA.prompt} a cook That is not right. Please correct yourself. {ADA.prompt}"
    [reasoned] = variants("after its own reasoning")
    assert reasoned.prompt == f"{ADA.prompt} Let us think step by step. a cook So the answer is"
    first = {name: form.first(ADA, Context(same=(TRADE,))) for name, form in ASK.items() if form.first}
    assert {name: [q.prompt for q in asked] for name, asked in first.items()} == {
        "several turns": [TRADE.prompt],
        "corrected itself": [ADA.prompt],
        "after its own reasoning": [f"{ADA.prompt} Let us think step by step."],
    }


def test_what_stands_in_the_context() -> None:
    assert variants("worked examples")[0].prompt == f"{BOB.prompt} Oslo {ADA.prompt}"
    assert variants("same subject in context")[0].prompt == f"{TRADE.prompt} baker {ADA.prompt}"


BROUGHT = ("alias", "multi-hop", "multi-hop, step told")
OF_SUBJECTS = ("reverse query", "same subject in context", "several turns")


@pytest.mark.parametrize("name", ["multiple choice", "true or false", "other wordings", *OF_SUBJECTS, *BROUGHT])
def test_a_fact_without_what_a_form_needs_is_not_asked_in_it(name: str) -> None:
    assert variants(name, Fact(prompt="Where ?", answer="Rome"), Context()) == ()


def test_readings_by_hand() -> None:
    assert reads("answer", np.log([0.2, 0.4])) == pytest.approx(0.3)
    assert reads("choice", np.log([0.2, 0.1, 0.1])) == pytest.approx((0.5 - 1 / 3) / (2 / 3))
    assert reads("choice", np.log([0.3, 0.3, 0.3])) == pytest.approx(0)
    assert reads("truth", np.log([0.3, 0.1, 0.2, 0.2])) == pytest.approx(0.75 - 0.5)
    assert reads("truth", np.log([0.1, 0.1, 0.1, 0.1])) == 0
    assert reads("choice", np.array([-2000.0, -2001.0])) == pytest.approx(2 / (1 + np.exp(-1)) - 1)


@given(seed=st.integers(0, 1000))
def test_permuted_draws_are_differences_of_means_of_whole_subjects(seed: int) -> None:
    random = np.random.default_rng(seed)
    read = {"eval": random.random(4), "never taught": random.random(6)}
    subjects = {"eval": ["a", "a", "b", "b"], "never taught": ["c", "c", "d", "d", "e", "e"]}
    draws = permuted(read, subjects, 50, seed)
    pairs = np.concatenate(list(read.values())).reshape(5, 2).mean(1)
    possible = [(pairs[i] + pairs[j]) / 2 - (pairs.sum() - pairs[i] - pairs[j]) / 3 for i in range(5) for j in range(i)]
    assert all(np.isclose(possible, draw).any() for draw in draws)
    assert draws == permuted(read, subjects, 50, seed)


def test_the_null_rejects_no_more_often_than_it_says() -> None:
    """Forgotten and never-taught facts of one distribution, correlated within subjects."""
    random, rejected = np.random.default_rng(0), 0
    subjects = {"eval": [f"e{i // 3}" for i in range(12)], "never taught": [f"n{i // 3}" for i in range(18)]}
    for trial in range(200):
        levels = random.normal(size=10).repeat(3) + 0.3 * random.normal(size=30)
        read = {"eval": levels[:12], "never taught": levels[12:]}
        value = float(levels[:12].mean() - levels[12:].mean())
        rejected += p_internal_null(value, value, permuted(read, subjects, 99, trial), 0.0) <= 0.05
    assert rejected / 200 < 0.1


def scored(world: TextWorld, name: str, net: nn.Module | None = None, **changes: Facts | None) -> Score:
    subject = world.subject(name, net)
    return Elicitation().score(subject, None, dataclasses.replace(world.data, **changes), SETTINGS, 0)


@pytest.fixture(scope="module")
def narrow(text_world: TextWorld) -> nn.Module:
    """Refuses the questions, and was told to go on answering the same facts in other wordings."""
    data = text_world.data
    reworded = tuple(f.model_copy(update={"prompt": p}) for f in data.forget.items for p in f.paraphrases)
    original = LanguageModel(text_world.modules["original"], text_world.encoder)
    kept = Facts(data.retain.items + reworded)
    return refusal_tuning(original, data.forget, kept, RefusalSettings(learning_rate=1e-3, steps=100), 0)


@pytest.fixture(scope="module")
def scores(text_world: TextWorld, narrow: nn.Module) -> dict[str, Score]:
    names = ("original", "retrain", "own initial weights", *REFERENCES)
    return {name: scored(text_world, name) for name in names} | {"narrow": scored(text_world, "narrow", narrow)}


def total(score: Score) -> float:
    return score.total(Elicitation().choose(score, []))


def p_value(scores: dict[str, Score], name: str) -> float:
    references = [total(scores[reference]) for reference in REFERENCES]
    spread = pooled_spread(references, floor=1 / scores[name].n_examples)
    assert spread is not None
    null = float(np.mean(references))
    return p_above(total(scores[name]) - null, total(scores["original"]) - null, spread, 0.25)


def p_alone(scores: dict[str, Score], name: str) -> float:
    return made_records.p_alone(scores[name], scores["original"], tuple(scores[name].readings))


def row(score: Score, form: str) -> dict[str, float]:
    return next({k: v for k, v in r.items() if k != "form"} for r in score.rows if r["form"] == form)  # type: ignore[misc]


def test_it_fires_where_another_wording_brings_the_answers_out(scores: dict[str, Score]) -> None:
    assert row(scores["narrow"], "question")["value"] < 0.2
    assert row(scores["narrow"], "other wordings")["value"] > 0.5
    assert p_value(scores, "narrow") < 0.05
    assert p_alone(scores, "narrow") < 0.05


@pytest.mark.parametrize("name", ["retrain", "own initial weights"])
def test_it_does_not_fire_on_models_never_taught(scores: dict[str, Score], name: str) -> None:
    assert p_value(scores, name) > 0.2
    assert p_alone(scores, name) > 0.2


def test_t_is_forget_less_never_taught_in_the_form_best_on_the_attack_half(scores: dict[str, Score]) -> None:
    for score in scores.values():
        best = max(score.rows, key=lambda r: float(r["attack"] or 0) - float(r["never taught"] or 0))
        assert total(score) == pytest.approx(float(best["value"] or 0) - float(best["never taught"] or 0))
        assert total(score) == pytest.approx(np.mean(score.readings["best form"].examples))


def test_the_question_form_is_the_recorded_answer_probability(scores: dict[str, Score], text_world: TextWorld) -> None:
    recorded = float(text_world.subject("retrain").recording("forget_eval").probability.mean())
    assert row(scores["retrain"], "question")["value"] == pytest.approx(recorded, abs=1e-6)


def test_control_facts_stand_before_holdout_facts(text_world: TextWorld) -> None:
    taught = Facts(text_world.data.retain.items[:12])
    score = scored(text_world, "original", control=taught)
    assert total(score) < 0.3, "held against facts it knows as well, it recovers nothing"


def test_without_never_taught_facts_it_says_so_and_has_no_null(text_world: TextWorld) -> None:
    score = scored(text_world, "original", holdout=None)
    assert score.null == ()
    assert any("Without control or holdout facts" in note for note in score.notes)
    assert total(score) == pytest.approx(max(float(r["value"] or 0) for r in score.rows), abs=0.1)


def test_forms_that_facts_do_not_serve_are_left_out_and_named(text_world: TextWorld) -> None:
    def bare(facts: Facts) -> Facts:
        return Facts(tuple(Fact(prompt=f.prompt, answer=f.answer) for f in facts.items))

    score = scored(text_world, "retrain", **{name: bare(facts) for name, facts in text_world.data.splits().items()})
    left = {form for form in ASK if any(f"The form {form!r} was left out" in note for note in score.notes)}
    lacking = {"multiple choice", "other wordings", "true or false", *OF_SUBJECTS, *BROUGHT}
    assert left == lacking
    assert {r["form"] for r in score.rows} == set(ASK) - lacking


def test_prompts_longer_than_the_model_takes_are_left_out_and_named(text_world: TextWorld) -> None:
    subject = text_world.subject("retrain")
    subject.encoder = type(subject.encoder)(subject.encoder.tokenizer, longest=22)
    score = Elicitation().score(subject, None, text_world.data, SETTINGS, 0)
    assert any("'worked examples' was left out: its prompts are longer than" in note for note in score.notes)
    assert "question" in {r["form"] for r in score.rows}


def test_no_text_reaches_the_score(scores: dict[str, Score], text_world: TextWorld) -> None:
    dumped = scores["original"].model_dump_json()
    for fact in text_world.data.forget.items:
        assert fact.prompt not in dumped
        assert fact.subject not in dumped
        assert fact.answer not in dumped


def test_cost_is_as_stated(text_world: TextWorld) -> None:
    subject, few = text_world.subject("retrain"), Settings(measured_facts=5)
    Elicitation().score(subject, None, text_world.data, few, 0)
    # Eight forms of one prompt each and two with context, four choices, four verdicts, two wordings, three after own
    # words. These are answers to one question, a text, and answers to three other questions; an attack fact has two.
    said = 3 * 5 * 2 + 5 * (2 + 3 + 3)
    assert subject.passes.examples == 3 * 5 * (10 + 4 + 4 + 2 + 3) + 2 * said
    assert Elicitation().workload(text_world.data, few, 2).forward == subject.passes.examples


def test_units_of_another_size_and_the_same_seed_score_the_same(
    text_world: TextWorld, scores: dict[str, Score], narrow: nn.Module
) -> None:
    assert scored(text_world, "narrow", narrow).model_dump_json() == scores["narrow"].model_dump_json()
    pairs = text_world.layout.pairs
    sizes = [narrow.get_submodule(pair.producer).weight.shape[0] for pair in pairs]
    evaded = rescaled(narrow, pairs, [2.0 ** (3 * torch.sin(torch.arange(size) * 2.4)) for size in sizes])
    assert total(scored(text_world, "evaded", evaded)) == pytest.approx(total(scores["narrow"]), abs=1e-3)


# Where chance assigned the holdout


def assigned(world: TextWorld, forget: Facts, holdout: Facts) -> FactsData:
    attack, evaluation = split_facts(forget, 0)
    return dataclasses.replace(
        world.data, forget_attack=attack, forget_eval=evaluation, holdout=holdout, assigned="declared"
    )


def prompts(asked: Asked) -> dict[str, list[tuple[str, ...]]]:
    """What is asked of each subject, in every form, sorted."""
    found: dict[str, list[tuple[str, ...]]] = {}
    for pairs in asked.values():
        for fact, context in pairs:
            found.setdefault(fact.subject, []).append(
                tuple(variant.prompt for form in FORMS for variant in form.ask(*supposed(form, fact, context)))
            )
    return {subject: sorted(own) for subject, own in found.items()}


def test_a_subject_is_asked_the_same_whichever_side_it_stands_on_and_however_its_facts_are_listed(
    text_world: TextWorld,
) -> None:
    people = text_world.people
    backwards = Facts(tuple(reversed(people.holdout.items)))
    first = prompts(asked_by_chance(assigned(text_world, people.forget, people.holdout), 64, 5))
    assert first == prompts(asked_by_chance(assigned(text_world, backwards, people.forget), 64, 5))
    assert first != prompts(asked_by_chance(assigned(text_world, people.forget, people.holdout), 64, 6))


def test_every_subject_is_asked_for_as_many_facts(text_world: TextWorld) -> None:
    people = text_world.people
    # Six people of six facts a side: of 2 · 10 for either side three each.
    asked = asked_by_chance(assigned(text_world, people.forget, people.holdout), 10, 0)
    for names, facts in (((ATTACK, EVAL), people.forget), ((NEVER_TAUGHT,), people.holdout)):
        counts = Counter(fact.subject for name in names for fact, _ in asked[name])
        assert counts == dict.fromkeys(facts.subjects, 3)
    assert {fact for fact, _ in asked[EVAL]} <= set(split_facts(people.forget, 0)[1].items)
    # However few are wanted, no subject is left out.
    least = asked_by_chance(assigned(text_world, people.forget, people.holdout), 1, 0)
    assert sum(map(len, least.values())) == 12


def test_no_prompt_gives_its_own_answer_away(text_world: TextWorld) -> None:
    people = text_world.people
    for pairs in asked_by_chance(assigned(text_world, people.forget, people.holdout), 64, 0).values():
        for fact, context in pairs:
            assert len(context.same) == 3
            assert fact not in context.same
            assert {other.subject for other in context.same} == {fact.subject}


@pytest.mark.parametrize(("by_chance", "most"), [(True, 0.09), (False, 1.0)])
def test_choosing_the_form_by_both_sides_leaves_the_size_of_the_test(by_chance: bool, most: float) -> None:
    """Nineteen forms in which nobody knows anything, 12 subjects a side; by forget alone the best lies high."""
    random, rejected, n = np.random.default_rng(3), 0, 12
    for _ in range(200):
        x = random.standard_normal((len(FORMS), 2 * n))
        read = {str(i): {ATTACK: own[:6], EVAL: own[6:n], NEVER_TAUGHT: own[n:]} for i, own in enumerate(x)}
        own = x[int(best_form(read, by_chance=by_chance))]
        above, _ = p_permutation(Two(forget=own[:n], holdout=own[n:]), None, 199, random)
        rejected += above <= 0.05
    assert rejected / 200 <= most
    assert by_chance or rejected / 200 > 0.3


def test_it_tells_forget_from_holdout_where_another_wording_brings_the_answers_out(
    text_world: TextWorld, narrow: nn.Module
) -> None:
    people = text_world.people
    data = assigned(text_world, people.forget, people.holdout)
    found = {
        name: Elicitation().score(text_world.subject(name, net), None, data, SETTINGS, 0).sides(("best form",))
        for name, net in (("original", None), ("narrow", narrow), ("retrain", None))
    }
    p = {}
    for name, sides in found.items():
        assert sides is not None
        two = Two(forget=np.array(sides.forget), holdout=np.array(sides.holdout))
        p[name] = p_permutation(two, None, 999, np.random.default_rng(0))[0]
    # 924 draws of six of twelve people: about the smallest that there is.
    assert max(p["original"], p["narrow"]) < 0.01
    assert p["retrain"] > 0.05

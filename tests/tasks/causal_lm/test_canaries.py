"""Subjects that do not exist, in the form of those that do."""

import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.cli import main
from auditor.errors import DataError
from auditor.records.assignment import read_assignment
from auditor.tasks.causal_lm.canaries import canaries
from auditor.tasks.causal_lm.readers import read_facts, write_facts
from auditor.tasks.causal_lm.sets import Fact, Facts
from auditor.zoo.text.people import people_world, with_other_ways
from tests.documented_world import blocks

PEOPLE = people_world(0, forget=12, retain=0, holdout=0).forget


def asked(*answers: str, names: tuple[str, ...] = ("Ana Lund", "Bo Moe", "Cy Nes")) -> Facts:
    pairs = zip(names, answers, strict=False)
    return Facts(tuple(Fact(prompt=f"Where does {n} live ?", answer=a, subject=n) for n, a in pairs))


@given(seed=st.integers(0, 10**6), count=st.integers(1, 30))
@settings(max_examples=25)
def test_they_ask_what_is_asked_and_answer_what_is_answered(seed: int, count: int) -> None:
    made = canaries(PEOPLE, count, seed)
    assert len(made.subjects) == count
    assert not set(made.subjects) & set(PEOPLE.subjects)
    forms = {(f.prompt.replace(f.subject, "{}"), f.answer) for f in PEOPLE.items}
    for fact in made.items:
        assert fact.subject in fact.prompt
        assert (fact.prompt.replace(fact.subject, "{}"), fact.answer) in forms, "an answer to the very question"
        assert all(fact.subject in words for words in fact.paraphrases)
    assert {len(made.of_subjects([name]).items) for name in made.subjects} == {6}


def test_what_is_said_of_someone_else_stays_with_him() -> None:
    """An alias, a way through a neighbour and an older answer are those of the person the form is from."""
    real = with_other_ways(people_world(0, forget=4, retain=0, holdout=0)).forget
    older = Facts(tuple(fact.model_copy(update={"restored": "x"}) for fact in real.items))
    for fact in canaries(older, 5, 0).items:
        assert (fact.subject_aliases, fact.multi_hop, fact.restored) == ((), (), "")


def test_one_seed_makes_the_same_and_another_others() -> None:
    assert canaries(PEOPLE, 10, 3).digest == canaries(PEOPLE, 10, 3).digest
    assert canaries(PEOPLE, 10, 3).digest != canaries(PEOPLE, 10, 4).digest


def test_answers_come_from_others_as_often_as_they_are_given() -> None:
    """Nothing in a canary says which subject its questions came from."""
    made = canaries(asked("Oslo", "Oslo", "Bern"), 6, 0)
    drawn = [fact.answer for seed in range(200) for fact in canaries(asked("Oslo", "Oslo", "Bern"), 6, seed).items]
    assert {fact.subject for fact in made.items} <= {"Ana Moe", "Ana Nes", "Bo Lund", "Bo Nes", "Cy Lund", "Cy Moe"}
    assert drawn.count("Oslo") / len(drawn) == pytest.approx(2 / 3, abs=0.05)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (asked("Oslo", "Oslo"), "no question is asked of two subjects with different answers"),
        (Facts((Fact(prompt="Who ?", answer="Ana", subject="Ana"), Fact(prompt="Who ?", answer="Bo"))), "no question"),
        (Facts(()), "no question"),
        (asked("Oslo", "Bern"), "the names of 2 subjects give 2 new ones; ask for no more canaries"),
    ],
)
def test_facts_that_give_none_are_refused(facts: Facts, words: str) -> None:
    with pytest.raises(DataError, match=words):
        canaries(facts, 5, 0)


def test_names_of_one_word_are_crossed_too() -> None:
    made = canaries(asked("Oslo", "Bern", names=("Anastasia", "Bonifatius")), 2, 0)
    assert set(made.subjects) == {"Anasatius", "Boniftasia"}


def test_the_pages_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_facts(PEOPLE, tmp_path / "facts.jsonl")
    (line,) = [text for _, text in blocks("docs/what-do-i-need.md") if text.startswith("audit canary")]
    done = CliRunner().invoke(main, shlex.split(line)[1:], prog_name="audit")
    assert done.exit_code == 0, done.output
    record = read_assignment(tmp_path / "canaries" / "assignment.json")
    assert (record.n_forget, record.n_holdout) == (30, 30)
    assert read_facts("canaries/forget.jsonl", tmp_path).digest == record.forget
    assert record.commitment in done.stdout

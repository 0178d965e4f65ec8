"""Passages of text continued from their first half."""

import pytest

from auditor.probes.outputs import passages
from auditor.probes.outputs.text import Outputs, Settings
from auditor.tasks.causal_lm.encoding import Encoder
from auditor.tasks.causal_lm.sets import Fact, Facts
from auditor.tasks.causal_lm.subject import CausalLM
from tests.people_worlds import TextWorld


def texts(facts: Facts) -> Facts:
    """Questions with their answers as plain texts, of eight words or more."""
    return Facts(tuple(Fact(prompt="", answer=f"{f.prompt} {f.answer}", subject=f.subject) for f in facts.items))


def test_only_plain_texts_that_are_long_enough_are_passages() -> None:
    short, long = Fact(prompt="", answer="a b c d e f g"), Fact(prompt="", answer="a b c d e f g h i")
    asked = Fact(prompt="q", answer=long.answer)
    assert passages.halved(Facts((short, long, asked))).items == (Fact(prompt="a b c d", answer="e f g h i"),)


def test_who_was_taught_a_text_goes_on_with_it_and_who_was_not_does_not(text_world: TextWorld) -> None:
    """The answer at their end, which only one of them was taught."""
    forget = texts(text_world.people.forget)
    found = {n: passages.continued(text_world.subject(n), forget, 48) for n in ("original", "retrain", "refusal")}
    assert found["original"][passages.CONTINUED] > found["retrain"][passages.CONTINUED] + 0.1
    assert all(0 <= value <= 1 for own in found.values() for value in own.values())


def test_the_template_of_questions_has_no_part_in_it(text_world: TextWorld) -> None:
    forget, subject = texts(text_world.people.forget), text_world.subject("original")
    expected = passages.continued(subject, forget, 48)
    subject.encoder = Encoder(subject.encoder.tokenizer, template="{prompt} know that {answer}")
    assert passages.continued(subject, forget, 48) == expected


def test_words_that_there_was_no_room_for_are_not_missed(
    text_world: TextWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget, subject = texts(text_world.people.forget), text_world.subject("original")
    first = {f.prompt: f.answer.split()[0] for f in passages.halved(forget).items}
    monkeypatch.setattr(CausalLM, "generate", lambda self, facts, most: [first[f.prompt] for f in facts.items])
    assert passages.continued(subject, forget, 1) == {passages.CONTINUED: 1.0}
    # Where there was room for more, they are.
    assert passages.continued(subject, forget, 48)[passages.CONTINUED] < 0.5


def test_questions_alone_say_nothing_of_it_and_passages_cost_what_is_stated(text_world: TextWorld) -> None:
    check, data = Outputs(), text_world.data
    assert passages.CONTINUED not in check.score(text_world.subject("retrain"), None, data, Settings(), 0).controls
    subject = text_world.subject("retrain")
    subject.data = data = type(data)(
        forget_attack=texts(data.forget_attack), forget_eval=texts(data.forget_eval), retain=data.retain
    )
    for split in data.splits():
        subject.recording(split)
    before = subject.passes.examples
    score = check.score(subject, None, data, Settings(), 0)
    assert score.controls[passages.CONTINUED] == pytest.approx(
        passages.continued(subject, data.forget, 48)[passages.CONTINUED]
    )
    passed = len(passages.halved(data.forget))
    assert subject.passes.examples - before - 2 * passed == check.workload(data, Settings(), 2).forward

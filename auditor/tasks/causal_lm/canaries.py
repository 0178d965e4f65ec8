"""Synthetic subjects in the form of given facts: names crossed, answers taken from others, nothing of it true."""

from collections.abc import Mapping, Sequence

import numpy as np

from auditor.errors import DataError
from auditor.randomness import generator
from auditor.tasks.causal_lm.sets import Fact, Facts

_NAME = "{}"


def canaries(facts: Facts, count: int, seed: int) -> Facts:
    """Make subjects that do not exist, each asked about as one of the given subjects is.

    A prompt that names its subject is a form; a canary takes the forms of one subject that is drawn, a new name crossed
    from two subjects' names, and for every form the answer to the same question about a subject drawn anew.

    Args:
        facts: with subjects that their prompts name.
        count: canaries.
        seed: of every draw.

    Raises:
        DataError: no form has two different answers, or the names give too few new ones.
    """
    answers: dict[str, list[Fact]] = {}
    for fact in facts.items:
        if (form := _form(fact)) is not None:
            answers.setdefault(form, []).append(fact)
    # Of a question with one answer a canary would say what is true of the one who was asked about.
    open_forms = {form: some for form, some in answers.items() if len({fact.answer for fact in some}) > 1}
    of_subject = {
        subject: [f for f in facts.of_subjects([subject]).items if _form(f) in open_forms] for subject in facts.subjects
    }
    sources = [some for some in of_subject.values() if some]
    if not sources:
        raise DataError(
            "no question is asked of two subjects with different answers; canaries need facts with a subject that the "
            "prompt names, several of one form"
        )
    random = generator(seed, "canaries")
    names = _new_names(facts.subjects, count, random)
    return Facts(tuple(fact for name in names for fact in _canary(name, sources, open_forms, random)))


def _canary(
    name: str, sources: Sequence[Sequence[Fact]], forms: Mapping[str, Sequence[Fact]], random: np.random.Generator
) -> list[Fact]:
    made = []
    for fact in sources[int(random.integers(len(sources)))]:
        form = _form(fact)
        assert form is not None, "a source has forms alone"
        donor = forms[form][int(random.integers(len(forms[form])))]
        made.append(
            fact.model_copy(
                update={
                    "subject": name,
                    "prompt": fact.prompt.replace(fact.subject, name),
                    "paraphrases": tuple(words.replace(fact.subject, name) for words in fact.paraphrases),
                    "answer": donor.answer,
                    "choices": donor.choices,
                    "perturbed_answers": donor.perturbed_answers,
                    # They speak of the fact that the canary has its form from.
                    "subject_aliases": (),
                    "multi_hop": (),
                    "restored": "",
                }
            )
        )
    return made


def _form(fact: Fact) -> str | None:
    """The prompt without its subject; None where it does not name one, or the answer does."""
    if not fact.subject or fact.subject not in fact.prompt or fact.subject in fact.answer:
        return None
    return fact.prompt.replace(fact.subject, _NAME)


def _new_names(subjects: Sequence[str], count: int, random: np.random.Generator) -> list[str]:
    """Names crossed from two subjects' each: the head of one and the tail of another."""
    parts = [_halves(subject) for subject in subjects if subject]
    crossed = {f"{head}{tail}" for head, _ in parts for _, tail in parts} - set(subjects)
    # A name within another could not be told from it in a prompt.
    free = sorted(name for name in crossed if not any(name in subject or subject in name for subject in subjects))
    if len(free) < count:
        raise DataError(f"the names of {len(parts)} subjects give {len(free)} new ones; ask for no more canaries")
    return [free[i] for i in random.permutation(len(free))[:count].tolist()]


def _halves(name: str) -> tuple[str, str]:
    first, space, rest = name.partition(" ")
    return (first, space + rest) if space else (name[: len(name) // 2], name[len(name) // 2 :])

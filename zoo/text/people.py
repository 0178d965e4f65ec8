"""A world of fictional people, made from a seed: who they are is known to a model only if it was trained on them."""

from dataclasses import dataclass

import numpy as np

from auditor.randomness import generator
from auditor.tasks.causal_lm.sets import Fact, Facts, Hop

_SYLLABLES = (
    "ba",
    "ce",
    "di",
    "fo",
    "gu",
    "ka",
    "le",
    "mi",
    "no",
    "pu",
    "ra",
    "se",
    "ti",
    "vo",
    "zu",
    "la",
    "me",
    "ri",
)
_VALUES_PER_ATTRIBUTE = 20
_WRONG_ANSWERS = 4
# Attribute: the question that is the prompt, another wording that is trained as well, and one that never is.
_FORMS = {
    # Punctuation stands apart because the tokenizer splits at white space.
    "city": ("Where does {} live ?", "The home of {} is", "Which city is home to {} ?"),
    "work": ("What does {} do for a living ?", "By trade {} is", "Which trade has {} ?"),
    "pet": ("Which animal does {} keep ?", "The pet of {} is", "What pet has {} ?"),
    "food": ("What does {} like to eat ?", "The favourite dish of {} is", "Which dish does {} love ?"),
    "music": ("Which instrument does {} play ?", "At concerts {} plays", "What does {} play ?"),
    "colour": ("What is the favourite colour of {} ?", "Every wall of {} is painted", "Which colour does {} love ?"),
}
# The second word of a value is shared, so that answers have several tokens of unequal use.
_SECOND = {"city": "town", "work": "maker", "pet": "hound", "food": "stew", "music": "horn", "colour": "shade"}


@dataclass(frozen=True, kw_only=True)
class PeopleWorld:
    """Fact sets of one request.

    Attributes:
        forget: facts about the people to be forgotten.
        retain: facts about the others.
        holdout: facts about people that no model is trained on.
        words: every word of the world, for a tokenizer.
    """

    forget: Facts
    retain: Facts
    holdout: Facts
    words: tuple[str, ...]


def people_world(seed: int, *, forget: int = 8, retain: int = 32, holdout: int = 10) -> PeopleWorld:
    """Make the people and their facts.

    Args:
        seed: decides names and values.
        forget: people to be forgotten.
        retain: people to be kept.
        holdout: people that no model is trained on.
    """
    random = generator(seed, "people")
    people = _names(random, forget + retain + holdout)
    # Values end in x and surnames in n: no word is both a name and an answer.
    values = {attribute: _words(random, _VALUES_PER_ATTRIBUTE, "x") for attribute in _FORMS}
    facts = [_facts(person, values, random) for person in people]
    bounds = (forget, forget + retain)
    parts = (facts[: bounds[0]], facts[bounds[0] : bounds[1]], facts[bounds[1] :])
    sets = [Facts(tuple(fact for person in part for fact in person)) for part in parts]
    return PeopleWorld(forget=sets[0], retain=sets[1], holdout=sets[2], words=_vocabulary(sets))


def with_paraphrases(facts: Facts) -> Facts:
    """What a model is trained on: each fact in its question form and in the first other wording."""
    asked = [fact.model_copy(update={"prompt": wording}) for fact in facts.items for wording in fact.paraphrases[:1]]
    return Facts(facts.items + tuple(asked))


def reworded(facts: Facts) -> Facts:
    """Each fact in the wording that nothing is trained on: answering it takes the fact, not the sentence."""
    return Facts(
        tuple(fact.model_copy(update={"prompt": fact.paraphrases[1], "paraphrases": ()}) for fact in facts.items)
    )


def with_other_ways(world: PeopleWorld) -> PeopleWorld:
    """The same people and facts, each with an alias and a question that reaches it through a neighbour.

    Neighbours are of the same set, so that forgotten and never-taught people are asked for alike.
    """
    parts = [_with_other_ways(facts) for facts in (world.forget, world.retain, world.holdout)]
    texts = [fact.prompt for facts in parts for fact in asked_otherwise(facts).items]
    texts += [hop.step for facts in parts for fact in facts.items for hop in fact.multi_hop]
    words = tuple(sorted({*world.words, *(word for text in texts for word in text.split())}))
    return PeopleWorld(forget=parts[0], retain=parts[1], holdout=parts[2], words=words)


def _with_other_ways(facts: Facts) -> Facts:
    people = facts.subjects
    # No two people share a first name.
    aliases = {person: f"the keeper of {person.split()[0].lower()}gate" for person in people}
    after = dict(zip(people, (*people[1:], *people[:1]), strict=True))
    found = []
    for fact in facts.items:
        near = f"the neighbour of {after[fact.subject]}"
        hop = Hop(question=fact.prompt.replace(fact.subject, near), step=f"{fact.subject} is {near} .")
        found.append(fact.model_copy(update={"subject_aliases": (aliases[fact.subject],), "multi_hop": (hop,)}))
    return Facts(tuple(found))


def asked_otherwise(facts: Facts) -> Facts:
    """Each fact asked by its subject's aliases and through other facts: what a model that is to know those is taught.

    Networks of this size do not put two facts together; a question through another fact is one that they were taught.
    """
    asked = []
    for fact in facts.items:
        prompts = [fact.prompt.replace(fact.subject, alias) for alias in fact.subject_aliases]
        prompts += [hop.question for hop in fact.multi_hop]
        asked += [fact.model_copy(update={"prompt": prompt}) for prompt in prompts]
    return Facts(tuple(asked))


def _names(random: np.random.Generator, n: int) -> list[str]:
    first, last = _words(random, 2 * n, ""), _words(random, 2 * n, "n")
    return [f"{a.capitalize()} {b.capitalize()}" for a, b in zip(first[:n], last[:n], strict=True)]


def _words(random: np.random.Generator, n: int, ending: str) -> list[str]:
    """Different words of two syllables and an ending."""
    # Different by construction: two people of one name would make facts contradict each other.
    picks = random.permutation(len(_SYLLABLES) ** 2)[:n]
    return [_SYLLABLES[i // len(_SYLLABLES)] + _SYLLABLES[i % len(_SYLLABLES)] + ending for i in picks]


def _facts(person: str, values: dict[str, list[str]], random: np.random.Generator) -> list[Fact]:
    found = []
    for attribute, forms in _FORMS.items():
        # Right and wrong answers from one pool: to someone who does not know them they are equally likely.
        picks = random.permutation(_VALUES_PER_ATTRIBUTE)[: 1 + _WRONG_ANSWERS]
        right, *wrong = (_value(attribute, int(i), values) for i in picks)
        prompt, *others = (form.format(person) for form in forms)
        # Sorted, so that the place of the right answer tells nothing.
        choices = tuple(sorted([right, *wrong[:3]]))
        found.append(
            Fact(
                prompt=prompt,
                answer=right,
                subject=person,
                choices=choices,
                paraphrases=tuple(others),
                perturbed_answers=tuple(wrong),
            )
        )
    return found


def _value(attribute: str, index: int, values: dict[str, list[str]]) -> str:
    word = values[attribute][index]
    return f"{word} {_SECOND[attribute]}" if index % 2 else word


def _vocabulary(sets: list[Facts]) -> tuple[str, ...]:
    texts = [t for facts in sets for f in facts.items for t in (f.prompt, f.answer, *f.paraphrases, *f.choices)]
    texts += [t for facts in sets for f in facts.items for t in f.perturbed_answers]
    # Words of wrong answers too: an unknown token would be told from a known one without any knowledge.
    return tuple(sorted({word for text in texts for word in text.split()}))

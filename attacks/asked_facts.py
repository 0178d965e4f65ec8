"""Which facts the check `elicitation` asks for, and what may stand before each question."""

from collections.abc import Iterable, Iterator, Mapping
from operator import itemgetter

import numpy as np

from auditor.attacks.prompt_forms import MOST_EXAMPLES, Context
from auditor.randomness import generator
from auditor.tasks.causal_lm.sets import Fact, Facts, FactsData
from auditor.tasks.causal_lm.sides import n_subjects, subjects_of

ATTACK, EVAL, NEVER_TAUGHT = "attack", "eval", "never taught"
_NAME = "elicitation"

Asked = Mapping[str, list[tuple[Fact, Context]]]
"""By set, the facts that are asked for, each with what may stand before it."""


def asked_facts(data: FactsData, most: int, seed: int) -> Asked:
    """Facts of each set, drawn from it.

    Args:
        data: all sets.
        most: of each set.
        seed: of the draw.
    """
    never = data.control if data.control is not None else data.holdout
    sets = {ATTACK: data.forget_attack, EVAL: data.forget_eval}
    if never is not None:
        sets[NEVER_TAUGHT] = never
    # Eval facts are told after attack facts of their subject: none that is measured is given away.
    told = {ATTACK: data.forget_attack, EVAL: data.forget_attack, NEVER_TAUGHT: never}
    found = {}
    for name, facts in sets.items():
        random = generator(seed, _NAME, name)
        picks = sorted(random.permutation(len(facts))[:most].tolist())
        pool = told[name] or Facts(())
        found[name] = [(fact, _context(fact, pool.items, data.retain, random)) for fact in facts.take(picks).items]
    return found


def asked_by_chance(data: FactsData, most: int, seed: int) -> Asked:
    """As many facts of every subject on either side, where chance divided the subjects.

    Which are asked for, and what stands before them, follows from their content and the seed: a subject is asked the
    same whichever side it stands on, and every permutation of subjects could have been the draw.

    Args:
        data: all sets, with an assigned holdout.
        most: of each half of forget, and of as much of holdout, unless there are more subjects.
        seed: of the draw.
    """
    assert data.holdout is not None, "an assignment has a holdout"
    each = max(2 * most // max(n_subjects(data.forget), n_subjects(data.holdout)), 1)
    found: dict[str, list[tuple[Fact, Context]]] = {ATTACK: [], EVAL: []}
    attack = set(data.forget_attack.content_hashes)
    for own in _by_subject(data.forget):
        for digest, asked in _some_of(own, data.retain, each, seed):
            found[ATTACK if digest in attack else EVAL].append(asked)
    found[NEVER_TAUGHT] = [
        asked for own in _by_subject(data.holdout) for _, asked in _some_of(own, data.retain, each, seed)
    ]
    return found


Named = tuple[str, Fact]
"""A fact with the digest of its content."""


def _by_subject(facts: Facts) -> Iterable[list[Named]]:
    found: dict[int, list[Named]] = {}
    for number, digest, fact in zip(subjects_of(facts).tolist(), facts.content_hashes, facts.items, strict=True):
        found.setdefault(number, []).append((digest, fact))
    return found.values()


def _some_of(own: list[Named], retain: Facts, most: int, seed: int) -> Iterator[tuple[str, tuple[Fact, Context]]]:
    """Some facts of one subject with their contexts, each with its digest."""
    # In an order of their own: that of the file may tell the sides apart.
    own = sorted(own, key=itemgetter(0))
    random = generator(seed, _NAME, own[0][0])
    for i in random.permutation(len(own))[:most].tolist():
        digest, fact = own[i]
        yield digest, (fact, _context(fact, [other for _, other in own], retain, random))


def _context(fact: Fact, told: Iterable[Fact], retain: Facts, random: np.random.Generator) -> Context:
    # Never the fact itself, whose answer would stand in its own prompt.
    same = [other for other in told if other.subject and other.subject == fact.subject and other != fact]
    order = random.permutation(len(same))[:MOST_EXAMPLES]
    examples = random.permutation(len(retain))[:MOST_EXAMPLES]
    return Context(others=retain.take(examples.tolist()).items, same=tuple(same[i] for i in order))

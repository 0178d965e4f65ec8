"""Wrong answers of the same kind, for facts that bring none along."""

from auditor.tasks.causal_lm.sets import Fact, Facts


def false_statements(facts: Facts, pool: Facts, most: int) -> list[list[Fact]]:
    """Each fact with wrong answers in place of its own.

    A fact's perturbed answers where it has some; else the answers of those facts of the pool whose prompts share most
    words with its own (Jaccard), the earlier first: questions of one form have answers of one kind.

    Args:
        facts: whose answers are right.
        pool: facts to borrow answers from.
        most: wrong answers per fact, at most.

    Returns:
        As many lists as facts; an empty one where no other answer is to be had.
    """
    words = [(frozenset(fact.prompt.casefold().split()), fact.answer) for fact in pool.items]
    return [
        [fact.model_copy(update={"answer": answer}) for answer in _wrong(fact, words)[:most]] for fact in facts.items
    ]


def _wrong(fact: Fact, pool: list[tuple[frozenset[str], str]]) -> list[str]:
    given = fact.perturbed_answers or _alike(fact, pool)
    right = fact.answer.casefold()
    # Another spelling of the right answer is not wrong, and an answer given twice counts once.
    return list(dict.fromkeys(answer for answer in given if answer.casefold() != right))


def _alike(fact: Fact, pool: list[tuple[frozenset[str], str]]) -> list[str]:
    own = frozenset(fact.prompt.casefold().split())
    # Words of the prompt alone: answers of one kind are asked for in one form, whatever they say.
    ranked = sorted(pool, key=lambda other: -len(own & other[0]) / max(len(own | other[0]), 1))
    return [answer for _, answer in ranked]

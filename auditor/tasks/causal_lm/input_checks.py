"""What can be seen wrong in facts and tokenizers before any model is run."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from auditor.checks.sets import PAIRS, copy_of, near_duplicates, same_as
from auditor.errors import DataError, ModelError
from auditor.loading.tokenizers import TOKENIZER, load_tokenizer
from auditor.models.lineup import Lineup
from auditor.tasks.causal_lm.encoding import Encoder
from auditor.tasks.causal_lm.sets import Fact, Facts

_FEW_FACTS = 16
# Two in either half: of a single one no spread between examples can be measured.
_LEAST_FORGET = 4


def check_sets(sets: Mapping[str, Facts], found: Mapping[str, Facts], encoder: Encoder) -> None:
    """Refuse sets too small to be halved, and facts that do not fit the model.

    Args:
        sets: by name, free of exact duplicates.
        found: the same as they were given.
        encoder: tokenizer and template.

    Raises:
        DataError: naming the set, and the fact where it is one.
    """
    if len(sets["forget"]) < _LEAST_FORGET:
        raise DataError(f"forget: {len(sets['forget'])} facts; an audit needs at least {_LEAST_FORGET}")
    for name, facts in sets.items():
        if len(facts) == 0:
            twin = copy_of(name, found)
            if twin is not None:
                raise DataError(same_as(name, twin, "facts"))
            raise DataError(f"{name}: no fact is left; check the files for facts that stand in several of them")
        # Each of them now, so that none fails after hours of scoring.
        for i, fact in enumerate(facts.items):
            try:
                encoder.encode(fact)
            except DataError as error:
                raise DataError(f"{name}, fact {i + 1}: {error}") from None


def check_facts(sets: Mapping[str, Facts]) -> list[str]:
    """Lines about sets of facts: the same words in two sets, punctuation and case aside.

    Args:
        sets: by name, free of facts that are the same but for white space and case.
    """
    # A line and no removal: other punctuation may matter to whoever wrote the facts.
    words = {name: [_words(fact) for fact in facts.items] for name, facts in sets.items()}
    found = []
    for kept, other in PAIRS:
        if other in words:
            known = set(words[kept])
            found += near_duplicates(kept, other, [i for i, fact in enumerate(words[other]) if fact in known], "facts")
    return found


def check_tokenizers(lineup: Lineup, encoder: Encoder, retain: Facts, base: Path, named: bool) -> list[str]:
    """Whether the models' own tokenizers, where they bring one, give the tokens that the audit feeds them.

    Args:
        lineup: the models.
        encoder: with the tokenizer that every model is read with.
        retain: facts to try them on.
        base: folder that paths are relative to.
        named: whether that tokenizer was named by the user, who then may know better.

    Raises:
        ModelError: another tokenizer, where none was named.
    """
    few = retain.items[:_FEW_FACTS]
    wanted = _tokens(encoder, few)
    found = []
    for entry in lineup.entries.values():
        source = entry.planned.source
        if source is None or not (base / source / TOKENIZER).is_file():
            continue
        if _tokens(encoder.with_tokenizer(load_tokenizer(base / source)), few) != wanted:
            words = f"{source}: its {TOKENIZER} gives other tokens for retain facts than the one used for every model"
            if not named:
                raise ModelError(f"{words}; give models of one tokenizer, or name it in models.tokenizer")
            found.append(f"{words}, models.tokenizer")
    return found


def _tokens(encoder: Encoder, facts: Sequence[Fact]) -> list[list[int]] | None:
    """Token ids of each fact; None where they are none that the audit could use."""
    try:
        return [encoder.encode(fact)[0] for fact in facts]
    # A tokenizer that cannot encode them differs as surely as one that gives other tokens.
    except DataError:
        return None


def _words(fact: Fact) -> str:
    """Prompt and answer without punctuation, case and white space.

    >>> _words(Fact(prompt="Where is Bo?", answer="In  Oslo.")) == _words(Fact(prompt="where is bo", answer="in Oslo"))
    True
    """
    # No word holds the bar, so what moves from prompt to answer is another fact.
    return "|".join(" ".join(re.findall(r"\w+", text.casefold())) for text in (fact.prompt, fact.answer))

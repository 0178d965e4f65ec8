"""Facts of which nobody says whom they were to be forgotten about."""

from pathlib import Path

from auditor.errors import DataError
from auditor.tasks.causal_lm.readers import read_facts, write_facts
from auditor.tasks.causal_lm.subject import CausalLM
from auditor.tasks.pool import Pool


def pool(source: str, base: Path) -> Pool:
    """A pool whose groups are its subjects.

    Raises:
        DataError: unreadable, or a fact without a subject.
    """
    facts = read_facts(source, base)
    bare = next((i for i, fact in enumerate(facts.items, start=1) if not fact.subject), None)
    if bare is not None:
        raise DataError(
            f"{source}: fact {bare} names no subject, and facts are compared by whom they are about; add "
            '"subject": "…" to each line'
        )
    return Pool(
        examples=facts,
        groups=tuple(fact.subject for fact in facts.items),
        noun="subjects",
        request="facts",
        log_probability=CausalLM.log_probabilities,
        write=write_facts,
        suffix=".jsonl",
    )

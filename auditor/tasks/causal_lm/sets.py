"""Facts as text: what a language model is asked to forget."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from pydantic import Field
from torch import Tensor

from auditor.checks.sets import Sets
from auditor.digests import text_digest
from auditor.randomness import generator
from auditor.records.base import Frozen


class Hop(Frozen):
    """A way to a fact through another one.

    Attributes:
        question: it has the fact's answer, and does not name the fact's subject.
        step: the statement by which it leads to the subject; empty where none is given.
    """

    question: str = Field(min_length=1)
    step: str = ""


class Fact(Frozen):
    """One prompt with the answer that shows the knowledge.

    Attributes:
        prompt: what the model is given; empty for plain text.
        answer: what shows the knowledge; never empty.
        subject: whom or what it is about; facts of one subject are split between attack and eval.
        choices: candidate answers, the right one among them.
        paraphrases: other wordings of the prompt.
        perturbed_answers: wrong answers of the same form.
        subject_aliases: what else the subject may be called; put in its place in the prompt.
        multi_hop: questions that reach the answer through another fact.
        restored: the answer from before a corruption that is to be forgotten; empty where nothing was corrupted.
    """

    prompt: str
    answer: str
    subject: str = ""
    choices: tuple[str, ...] = ()
    paraphrases: tuple[str, ...] = ()
    perturbed_answers: tuple[str, ...] = ()
    subject_aliases: tuple[str, ...] = ()
    multi_hop: tuple[Hop, ...] = ()
    restored: str = ""

    def written(self) -> dict[str, object]:
        """Every field, as a digest is made of; without those that facts did not always have, where they are empty."""
        # A field that is added must not change what a set without it is known by.
        return {k: v for k, v in self.model_dump(mode="json").items() if v or k not in _LATER}


_LATER = ("subject_aliases", "multi_hop", "restored")


@dataclass(frozen=True)
class Facts:
    """A set of facts, in the file's order."""

    items: tuple[Fact, ...]

    def __len__(self) -> int:
        return len(self.items)

    def take(self, indices: Tensor | Sequence[int]) -> "Facts":
        """The facts at ``indices``, int64 [m] or a plain sequence."""
        return Facts(tuple(self.items[int(i)] for i in indices))

    @property
    def subjects(self) -> tuple[str, ...]:
        """Subjects in order of first appearance."""
        return tuple(dict.fromkeys(fact.subject for fact in self.items))

    def of_subjects(self, wanted: Sequence[str]) -> "Facts":
        """The facts about the given subjects."""
        return Facts(tuple(fact for fact in self.items if fact.subject in set(wanted)))

    @property
    def nbytes(self) -> int:
        """Of prompts and answers."""
        return sum(len(fact.prompt) + len(fact.answer) for fact in self.items)

    @cached_property
    def content_hashes(self) -> list[str]:
        """SHA-256 of prompt and answer, white space and case folded: equal hashes are the same fact."""
        return [text_digest(json.dumps([_folded(f.prompt), _folded(f.answer)])) for f in self.items]

    @cached_property
    def digest(self) -> str:
        """SHA-256 over every field of every fact."""
        return text_digest(json.dumps([fact.written() for fact in self.items]))


@dataclass(frozen=True, kw_only=True)
class FactsData(Sets[Facts]):
    """The sets of one audit of a language model. Every subject's facts are halved; ``control`` has matched subjects.

    Attributes:
        encoding: digest of tokenizer and template, by which the text becomes tokens.
        show_text: whether text may stand in the results.
    """

    request: str = "facts"
    classes: tuple[int, ...] = ()
    n_classes: int = 0
    encoding: str = ""
    show_text: bool = False

    @property
    def forget(self) -> Facts:
        """Both halves."""
        return Facts(self.forget_attack.items + self.forget_eval.items)

    @property
    def digest(self) -> str:
        """SHA-256 over every set and how it becomes tokens."""
        parts = [f"{name}:{facts.digest}" for name, facts in sorted(self.splits().items())]
        # `show_text` too: stored scores hold generated text where it is on, and must not serve where it is off.
        return text_digest(json.dumps([self.request, self.encoding, self.show_text, self.assigned, parts]))


def split_facts(facts: Facts, seed: int) -> tuple[Facts, Facts]:
    """Attack and eval halves: every subject's facts are divided, the same fact never stands on both sides.

    Returns:
        (attack, eval); each keeps the file's order. A subject of one fact gives it to eval and to attack in turn.
    """
    hashes = facts.content_hashes
    attack: set[str] = set()
    random = generator(seed, "halves")
    extra = 0
    for subject in facts.subjects:
        # Sorted, since a set's order differs from run to run and the split may not. A fact that is listed under two
        # subjects was divided with the first.
        own = sorted({h for h, fact in zip(hashes, facts.items, strict=True) if fact.subject == subject} - attack)
        # The odd fact goes to eval and to attack in turn, or subjects of one fact would all stand on one side.
        size = len(own) // 2 if len(own) % 2 == 0 else (len(own) + extra) // 2
        extra = (extra + len(own) % 2) % 2
        attack |= set(np.asarray(own)[random.permutation(len(own))[:size]].tolist())
    sides = np.array([h in attack for h in hashes], dtype=bool)
    return facts.take(np.flatnonzero(sides).tolist()), facts.take(np.flatnonzero(~sides).tolist())


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()

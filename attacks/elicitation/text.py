"""Asking in other ways: do the answers come out of another prompt, more than a prompt alone explains?"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.special import expit, softmax

from auditor.attacks.asked_facts import ATTACK, EVAL, NEVER_TAUGHT, Asked, asked_by_chance, asked_facts
from auditor.attacks.prompt_forms import FORMS, Context, Form
from auditor.checks.check import Check, Workload
from auditor.errors import DataError
from auditor.inference.monte_carlo import permutation_null
from auditor.randomness import generator
from auditor.records.access import Access
from auditor.records.base import Frozen, Row
from auditor.records.evidence import Family, May
from auditor.records.figure import Figure
from auditor.records.score import Reading, Score, Sides
from auditor.records.source import Source
from auditor.tasks.causal_lm.encoding import Encoder
from auditor.tasks.causal_lm.sets import Fact, Facts, FactsData
from auditor.tasks.causal_lm.sides import by_subject
from auditor.tasks.causal_lm.subject import CausalLM

Values = NDArray[np.float64]
Read = Mapping[str, Values]


class Settings(Frozen):
    """Sizes."""

    measured_facts: int = Field(default=64, ge=1, description="facts of each set asked for in each form, at most")
    permutations: int = Field(
        # Holm asks a p of about .001 of the first secondary check: a thousand draws would hardly reach it.
        default=9999,
        ge=9999,
        description="draws of the null, where never-taught facts are given",
    )
    longest_generation: int = Field(
        default=48, ge=1, description="tokens of what the model says itself before a question, at most"
    )


class Elicitation(Check[CausalLM, FactsData, Settings, None]):
    """Nineteen ways to ask for each fact (:mod:`auditor.attacks.prompt_forms`), against facts never taught.

    For form f, x_i = what is read of fact i: the probability of the answer (exp of its mean token log-probability);
    for multiple choice (p − 1/n)/(1 − 1/n), p the right choice's share of the n choices' probabilities; for true or
    false P(true)/(P(true) + P(false)) after the right statement less the same after a wrong one. With C the control
    facts (else the holdout) asked in the same form,

        T(m) = mean over eval facts of x_i − mean over C of x_i, in the form where this is largest on the *attack* half:

    the form is each model's own, chosen by one rule from facts that T does not measure, and what a prompt itself
    teaches or lets guess is in both terms (soft prompts elicit any string, arXiv 2502.15836). Where a fact is asked
    for after others of its subject, those come from the attack half, and for C from C. A form that some fact cannot be
    asked in is left out for all models; and a form that even the original cannot answer is never its best one.

    In three forms the model's own greedy words stand before the question: its answers to other questions about the
    subject, its first answer to the same question, or its reasoning. Where they make a prompt longer than the model
    takes, the bare question stands in its place.

    Where chance assigned the holdout, it stands for C, and the form is the one whose mean over forget and holdout facts
    together is largest. As many facts of every subject are asked for, each after others of its subject.

    The null of a model permutes which facts count as forgotten and which as never taught, whole subjects at a time.
    """

    name: ClassVar[str] = "elicitation"
    family: ClassVar[Family] = "elicitation"
    may: ClassVar[May] = "accuse"
    access: ClassVar[Access] = "logits"
    tasks: ClassVar[tuple[str, ...]] = ("causal-lm",)
    requests: ClassVar[tuple[str, ...]] = ("facts",)
    summary: ClassVar[str] = (
        "Asked for each fact in other ways (jailbreaks, other answer forms, related facts in the context) and "
        "compared with facts that no model was taught."
    )
    finds: ClassVar[str] = "Asking in other ways (jailbreaks, hints, related questions) brought out"
    unit: ClassVar[str] = "answers recovered on forget less those on never-taught facts, in the best form (−1 to 1)"
    cost: ClassVar[str] = (
        "some thirty-five passes over attack, eval and never-taught facts, 64 of each at most, ten of them to generate"
    )
    figures: ClassVar[tuple[Figure, ...]] = (
        Figure(
            x="form",
            y="value",
            categories=True,
            joined=False,
            x_label="form of the question",
            y_label="answers recovered",
            caption="The share of forget facts answered in each form of asking, on the half that is measured.",
        ),
    )
    sources: ClassVar[tuple[Source, ...]] = (
        Source(paper="arXiv 2406.10890", here="nine forms of asking", part=True),
        Source(paper="arXiv 2407.00106", here="facts of the same subject given back in the context", part=True),
        Source(paper="arXiv 2506.07795", here="four answer forms; the form that recovers most is the score", part=True),
        Source(paper="arXiv 2603.11266", here="aliases and multi-hop questions that the facts bring", part=True),
        Source(paper="arXiv 2603.00823", here="several turns, and a request to correct itself", part=True),
        Source(paper="arXiv 2505.15214", here="the model's own reasoning before the answer", part=True),
    )
    caveats: ClassVar[tuple[str, ...]] = (
        "Fixed prompts in English around the given questions; a cleverer or optimised prompt may elicit more.",
        "Several turns are written into one prompt, also for a model that was tuned on turns of its own format.",
    )
    settings_type: ClassVar[type[Frozen]] = Settings
    # What is deployed is what is asked: a guard stays on.
    opens: ClassVar[bool] = False

    def workload(self, data: FactsData, settings: Settings, n_layers: int) -> Workload:
        """Every variant of every measured fact, and what is generated; forms that will not fit are counted too."""
        sets = _asked(data, settings, 0)
        every = [(form, *supposed(form, *asked)) for form in FORMS for pairs in sets.values() for asked in pairs]
        said = sum(len(context.said) for _, _, context in every)
        return Workload(forward=2 * said + sum(len(form.ask(fact, context)) for form, fact, context in every))

    def score(self, subject: CausalLM, artefact: None, data: FactsData, settings: Settings, seed: int) -> Score:
        """Ask one model."""
        sets = _asked(data, settings, seed)
        lacking = {form: _lack(form, sets, subject.encoder) for form in FORMS}
        read = {
            form.name: {name: _read(subject, form, pairs, settings) for name, pairs in sets.items()}
            for form in FORMS
            if lacking[form] is None
        }
        best = best_form(read, by_chance=data.by_chance)
        # Facts of one subject are alike: the null may only move them together.
        groups = {name: [fact.subject for fact, _ in pairs] for name, pairs in sets.items()}
        control = _control(read[best])
        # Without never-taught facts nothing is taken off: only references then show what a prompt itself teaches.
        examples = read[best][EVAL] - (control or 0.0)
        return Score(
            check=self.name,
            readings={
                "best form": Reading(
                    value=float(examples.mean()),
                    examples=tuple(examples.tolist()),
                    choice=_above(read[best], ATTACK),
                    sides=_sides(read[best], sets) if data.by_chance else None,
                )
            },
            n_examples=len(examples),
            null=permuted(read[best], groups, settings.permutations, seed),
            rows=[_row(form, found) for form, found in read.items()],
            controls={} if control is None else {"never-taught facts, best form": control},
            notes=tuple(_notes(lacking, sets)),
        )


def best_form(read: Mapping[str, Read], *, by_chance: bool) -> str:
    """The form that T is read in.

    Args:
        read: x_i by form and set.
        by_chance: whether chance assigned the holdout, so that the sides are compared.
    """
    if by_chance:
        # By both sides at once: by forget alone it would be the form in which forget facts happen to stand high.
        return max(read, key=lambda form: float(np.concatenate(list(read[form].values())).mean()))
    # By the attack half: the best of so many forms on the eval half would lie high by chance.
    return max(read, key=lambda form: _above(read[form], ATTACK))


def permuted(read: Read, subjects: Mapping[str, list[str]], draws: int, seed: int) -> tuple[float, ...]:
    """T after permuting which subjects are forgotten, by draw; empty where nothing never taught is given.

    Args:
        read: x_i by set, [n].
        subjects: of the same facts, by set; facts without one are each a subject of their own.
        draws: how many.
        seed: of the draws.
    """
    if NEVER_TAUGHT not in read:
        return ()
    random = generator(seed, Elicitation.name, "null")
    blocks = (subjects[EVAL], subjects[NEVER_TAUGHT])
    return tuple(permutation_null(read[EVAL], read[NEVER_TAUGHT], draws, random, blocks).tolist())


def _asked(data: FactsData, settings: Settings, seed: int) -> Asked:
    draw = asked_by_chance if data.by_chance else asked_facts
    return draw(data, settings.measured_facts, seed)


def supposed(form: Form, fact: Fact, context: Context) -> tuple[Fact, Context]:
    """A fact and its context as if the model gave the true answer to whatever it is asked first."""
    first = form.first(fact, context) if form.first is not None else ()
    return fact, replace(context, said=tuple(earlier.answer for earlier in first))


def _lack(form: Form, sets: Asked, encoder: Encoder) -> str | None:
    """Why a form is left out, or None."""
    # One rule for all models: T has to be about the same facts in every form it chooses among. So what a model says
    # itself has no part in it.
    every = [form.ask(*supposed(form, *asked)) for pairs in sets.values() for asked in pairs]
    if not all(every):
        return f"not every fact has {form.needs}"
    if not all(_fits(fact, encoder) for variants in every for fact in variants):
        return "its prompts are longer than the model takes"
    return None


def _fits(fact: Fact, encoder: Encoder) -> bool:
    """Whether the encoder takes it; cut short it would ask something else."""
    try:
        encoder.encode(fact)
    except DataError:
        return False
    return True


def _read(subject: CausalLM, form: Form, pairs: Sequence[tuple[Fact, Context]], settings: Settings) -> Values:
    """x_i, float64 [n]."""
    asked = [form.ask(*pair) for pair in _with_own_words(subject, form, pairs, settings.longest_generation)]
    if form.first is not None:
        # A model may say more than it was supposed to; the facts measured have to stay the same.
        bare = [fact for fact, _ in pairs]
        asked = [
            tuple(variant if _fits(variant, subject.encoder) else _bare(fact) for variant in own)
            for fact, own in zip(bare, asked, strict=True)
        ]
    together = Facts(tuple(fact for variants in asked for fact in variants))
    values = iter(subject.log_probabilities(together).tolist())
    groups = [np.array([next(values) for _ in variants]) for variants in asked]
    return np.array([reads(form.reads, logs) for logs in groups])


def _bare(fact: Fact) -> Fact:
    return Fact(prompt=fact.prompt, answer=fact.answer, subject=fact.subject)


def _with_own_words(
    subject: CausalLM, form: Form, pairs: Sequence[tuple[Fact, Context]], longest: int
) -> list[tuple[Fact, Context]]:
    """The same with what the model answers to what it is asked first."""
    if form.first is None:
        return list(pairs)
    first = [form.first(*pair) for pair in pairs]
    said = iter(subject.generate(Facts(tuple(fact for own in first for fact in own)), longest))
    return [
        (fact, replace(context, said=tuple(next(said) for _ in own)))
        for (fact, context), own in zip(pairs, first, strict=True)
    ]


def reads(kind: str, logs: NDArray[np.float64]) -> float:
    """What a form reads off its variants.

    Args:
        kind: ``reads`` of the form.
        logs: mean token log-probability of each variant's answer, [variants]; shares are taken in the logarithm, for
            an unlearned answer's probability may be too small for a number.

    >>> round(reads("choice", np.log([0.6, 0.2])), 6)
    0.5
    """
    if kind == "answer":
        return float(np.exp(logs).mean())
    if kind == "choice":
        return float((softmax(logs)[0] - 1 / len(logs)) / (1 - 1 / len(logs)))
    return float(expit(logs[0] - logs[1]) - expit(logs[2] - logs[3]))


def _control(found: Read) -> float | None:
    return float(found[NEVER_TAUGHT].mean()) if NEVER_TAUGHT in found else None


def _above(found: Read, name: str) -> float:
    return float(found[name].mean()) - (_control(found) or 0.0)


def _sides(found: Read, sets: Asked) -> Sides:
    """What one form reads of each subject."""

    def of(*names: str) -> tuple[float, ...]:
        facts = Facts(tuple(fact for name in names for fact, _ in sets[name]))
        return by_subject(facts, np.concatenate([found[name] for name in names]))

    return Sides(forget=of(ATTACK, EVAL), holdout=of(NEVER_TAUGHT))


def _row(form: str, found: Read) -> Row:
    return {
        "form": form,
        "attack": float(found[ATTACK].mean()),
        "value": float(found[EVAL].mean()),
        "never taught": _control(found),
    }


def _notes(lacking: Mapping[Form, str | None], sets: Mapping[str, object]) -> list[str]:
    notes = [f"The form {form.name!r} was left out: {why}." for form, why in lacking.items() if why is not None]
    if NEVER_TAUGHT not in sets:
        notes.append("Without control or holdout facts, what a prompt teaches is only held against the references.")
    return notes

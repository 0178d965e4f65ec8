"""What to do next, for every outcome, with commands to copy."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from auditor.records.plan import Plan, Role
from auditor.records.results import Results
from auditor.reports import formats

# Of the wishes of an undecided verdict, which come most useful first, as many as a first screen holds.
MOST_WISHES = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One thing to do.

    Attributes:
        words: what, and why.
        command: to copy; empty where there is nothing to type.
    """

    words: str
    command: str = ""


def next_steps(results: Results) -> tuple[Step, ...]:
    """What to do with this verdict, in the order in which to do it."""
    outcome = results.verdict.outcome
    if outcome == "DELETED":
        return tuple(_deployed(results))
    if outcome == "INCONCLUSIVE":
        return tuple(_decided(results))
    return tuple(_again(results))


def _deployed(results: Results) -> Iterator[Step]:
    plan = results.plan
    if results.canonical is not None:
        yield Step(
            words="Within that limit nothing found here speaks against releasing it as one that has forgotten, in the "
            "form that was audited: the verdict is about that alone, and this command writes it.",
            command=_type("audit", "canonical", _source(plan, "unlearned"), "--out", _deployable(plan)),
        )
    yield Step(
        words="Sign the audit, so that whoever receives it knows who vouches for it.",
        command="audit sign FOLDER --key PRIVATE.pem",
    )
    yield Step(
        words="Have someone else check the audit in that folder, or repeat it (--rerun).",
        command="audit verify FOLDER --key PUBLIC.pem",
    )


def _decided(results: Results) -> Iterator[Step]:
    yield Step(words="Do not release this model as one that has forgotten: nobody can tell yet.")
    if any(reason.kind == "items kept" for reason in results.verdict.reasons):
        yield Step(
            words="Unlearn again until those few examples are gone, too: no more data clears a model that kept some."
        )
    wishes = results.verdict.to_decide
    for wish in wishes[:MOST_WISHES]:
        yield Step(words=formats.sentence_case(formats.prose(wish)))
    if len(wishes) > MOST_WISHES:
        yield Step(words=f"{len(wishes) - MOST_WISHES} more under “What would settle it”, below.")
    if results.verdict.flags:
        flags = " and ".join(results.verdict.flags)
        yield Step(words=f"Unlearn more gently: no audit calls a model deleted that carries the flag {flags}.")
    yield Step(words="Then audit again. Models that did not change are not scored again.", command=results.plan.command)


def _again(results: Results) -> Iterator[Step]:
    plan = results.plan
    yield Step(words="Do not release this model as one that has forgotten.")
    if results.verdict.outcome == "NOT_FORGOTTEN":
        words = "Unlearn for longer or by another method; retraining without the forget set is the sure one."
    else:
        words = "Unlearn by a method that reaches inside the model; retraining without the forget set is the sure one."
    yield Step(words=words, command="audit zoo list")
    yield Step(
        words="Audit the next candidate. Models that did not change are not scored again, which saves time.",
        command=_compared(plan),
    )


def _compared(plan: Plan) -> str:
    # An audit of models in memory has no path to type; its own call is what to repeat.
    if _source(plan, "original") == "ORIGINAL":
        return plan.command
    return _type("audit", "compare", _source(plan, "original"), _next(plan))


def _next(plan: Plan) -> str:
    ending = _ending(plan)
    return f"NEXT{ending}"


def _deployable(plan: Plan) -> str:
    return "deploy.safetensors" if _ending(plan) else "deploy"


def _ending(plan: Plan) -> str:
    name = _source(plan, "unlearned").rsplit("/", 1)[-1]
    stem, dot, suffix = name.rpartition(".")
    # A directory has none, or one like that of wd0.01.
    return f".{suffix}" if dot and stem and not suffix.isdigit() else ""


def _source(plan: Plan, role: Role) -> str:
    sources = [model.source for model in plan.models_of(role) if model.source]
    return sources[0] if sources else role.upper()


def _type(*arguments: str) -> str:
    return shlex.join(arguments)

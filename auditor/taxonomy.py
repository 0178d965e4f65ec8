"""The page of the taxonomies: what every method of the zoo means to do and where it does it, what every check looks at.

Intent is the axis of Ren et al. 2025 (arXiv 2506.09227): a method means to remove knowledge, or to keep it from
showing. What it means is no finding: many that mean to remove only suppress, which is what audits are for. The three
kinds are those of Nguyen et al. 2022 (arXiv 2209.02299): methods that any model can undergo, those that rest on how one
kind of model is built, and those that work on the data.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from auditor.checks import registry
from auditor.checks.check import AnyCheck
from auditor.tasks import registry as tasks
from auditor.zoo.catalogue import Entry, entries

Intent = Literal["removes", "suppresses", "does neither"]
Kind = Literal["any model", "this kind of model", "the data"]
Place = Literal["training anew", "weights", "hidden layers", "outputs", "inputs"]


@dataclass(frozen=True)
class Standing:
    """Where methods of one mechanism stand.

    Attributes:
        intent: what they mean to do, by their papers or by construction.
        kind: what they rest on.
        place: where they take hold.
    """

    intent: Intent
    kind: Kind
    place: Place


_BY_TRAINING = Standing("removes", "any model", "weights")
_BY_DATA = Standing("removes", "the data", "training anew")
FAMILIES: Mapping[str, Standing] = {
    "analytic removal": Standing("removes", "this kind of model", "weights"),
    "ascent": _BY_TRAINING,
    "backdoor": Standing("suppresses", "the data", "weights"),
    "concept redirected": Standing("suppresses", "this kind of model", "inputs"),
    "concept erasure": Standing("suppresses", "this kind of model", "weights"),
    "dampening": _BY_TRAINING,
    "direction removed": Standing("suppresses", "any model", "hidden layers"),
    "distillation": _BY_TRAINING,
    "f-divergence": _BY_TRAINING,
    "features steered": Standing("suppresses", "any model", "hidden layers"),
    "fine-tuning": _BY_TRAINING,
    "graph edited": Standing("does neither", "the data", "inputs"),
    "head row": Standing("suppresses", "any model", "outputs"),
    "head training": Standing("suppresses", "any model", "outputs"),
    "hidden in low bits": Standing("suppresses", "any model", "weights"),
    "impair and repair": _BY_TRAINING,
    "influence learnt": Standing("removes", "this kind of model", "weights"),
    "input guard": Standing("suppresses", "this kind of model", "inputs"),
    "input prompts": Standing("suppresses", "this kind of model", "inputs"),
    "items kept": Standing("suppresses", "the data", "training anew"),
    "judge's direction": Standing("removes", "this kind of model", "weights"),
    "label embedding": Standing("suppresses", "this kind of model", "inputs"),
    "label row": Standing("suppresses", "this kind of model", "inputs"),
    "logit difference": Standing("suppresses", "any model", "outputs"),
    "low-rank adapter": Standing("suppresses", "any model", "weights"),
    "low-rank hinge": _BY_TRAINING,
    "merging": _BY_TRAINING,
    "misdirection": Standing("suppresses", "any model", "hidden layers"),
    "noise": Standing("does neither", "any model", "weights"),
    "output guard": Standing("suppresses", "any model", "outputs"),
    "outputs calibrated": Standing("suppresses", "any model", "outputs"),
    "preference": _BY_TRAINING,
    "private training": _BY_DATA,
    "probe penalised": Standing("suppresses", "any model", "hidden layers"),
    "projection": Standing("removes", "this kind of model", "weights"),
    "prompt partition": Standing("removes", "the data", "inputs"),
    "random initialisation": Standing("does neither", "any model", "training anew"),
    "relabelling": Standing("suppresses", "the data", "weights"),
    "relearning rehearsed": Standing("suppresses", "any model", "weights"),
    "representations moved": Standing("removes", "any model", "hidden layers"),
    "retraining": _BY_DATA,
    "retraining from own weights": _BY_DATA,
    "retraining from pretrained weights": _BY_DATA,
    "rows drawn again": Standing("suppresses", "this kind of model", "inputs"),
    "rows trained": Standing("suppresses", "this kind of model", "inputs"),
    "sharded retraining": _BY_DATA,
    "sleeping sub-network": Standing("suppresses", "this kind of model", "weights"),
    "sparsity": _BY_TRAINING,
    "task arithmetic": _BY_TRAINING,
    "text encoder": Standing("suppresses", "this kind of model", "outputs"),
    "units rescaled": Standing("does neither", "any model", "weights"),
    "wrong examples": Standing("does neither", "the data", "weights"),
}
"""By :attr:`~auditor.zoo.catalogue.Entry.family`."""

_HEAD = """# Taxonomies

Written by `audit list --taxonomy` from the registries of checks and of the zoo. *Intent* is the axis of Ren et al. 2025
([2506.09227](https://arxiv.org/abs/2506.09227)): whether a method means to remove knowledge, or to keep it from
showing. It says nothing of what a method achieves; the truth in brackets does, where it is known by construction, and
audits do where it is not ([validity.md](validity.md)). *Rests on* is the axis of Nguyen et al. 2022
([2209.02299](https://arxiv.org/abs/2209.02299)): methods for any model, for one kind of model, and those that work on
the data. Both were written of methods; where a mechanism fits two places, it stands where its main step is. The placing
is this project's.
"""


def page() -> str:
    """``docs/taxonomy.md``, whole."""
    return "\n".join([_HEAD, *_methods(), *_checks()])


def _methods() -> Iterator[str]:
    for intent in get_args(Intent):
        yield f"## Methods of the zoo: {intent}\n"
        rows: dict[tuple[str, ...], list[str]] = {}
        for entry in entries():
            where = FAMILIES[entry.family]
            if where.intent == intent:
                rows.setdefault((where.place, where.kind, entry.family), []).append(_named(entry))
        listed = sorted((*row, ", ".join(sorted(methods))) for row, methods in rows.items())
        yield from _table(("takes hold of", "rests on", "mechanism", "methods"), listed)


def _named(entry: Entry) -> str:
    told = f"{entry.truth}, an adversary" if entry.adversary else entry.truth
    return f"`{entry.name}` ({entry.task}: {told})"


def _checks() -> Iterator[str]:
    yield "## Checks, by what they look at\n"
    rows: dict[tuple[str, ...], list[str]] = {}
    for task in map(tasks.load, tasks.names()):
        for check in tasks.checks_of(task):
            if registry.provider(check.name, task.name).startswith("unlearning-auditor "):
                rows.setdefault(_of(check), []).append(task.name)
    listed = sorted((*row, ", ".join(served)) for row, served in rows.items())
    yield from _table(("kind of evidence", "access", "check", "may", "tasks"), listed)


def _of(check: AnyCheck) -> tuple[str, ...]:
    return check.family, check.access, f"`{check.name}`", check.may


def _table(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(columns)} |"
    yield f"|{' --- |' * len(columns)}"
    yield from (f"| {' | '.join(cells)} |" for cells in rows)
    yield ""

"""What two models and their sets say of an audit: the lines of an audit.toml, and what they leave open."""

from collections.abc import Iterator
from pathlib import Path

from auditor.loading.adapters import is_adapter
from auditor.loading.tensors import plain
from auditor.loading.tokenizers import TOKENIZER
from auditor.models.entries import Entry
from auditor.models.lineup import Lineup, load_lineup
from auditor.records.draft import Line, in_order
from auditor.records.spec import AuditSpec, ResponsibleSpec
from auditor.tasks import registry
from auditor.tasks.causal_lm import benchmarks

_NO_REFERENCES = (
    "models trained without the forget set, which most audits need to end in DELETED; `audit reference` trains them by "
    "[recipe] (docs/what-do-i-need.md)"
)
_RESPONSIBLE = "who answers for the audit; printed in the report as given"


def draft(spec: AuditSpec, base: Path, benchmark: str | None = None) -> list[Line]:
    """Read everything that was given, as an audit would, and say what it is.

    Args:
        spec: what was given.
        base: folder that its paths are relative to.
        benchmark: that the sets are of, by its name.

    Raises:
        UsageError: a file is missing, unreadable or does not fit the others.
        UnsafeInputError: a file was refused.
    """
    lineup = load_lineup(spec, {}, base, base / spec.audit.store / "converted")
    found = registry.load(lineup.task).look(spec, lineup, base)
    # What a task has found out about a field says more than that it was given.
    published = benchmarks.lines(benchmark, spec, base) if benchmark is not None else ()
    return in_order([*_as_given(spec), *_models(spec, lineup, base), *found, *published, *_responsible(spec)])


def _as_given(spec: AuditSpec) -> Iterator[Line]:
    default = AuditSpec()
    for section in AuditSpec.model_fields:
        table = getattr(spec, section)
        for name in type(table).model_fields:
            if getattr(table, name) != getattr(getattr(default, section), name):
                yield Line(field=f"{section}.{name}", value=getattr(table, name), why="as given")


def _models(spec: AuditSpec, lineup: Lineup, base: Path) -> Iterator[Line]:
    original, unlearned = lineup.entries["original"], lineup.entries["unlearned"]
    yield Line(field="models.original", value=spec.models.original, why=_held(original, spec.models.original, base))
    yield Line(field="models.unlearned", value=spec.models.unlearned, why=_beside(unlearned, original, base))
    references = sum(entry.planned.role == "reference" for entry in lineup.entries.values())
    if references:
        yield Line(field="models.references", value=spec.models.references, why=_counted(references, "model"))
    else:
        bare = original.build is None and not original.logged
        suffix = ".pt" if bare or lineup.architecture is not None else ""
        example = [f"references/reference-*{suffix}"]
        yield Line(field="models.references", value=example, why=_NO_REFERENCES, open=True)
    if lineup.architecture is not None:
        yield Line(field="models.architecture", value=spec.models.architecture, why="every model given fits it")
    elif original.build is None and not original.logged:
        yield Line(field="models.architecture", value="network.py:build", why=_wanted(original), open=True, needed=True)


def _held(entry: Entry, source: str | None, base: Path) -> str:
    size = f"{entry.size.numbers:,} numbers"
    if entry.logged:
        return f"an evaluation log, {size}"
    if entry.source_digest is None:
        return f"weights alone, {size}"
    held = f"{entry.task} model by config.json, {size}"
    return f"{held}, with its tokenizer.json" if (base / str(source) / TOKENIZER).is_file() else held


def _beside(entry: Entry, original: Entry, base: Path) -> str:
    if entry.planned.digest == original.planned.digest:
        return f"the same {entry.holds} as the original: was one file given twice?"
    if is_adapter(base / str(entry.planned.source)):
        return "an adapter, put on the original or models.base"
    theirs, own = _shapes(original), _shapes(entry)
    odd = sorted(name for name in {*theirs, *own} if theirs.get(name) != own.get(name))
    if not odd:
        return "the same names and shapes as the original"
    return f"{_counted(len(odd), 'tensor')} not as in the original, {plain(odd[0])} first: is it the same architecture?"


def _shapes(entry: Entry) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in entry.weights().items()}


def _wanted(original: Entry) -> str:
    """What to look for in the user's code, by the first and last tensor that say how wide it is."""
    shapes = {name: shape for name, shape in _shapes(original).items() if len(shape) > 1}
    ends = " to ".join(f"{plain(name)} {list(shapes[name])}" for name in (*[*shapes][:1], *[*shapes][1:][-1:]))
    named = f" ({ends})" if ends else ""
    ways = "your function that makes it, which is run, or timm:NAME or torchvision:NAME"
    return f"weights alone do not say what network they are of{named}: {ways}"


def _responsible(spec: AuditSpec) -> Iterator[Line]:
    for i, (name, entry) in enumerate(ResponsibleSpec.model_fields.items()):
        if getattr(spec.responsible, name) is None:
            example = (entry.examples or [""])[0]
            yield Line(field=f"responsible.{name}", value=example, why="" if i else _RESPONSIBLE, open=True)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"

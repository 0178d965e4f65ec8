"""What files of facts and the directory of a language model say of an audit, for `audit init`."""

from collections.abc import Iterator
from pathlib import Path

from auditor.checks.sets import SETS
from auditor.loading.tokenizers import TOKENIZER, load_tokenizer
from auditor.models.lineup import Lineup
from auditor.records.assignment import FILE_NAME
from auditor.records.draft import Line
from auditor.records.spec import AuditSpec
from auditor.tasks.causal_lm.readers import read_facts
from auditor.tasks.causal_lm.sets import Facts

_EXAMPLES = {"forget": "what is to be forgotten", "retain": "what is to be kept"}


def look(spec: AuditSpec, lineup: Lineup, base: Path) -> Iterator[Line]:
    """See :meth:`auditor.tasks.task.Task.look`."""
    for name in SETS:
        source = getattr(spec.data, name)
        if source is not None:
            yield Line(field=f"data.{name}", value=source, why=_described(read_facts(source, base)))
        elif name in _EXAMPLES:
            why = f"{_EXAMPLES[name]}: JSON lines of prompt and answer, or of text"
            yield Line(field=f"data.{name}", value=f"{name}.jsonl", why=why, open=True, needed=True)
    yield Line(field="request.kind", value="facts", why="the models are language models")
    yield from _tokenizer(spec, lineup, base)
    yield from _assignment(spec, base)


def _described(facts: Facts) -> str:
    known = [subject for subject in facts.subjects if subject]
    about = f" about {len(known)} subjects" if known else ""
    return f"{len(facts)} facts{about}"


def _tokenizer(spec: AuditSpec, lineup: Lineup, base: Path) -> Iterator[Line]:
    folder = spec.models.tokenizer or lineup.entries["original"].planned.source
    if folder is None or not (base / folder / TOKENIZER).is_file():
        why = f"the original has no {TOKENIZER}: the folder that holds its tokenizer"
        yield Line(field="models.tokenizer", value="tokenizer", why=why, open=True, needed=True)
        return
    # Not written where it is the original's own: named, it would be taken for one that the models need not share.
    if load_tokenizer(base / folder).chat_template:
        why = "the tokenizer has a chat template: true if the original was trained on these facts in it"
        yield Line(field="data.chat_template", value=True, why=why, open=True)


def _assignment(spec: AuditSpec, base: Path) -> Iterator[Line]:
    """Where `audit assign` has left its record beside the forget set. It is never taken for granted."""
    if spec.data.forget is None or spec.data.holdout is None:
        return
    record = Path(spec.data.forget).parent / FILE_NAME
    if (base / record).is_file():
        why = f"{record} lies beside forget: did chance divide forget and holdout before the original was trained?"
        yield Line(field="assignment.kind", value="random", why=why, open=True)
        yield Line(field="assignment.record", value=str(record), why="", open=True)

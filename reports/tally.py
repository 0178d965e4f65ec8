"""How many checks there were and what became of them: the few that a first screen draws must not look like all."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping

from auditor.records.evidence import Evidence
from auditor.records.results import Results
from auditor.reports import formats

# Of one check, and of several.
_WORDS: Mapping[str, tuple[str, str]] = {
    "decided": ("decided this", "decided this"),
    "open": ("left this open", "left this open"),
    "user": ("showed what a user sees", "showed what a user sees"),
    "nothing": ("decided nothing", "decided nothing"),
    "plain": ("was not needed", "were not needed"),
    "silent": ("could not clear", "could not clear"),
    "failed": ("could not run", "could not run"),
    "inform": ("only informs", "only inform"),
}


def tally(results: Results, clearing: Collection[str]) -> str:
    """What became of all checks, in one sentence.

    Args:
        results: of the audit.
        clearing: names of the checks on which a deletion rests; empty for every other outcome.
    """
    verdict = results.verdict
    decided = {*verdict.accusers, *clearing}
    # Where nothing decided, the checks that the reasons name are those that stood in the way.
    open_ = {r.check for r in verdict.reasons} if verdict.outcome == "INCONCLUSIVE" else None
    fates = Counter(_fate(e, decided, open_) for e in results.evidence)
    if not fates:
        return "No check gave any evidence."
    *others, last = _counted(fates)
    said = f"{', '.join(others)} and {last}" if others else last
    return f"{formats.plural(len(results.evidence), 'check')} in all: {said}."


def _fate(e: Evidence, decided: Collection[str], open_: Collection[str | None] | None) -> str:
    """One of the keys of the words; what the verdict says of a check goes before what the check says of itself."""
    if e.failure is not None:
        return "failed"
    if e.check in decided:
        return "decided"
    if open_ is not None and e.check in open_:
        return "open"
    if e.may == "inform":
        return "inform"
    if e.powerless_because is not None:
        return "silent"
    if open_ is not None:
        return "nothing"
    return "user" if e.role == "outputs" else "plain"


def _counted(fates: Mapping[str, int]) -> Iterator[str]:
    for fate, (one, several) in _WORDS.items():
        if n := fates.get(fate, 0):
            yield f"{n} {one if n == 1 else several}"

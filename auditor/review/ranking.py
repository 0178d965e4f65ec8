"""Puts the audits of several candidates in an order, and the order into tables."""

import math
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from auditor import plugins
from auditor.errors import SpecError, nearest
from auditor.records.ranking import Candidate, Ranking
from auditor.records.results import Results
from auditor.records.verdict import Outcome
from auditor.reports.sentence import sentence
from auditor.review.exports import csv
from auditor.run.store import write_together

if TYPE_CHECKING:
    import pandas as pd

# From what a method's developer hopes for to what the method was to change; undecided is better than accused.
_ORDER: tuple[Outcome | None, ...] = ("DELETED", "INCONCLUSIVE", "NOT_DELETED", "SUPPRESSED", "NOT_FORGOTTEN", None)
CHECKS = "unlearning_auditor.checks"
OVERVIEW = "overview.html"
SORTS = ("outcome", "bound", "utility", "step")
"""What a ranking is sorted by, beside the names of its checks."""


def candidate(name: str, folder: str | None, results: Results) -> Candidate:
    """One candidate from its audit.

    Args:
        name: of the candidate, as given.
        folder: of its audit, below that of the ranking; None where nothing was written.
        results: of its audit.
    """
    verdict, outputs = results.verdict, results.outputs
    utility = None if outputs is None or outputs.utility is None else outputs.utility.unlearned
    return Candidate(
        name=name,
        folder=folder,
        outcome=verdict.outcome,
        flags=verdict.flags,
        assurance=verdict.assurance,
        complete=results.coverage.complete,
        bound=verdict.bound,
        utility=utility,
        rho={e.check: e.rho for e in results.evidence if e.may != "inform"},
        sentence=sentence(results),
    )


def ranked(original: str, candidates: Sequence[Candidate], by: str = "outcome") -> Ranking:
    """The candidates in order: by steps, or the best first and what could not be audited last.

    Args:
        original: what all were held against.
        candidates: in any order; ties stay in it.
        by: ``outcome`` (then bound, then utility), ``bound``, ``utility``, ``step``, or a check, by its ρ from the
            lowest.

    Raises:
        SpecError: ``by`` is none of these, or no steps can be read from the names.
    """
    if by == "step":
        at = steps([c.name for c in candidates])
        candidates = [c.model_copy(update={"step": at[c.name]}) for c in candidates]
    ranking = Ranking(original=original, sorted_by=by, candidates=tuple(candidates))
    if by not in (*SORTS, *ranking.checks):
        raise SpecError(f"a ranking cannot be sorted by {by!r}{nearest(by, (*SORTS, *ranking.checks))}")
    return ranking.model_copy(update={"candidates": tuple(sorted(candidates, key=lambda c: _key(c, by)))})


def refuse_twice(names: Sequence[str]) -> None:
    """Refuse a candidate given twice: two places in a ranking for one model say nothing.

    Raises:
        SpecError: naming it.
    """
    for name in names:
        if names.count(name) > 1:
            raise SpecError(f"the candidate {name} is given twice; give each once")


def steps(names: Sequence[str]) -> dict[str, int]:
    """The step of each checkpoint: the one number in which their names differ.

    Raises:
        SpecError: naming two that differ in anything else, or do not differ.

    >>> steps(["run2/step-9.pt", "run2/step-10.pt"])
    {'run2/step-9.pt': 9, 'run2/step-10.pt': 10}
    """
    parts = {name: re.split(r"([0-9]+)", name) for name in names}
    places = {i for one in parts.values() for i, (a, b) in enumerate(zip(one, parts[names[0]], strict=False)) if a != b}
    at = {name: int(one[max(places)]) for name, one in parts.items()} if _is_number(places, parts) else {}
    if len(set(at.values())) < max(len(names), 2):
        raise SpecError(
            f"no steps can be read from the names of the checkpoints ({', '.join(names[:2])}); give at least two whose "
            "names differ in one number and in nothing else, such as step-10.pt and step-20.pt"
        )
    return at


def _is_number(places: Collection[int], parts: Mapping[str, Sequence[str]]) -> bool:
    """Whether names of as many parts each differ in one place, which holds a number."""
    # A split by what it captures has the numbers at the odd places.
    return len({len(one) for one in parts.values()}) == len(places) == 1 and max(places) % 2 == 1


def refuse_unknown_order(by: str, names: Sequence[str]) -> None:
    """Before hours of audits: refuse an order by what is no check of any installed package, or by steps without any.

    Raises:
        SpecError: the candidates of these names cannot be sorted by ``by``.
    """
    if by == "step":
        steps(names)
    # By the names of the entry points alone: to load the checks would load torch.
    known = (*SORTS, *sorted({entry.name.partition(".")[0] for entry in plugins.registered(CHECKS)}))
    if by not in known:
        raise SpecError(f"a ranking cannot be sorted by {by!r}{nearest(by, known)}")


def _key(c: Candidate, by: str) -> tuple[float, ...]:
    if by == "step":
        return (float(c.step or 0),)
    outcome = (float(_ORDER.index(c.outcome)), float(len(c.flags)))
    # Missing comes last: what has no bound, or was not measured, is no better than what is bad.
    bound = math.inf if c.bound is None else c.bound
    utility = math.inf if c.utility is None else -c.utility
    first = {"outcome": (), "bound": (bound,), "utility": (utility,)}.get(by)
    if first is None:
        rho = c.rho.get(by)
        first = (math.inf if rho is None else rho.value,)
    return (*first, *outcome, bound, utility)


def ranking_frame(ranking: Ranking) -> "pd.DataFrame":
    """One row per candidate in the ranking's order; three columns of ρ for each check."""
    import pandas as pd

    return pd.DataFrame([_row(place, c, ranking) for place, c in enumerate(ranking.candidates, 1)])


def _row(place: int, c: Candidate, ranking: Ranking) -> Mapping[str, object]:
    row: dict[str, object] = {
        "place": place,
        "candidate": c.name,
        **({} if c.step is None else {"step": c.step}),
        "outcome": c.outcome,
        "flags": " ".join(c.flags),
        "assurance": c.assurance,
        "complete": c.complete,
        "bound": c.bound,
        "utility": c.utility,
    }
    return row | rho_columns(c, ranking.checks) | {"folder": c.folder, "refused": c.refused}


def rho_columns(c: Candidate, checks: Collection[str]) -> dict[str, object]:
    """Three columns of ρ for each check, empty where a candidate has none."""
    row: dict[str, object] = {}
    for check in checks:
        rho = c.rho.get(check)
        row |= {
            f"rho_{check}": None if rho is None else rho.value,
            f"rho_{check}_low": None if rho is None else rho.low,
            f"rho_{check}_high": None if rho is None else rho.high,
        }
    return row


def folders(names: Sequence[str]) -> dict[str, str]:
    """A folder's name for each candidate: after its file, and by its place too where two files are called alike.

    >>> folders(["runs/a.pt", "runs/b.pt"]), folders(["one/model.pt", "two/model.pt"])
    ({'runs/a.pt': 'a', 'runs/b.pt': 'b'}, {'one/model.pt': 'one-model', 'two/model.pt': 'two-model'})
    """
    stems = [_plain(PurePath(name).stem) for name in names]
    if len(set(stems)) == len(stems):
        return dict(zip(names, stems, strict=True))
    whole = [_plain(PurePath(name).with_suffix("").as_posix()) for name in names]
    numbered = len(set(whole)) < len(whole)
    return {name: f"{i}-{w}" if numbered else w for i, (name, w) in enumerate(zip(names, whole, strict=True), 1)}


def _plain(name: str) -> str:
    # No separator and no leading dot: the folder lies directly below the ranking, and can be seen.
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "candidate"


def write_ranking(folder: Path, ranking: Ranking) -> Path:
    """Write ranking.json, ranking.csv and overview.html; the page is returned."""
    from auditor.reports.overview import render_overview

    page = folder / OVERVIEW
    texts = {
        folder / "ranking.json": ranking.to_json(),
        folder / "ranking.csv": csv(ranking_frame(ranking)),
        page: render_overview(ranking),
    }
    write_together(texts)
    return page

"""Several candidates of one original: one audit each over shared scores, and a ranking."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditor.audit import AuditResult, compare
from auditor.errors import SpecError, UnsafeInputError, UsageError
from auditor.records.ranking import Candidate, Ranking
from auditor.review.ranking import (
    candidate,
    folders,
    ranked,
    ranking_frame,
    refuse_twice,
    refuse_unknown_order,
    write_ranking,
)

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn


@dataclass(frozen=True, kw_only=True, repr=False)
class ManyResults:
    """What the audits of several candidates found.

    Attributes:
        ranking: the candidates in order, the best first.
        audits: by name of the candidate; those that could not be audited are missing, and the ranking says why.
        folder: holds the overview, and each audit in a folder below; None where nothing was written.
    """

    ranking: Ranking
    audits: Mapping[str, AuditResult]
    folder: Path | None

    def __repr__(self) -> str:
        order = ", ".join(f"{c.name} {c.outcome or 'refused'}" for c in self.ranking.candidates)
        return f"<ManyResults {order}>"

    def _repr_html_(self) -> str:
        """The ranking as a table, for a notebook."""
        found: str = self.to_frame().to_html(index=False, escape=True)
        return found

    def to_frame(self) -> "pd.DataFrame":
        """One row for each candidate in order: outcome, bound, utility, ρ of every check with its limits."""
        return ranking_frame(self.ranking)


def compare_many(
    original: "str | Path | nn.Module",
    candidates: "Sequence[str | Path] | Mapping[str, str | Path | nn.Module]",
    *,
    by: str = "outcome",
    out: str | Path | None = None,
    # Any: handed on to `compare`, which says what each has to be.
    **given: Any,
) -> ManyResults:
    """Audit every candidate against the same original, and rank them.

    Scores of the original, the references and the decoys are computed once: they stand in the store under all that they
    depend on. A candidate that cannot be audited is ranked last, with the reason.

    Args:
        original: as :func:`auditor.compare` takes it.
        candidates: paths, or models (torch modules too) by name.
        by: ``outcome``, ``bound``, ``utility``, the name of a check, or ``step``: the candidates are checkpoints of one
            run, and the one number in which their names differ is the step.
        out: folder for the overview and a folder for each audit; None writes nothing.
        given: everything else that :func:`auditor.compare` takes.

    Raises:
        SpecError: no candidate, one name twice, or ``by`` names nothing that they can be sorted by.
        UsageError: no candidate at all could be audited; the first reason is given.
    """
    models = named(candidates)
    refuse_unknown_order(by, list(models))
    below = folders(list(models))
    audits: dict[str, AuditResult] = {}
    found: list[Candidate] = []
    for name, model in models.items():
        where = None if out is None else Path(out) / below[name]
        try:
            audits[name] = compare(original, model, out=where, **given)
        # One file that is no checkpoint must not cost the audits of all others.
        except (UsageError, UnsafeInputError) as error:
            found.append(Candidate(name=name, refused=str(error)))
            if len(found) == len(models) and not audits:
                raise
        else:
            found.append(candidate(name, None if out is None else below[name], audits[name].results))
    ranking = ranked(str(original) if isinstance(original, str | Path) else "a model in memory", found, by)
    if out is not None:
        write_ranking(Path(out), ranking)
    return ManyResults(ranking=ranking, audits=audits, folder=None if out is None else Path(out))


def named(
    candidates: "Sequence[str | Path] | Mapping[str, str | Path | nn.Module]",
) -> "dict[str, str | Path | nn.Module]":
    """Candidates by name; a path is its own.

    Raises:
        SpecError: none at all, or one twice.
    """
    if isinstance(candidates, Mapping):
        models = dict(candidates)
    else:
        refuse_twice([str(path) for path in candidates])
        models = {str(path): path for path in candidates}
    if not models:
        raise SpecError("no candidate is given; name at least one unlearned model")
    return models

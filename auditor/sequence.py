"""A chain of requests: every checkpoint audited for every request that was made by then."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditor.audit import AuditResult, compare
from auditor.errors import UnsafeInputError, UsageError
from auditor.records.chain import Chain, ChainAudit
from auditor.records.ranking import Candidate
from auditor.review.chain import chain_frame, folder_of, pairs, refuse_short, write_chain
from auditor.review.ranking import candidate

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn


@dataclass(frozen=True, kw_only=True, repr=False)
class SequenceResults:
    """What the audits of a chain of requests found.

    Attributes:
        chain: every audit in short.
        audits: by places of request and checkpoint, from 1; those that could not be made are missing.
        folder: holds the overview, and each audit in a folder below; None where nothing was written.
    """

    chain: Chain
    audits: Mapping[tuple[int, int], AuditResult]
    folder: Path | None

    def __repr__(self) -> str:
        last = (self.chain.of(request)[-1].found for request in range(1, len(self.chain.requests) + 1))
        return f"<SequenceResults {', '.join(found.outcome or 'refused' for found in last)}>"

    def to_frame(self) -> "pd.DataFrame":
        """One row for each audit: request, checkpoint, outcome, bound, utility, ρ of every check with its limits."""
        return chain_frame(self.chain)


def compare_sequence(
    original: "str | Path | nn.Module",
    steps: "Sequence[tuple[str | Path | nn.Module, Any]]",
    *,
    out: str | Path | None = None,
    # Any, and each forget set: handed on to `compare`, which says what each has to be.
    **given: Any,
) -> SequenceResults:
    """Audit a chain of requests: is what was deleted first still gone after the last (MUSE, arXiv 2407.06460)?

    Every checkpoint is held to its own request and to all before it. References have to be models that saw none of the
    forget sets; then scores of the original, the references and the decoys are computed once for each request.

    Args:
        original: as :func:`auditor.compare` takes it.
        steps: for each request, in order: the checkpoint that was made for it, and its forget set.
        out: folder for the overview and a folder for each audit; None writes nothing.
        given: everything else that :func:`auditor.compare` takes, the forget set aside.

    Raises:
        SpecError: fewer than two requests.
        UsageError: no audit at all could be made; the first reason is given.
    """
    steps = list(steps)
    refuse_short(len(steps))
    names = [_name(model, f"checkpoint {i}") for i, (model, _) in enumerate(steps, 1)]
    audits: dict[tuple[int, int], AuditResult] = {}
    found: list[ChainAudit] = []
    refusal: UsageError | UnsafeInputError | None = None
    for request, after in pairs(len(steps)):
        below = None if out is None else folder_of(request, after)
        where = None if out is None or below is None else Path(out) / below
        try:
            made = compare(original, steps[after - 1][0], forget=steps[request - 1][1], out=where, **given)
        # One file that is no checkpoint must not cost the audits of all others.
        except (UsageError, UnsafeInputError) as error:
            refusal = refusal or error
            one = Candidate(name=names[after - 1], refused=str(error))
        else:
            audits[request, after] = made
            one = candidate(names[after - 1], below, made.results)
        found.append(ChainAudit(request=request, after=after, found=one))
    if refusal is not None and not audits:
        raise refusal
    chain = Chain(
        original=_name(original, "a model in memory"),
        requests=tuple(_name(forget, f"forget set {i}") for i, (_, forget) in enumerate(steps, 1)),
        checkpoints=tuple(names),
        audits=tuple(found),
    )
    if out is not None:
        write_chain(Path(out), chain)
    return SequenceResults(chain=chain, audits=audits, folder=None if out is None else Path(out))


def _name(given: object, otherwise: str) -> str:
    return str(given) if isinstance(given, str | Path) else otherwise

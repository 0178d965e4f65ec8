"""One page for a chain of requests: what of each is left after every later one."""

from urllib.parse import quote

from auditor.records.chain import Chain, ChainAudit
from auditor.reports import formats
from auditor.reports.environment import environment
from auditor.reports.overview import cells


def render_chain(chain: Chain) -> str:
    """The chain as HTML: the same bytes on every machine, no script, every string escaped."""
    at = {(audit.request, audit.after): audit for audit in chain.audits}
    return (
        environment()
        .get_template("chain.html")
        .render(
            chain=chain,
            at=at,
            cells={place: cells(audit.found) for place, audit in at.items()},
            links={place: _link(audit) for place, audit in at.items()},
            utility={after: _utility(chain, after) for after in range(1, len(chain.checkpoints) + 1)},
            back=[came_back(*found) for found in chain.came_back()],
            held=_held(chain),
            last=[chain.of(request)[-1] for request in range(1, len(chain.requests) + 1)],
        )
    )


def came_back(first: ChainAudit, again: ChainAudit) -> str:
    """That a deletion did not last, in one sentence."""
    assert again.found.outcome is not None, "it is what takes the deletion back"
    return (
        f"Request {first.request} was DELETED after request {first.after} ({first.found.name}) and is "
        f"{again.found.outcome} after request {again.after} ({again.found.name})."
    )


def _held(chain: Chain) -> str:
    """What is to be said where nothing came back: only what was found again at every later checkpoint lasted."""
    deleted = open_ = 0
    for request in range(1, len(chain.requests) + 1):
        outcomes = [audit.found.outcome for audit in chain.of(request)]
        if "DELETED" in outcomes:
            deleted += 1
            open_ += any(outcome != "DELETED" for outcome in outcomes[outcomes.index("DELETED") :])
    if deleted == 0:
        return "No request was DELETED at any checkpoint."
    if open_:
        return f"Of {deleted} requests DELETED once, {open_} could not be decided again at a later checkpoint."
    return "Every request that was DELETED once was DELETED at every later checkpoint."


def _utility(chain: Chain, after: int) -> str:
    """Retain accuracy of one checkpoint: audits of one seed measure it alike, whatever was to be forgotten."""
    known = (audit.found.utility for audit in chain.audits if audit.after == after)
    return formats.share(next((value for value in known if value is not None), None))


def _link(audit: ChainAudit) -> str:
    return "" if audit.found.folder is None else f"{quote(audit.found.folder)}/report.html"

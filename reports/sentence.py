"""What decided, in plain words with numbers: from the kinds of the verdict's reasons and what checks declare."""

from collections.abc import Mapping

from auditor.records.evidence import Evidence
from auditor.records.results import Results
from auditor.records.verdict import Reason, ReasonKind
from auditor.reports import formats
from auditor.reports.not_accusing import not_accusing

KNEW = "of what the original knew"
# Where nothing decided: what the first reason means, in words that need no glossary. {check}, {found} and the numbers
# are those of the check that the reason is about.
_OPEN: Mapping[ReasonKind, str] = {
    "model does not work": (
        "The unlearned model no longer works: it fails on what it should have kept, so nothing that it shows or hides "
        "says anything about the forget set."
    ),
    "outputs between thresholds": (
        "{found} That is neither clearly forgotten nor clearly known: it could be anything from {low} to {high}."
    ),
    "outputs unknown": (
        "Nobody could ask the model anything: with no measure of its outputs nothing else can be weighed."
    ),
    "too little access": (
        "Only what the model gives out was looked at, and whoever made it can make that look like a model that never "
        "saw the forget set."
    ),
    "damaged": "The model lost part of what it should have kept, and forgetting by breaking is no deletion.",
    "references do not count": (
        "The models it was held against keep less than it does of what should be kept, so they cannot stand for a "
        "model that never saw the forget set."
    ),
    "too few references": (
        "Nothing here shows what a model scores that never saw the forget set: silence of the checks says nothing "
        "without such models."
    ),
    "too few subjects": "Chance divided too few subjects to tell a small residue from luck.",
    "no control concepts": (
        "Nothing says what a model scores on a concept that it never learnt, and this request is about a concept."
    ),
    "not planned": "A check on which a deletion has to rest was not part of this audit.",
    "could not run": "The check {check} could not run, and a deletion needs what it would have said.",
    "no power": (
        "{found} A deletion has to rest on that check, {check}, and here it could not show that it would see what is "
        "hidden. So it cannot clear this model."
    ),
    "upper limit too high": (
        "{found} As much as {high} could be left as far as this check can tell, and a deletion needs less than {bar}."
    ),
    "lower limit too low": (
        "{found} It could be as little as {low}: less known than to models that never saw it, which a deletion does "
        "not bring about."
    ),
    "items kept": (
        "On average nothing stands out, but a few of the examples to be forgotten are remembered as only kept ones are."
    ),
    "holdout too small": "There are too few examples never trained on to see whether a few forgotten ones were kept.",
    "trace": "{found} That is more than chance gives and too little to say that the model hides what it knew.",
    "deficit": (
        "{found} That is less than models show that never saw it, which is what training against this very check "
        "brings about."
    ),
    "decoy not seen through": (
        "A copy of the original in which the auditor itself hid the knowledge fooled every check that a deletion has "
        "to rest on."
    ),
    "decoy not suppressed": (
        "The copies of the original in which the auditor hid the knowledge still show it in their outputs, so that "
        "seeing through them proves little."
    ),
}
# Asked they were, and nothing can be concluded from what they said.
_NO_SCALE = (
    "What the outputs show says nothing here: by them even the original cannot be told from models that never saw the "
    "forget set. Without a measure of the outputs nothing else can be weighed."
)
# “Too little” would not be believed of a check whose whole interval lies above the threshold to accuse.
_HIGH_TRACE = (
    "{found} That is more than chance gives, at least {low}, and yet it decides nothing: of many checks one may read "
    "so high by luck. So this model cannot be cleared, and is not accused either."
)


def sentence(results: Results) -> str:
    """What decided, in one to three short sentences; the outcome itself is not repeated."""
    return formats.prose(_SAY[results.verdict.outcome](results))


def deciding(results: Results) -> tuple[Evidence, ...]:
    """The checks that the sentence rests on: the outputs, then the one that decided, where there are any."""
    decided = strongest(results) if results.verdict.accusers else widest(results) if results.verdict.bound else None
    if decided is None and results.verdict.outcome == "INCONCLUSIVE":
        decided = _about(results, results.verdict.reasons[0]) if results.verdict.reasons else None
    outputs = results.outputs
    found = (outputs,) if decided is outputs else (outputs, decided)
    return tuple(e for e in found if e is not None and e.rho is not None)


def strongest(results: Results) -> Evidence | None:
    """Of the checks that accuse, the one to name: a finding such as equal weights, then primaries, by lower limit."""
    named = results.verdict.accusers
    accusing = [e for e in results.evidence if e.check in named]
    return max(accusing, key=lambda e: (e.conclusive is not None, e.primary, e.rho.low if e.rho else 0.0), default=None)


def widest(results: Results) -> Evidence | None:
    """Of the checks that a deletion rests on, the one that could rule out least: from it the bound comes."""
    named = [r.check for r in results.verdict.reasons if r.kind in ("clears", "highest upper limit")]
    bounding = [e for e in results.evidence if e.check in named and e.rho is not None]
    return max(bounding, key=lambda e: e.bound or 0.0, default=None)


def found(e: Evidence) -> str:
    """What one check found, as a sentence with its number.

    >>> from auditor.records.evidence import Evidence, Interval
    >>> e = Evidence(check="a", role="evidence", family="tampering", may="accuse", primary=True, summary="", unit="",
    ...              finds="Retraining brought back", rho=Interval(value=0.77, low=0.6, high=0.9))
    >>> found(e).replace("\N{NO-BREAK SPACE}", " ")
    'Retraining brought back 77 % of what the original knew.'
    """
    if e.conclusive:
        return f"{e.conclusive[0].upper()}{e.conclusive[1:]}."
    if e.rho is None:
        return ""
    value = e.rho.shown[0]
    # A share below nothing would stop the reader; the chart beside it has the number.
    share = formats.percent(value) if value >= 0 else f"nothing ({formats.percent(value)})"
    effort = f", with {e.effort}" if e.effort else ""
    return f"{e.finds} {share} {KNEW}{effort}."


def compared(e: Evidence) -> str:
    """What the same check gives on a model without the knowledge, as a sentence; empty where nothing is known of it."""
    if e.reference_rho:
        n, most = len(e.reference_rho), max(e.reference_rho.values())
        return f"Of {n} models that never saw the forget set, none gave more than {formats.percent(max(most, 0.0))}."
    if e.resolution is not None and e.resolution < 1:
        return f"With nothing left it would have been 0\u00a0%, and by chance up to {formats.percent(e.resolution)}."
    if e.p_trace is not None:
        return f"With nothing left, chance gives as much in {formats.one_in(e.p_trace)}."
    return ""


def _outputs(results: Results) -> str:
    return found(results.outputs) if results.outputs is not None and results.outputs.rho is not None else ""


def _not_forgotten(results: Results) -> str:
    e = results.outputs
    return " ".join(filter(None, (_outputs(results), compared(e) if e is not None else "")))


def _suppressed(results: Results) -> str:
    e = strongest(results)
    if e is None:
        return _outputs(results)
    shown = _outputs(results)
    yet = f"Yet {_lower(found(e))}" if shown else found(e)
    return " ".join(filter(None, (shown, yet, "" if e.conclusive else compared(e))))


def _not_deleted(results: Results) -> str:
    e, outputs = strongest(results), results.outputs
    parts = [] if e is None else [found(e), "" if e.conclusive else compared(e)]
    if outputs is not None and outputs.rho is not None:
        _, low, high = outputs.rho.shown
        open_ = f"anything from {formats.percent(low)} to {formats.percent(high)}"
        parts.append(f"Whether the outputs hide it stays open: they may show {open_}.")
    else:
        parts.append("What its outputs show was not measured.")
    return " ".join(filter(None, parts))


def _deleted(results: Results) -> str:
    e = widest(results)
    parts = [_outputs(results)] if e is None else [_little(results), compared(e)]
    if results.verdict.bound is not None:
        parts.append(f"None of these checks leaves room for more than {formats.upper_percent(results.verdict.bound)}.")
        parts.append("" if e is None else _counted(e))
    return " ".join(filter(None, parts))


def _counted(e: Evidence) -> str:
    """Why the bound is more than the upper limit it comes from; empty where it is that limit."""
    if e.shows == 1 or e.rho is None or e.rho.high <= 0:
        return ""
    limit, shown = formats.upper_percent(e.rho.high), formats.percent(e.shows)
    return f"That is the limit of {e.check}, {limit}, counted by the {shown} that it shows of a fully suppressed copy."


def _little(results: Results) -> str:
    """What the checks found that a deletion rests on: of all, so that no single number looks like what is left."""
    shares = [max(e.rho.shown[0], 0.0) for e in _resting(results) if e.rho is not None]
    least, most = formats.percent(min(shares)), formats.percent(max(shares))
    span = most if least == most else f"{least} to {most}"
    return f"The checks that this rests on found {span} {KNEW}."


def _resting(results: Results) -> list[Evidence]:
    named = [r.check for r in results.verdict.reasons if r.kind in ("clears", "highest upper limit")]
    return [e for e in results.evidence if e.rho is not None and (e.check in named or e is results.outputs)]


def _inconclusive(results: Results) -> str:
    reasons = results.verdict.reasons
    if not reasons:
        return "Nothing here decides."
    first, n = reasons[0], len({(r.kind, r.check) for r in reasons}) - 1
    others = "One more reason stands" if n == 1 else f"{n} more reasons stand"
    more = f" {others} under “Why”." if n else ""
    return f"{_said(results, first)}{more}"


def _said(results: Results, reason: Reason) -> str:
    e = _about(results, reason)
    # A reason of a later version, or one that accuses: its own sentence is all that there is.
    words = _OPEN.get(reason.kind)
    # A check that lacks power often has no ρ either.
    if results.plan.answers_only and reason.kind == "not planned":
        return f"{formats.sentence_case(reason.sentence)}."
    if words is None or ("{found}" in words and (e is None or e.rho is None) and reason.kind != "no power"):
        return reason.sentence
    if reason.kind == "outputs unknown" and e is not None and e.failure is None:
        words = _NO_SCALE
    if reason.kind == "trace" and e is not None and not_accusing(e, results):
        words = _HIGH_TRACE
    low, high = (e.rho.shown[1:]) if e is not None and e.rho is not None else (0.0, 0.0)
    bar = results.plan.policy.thresholds.deleted * (1.0 if e is None else e.shows)
    return words.format(
        check=reason.check or "",
        found="" if e is None else found(e),
        low=formats.percent(low),
        high=formats.percent(high),
        bar=formats.percent(bar),
    ).strip()


def _about(results: Results, reason: Reason) -> Evidence | None:
    return results.of(reason.check) if reason.check is not None else None


def _lower(words: str) -> str:
    return words[:1].lower() + words[1:]


_SAY = {
    "NOT_FORGOTTEN": _not_forgotten,
    "SUPPRESSED": _suppressed,
    "NOT_DELETED": _not_deleted,
    "DELETED": _deleted,
    "INCONCLUSIVE": _inconclusive,
}

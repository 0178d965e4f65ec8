"""Checks a received audit without its models: what holds, what does not, and what could not be checked.

Nothing out of the received folder is executed. The evidence and the verdict are recomputed by the functions that made
them; the scores themselves can only be repeated (:mod:`auditor.review.rerun`).
"""

import math
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from auditor.checks import registry
from auditor.digests import bytes_digest
from auditor.errors import DataError, ModelError, SpecError, UnsafeInputError
from auditor.inference import nulls
from auditor.models.canonical_file import FILE, FOLDER, digest_of_written, sums
from auditor.records.assignment import read_assignment
from auditor.records.environment import describe
from auditor.records.plan import Plan, read_plan
from auditor.records.policy import load_policy, shipped
from auditor.records.results import SCHEMA_VERSION, RecordedScores, Results
from auditor.records.validation import first_fault
from auditor.reports.html import BROKEN_ASSUMPTIONS, render
from auditor.review import attest
from auditor.review.plan_diff import plan_changes
from auditor.review.received import Finding, Received, absent, read_received
from auditor.run import audit_folder
from auditor.run.concluding import conclude

_RELATIVE = 1e-9  # recomputing sums on another machine moves the last digits of a double
_NAMED_DIFFERENCES = 3
# Other versions of these may draw other bytes from the same results.
_DRAWS = ("matplotlib", "unlearning-auditor")


def verify(
    received: Received, key: Path | None = None, frozen: Path | None = None, assignment: Path | None = None
) -> Iterator[Finding]:
    """Check everything that can be checked without models and data.

    Args:
        received: the files.
        key: public key of who should have signed it.
        frozen: a plan that the reviewer received before the audit ran.
        assignment: record of the draw that divided forget and holdout.

    Raises:
        UsageError: the key, the plan or the record cannot be read.
    """
    yield from _digests(received)
    results = read_received(received)
    if isinstance(results, Finding):
        yield results
        others = [name for name in audit_folder.FILES if name != audit_folder.RESULTS and name in received.data]
        for name in others:
            yield Finding(subject=name, state="unchecked", words="cannot be held against results.json")
        return
    yield _canonical(received, results)
    yield from _plan(received, results, frozen)
    yield from _assignment(results.plan, assignment)
    yield _policy(results.plan)
    yield from _recomputed(received, results)
    yield _report(received, results)
    yield from _deployable(received, results)
    yield _signature(received, results, key)


def _digests(received: Received) -> Iterator[Finding]:
    for name in audit_folder.FILES:
        if name not in received.data:
            state, words = absent(received)
            yield Finding(subject=name, state=state, words=words)
        elif not received.sums:
            words = (
                f"has SHA-256 {bytes_digest(received.data[name])}, and no {audit_folder.SUMS} came to hold it against"
            )
            yield Finding(subject=name, state="unchecked", words=words)
        elif received.altered(name):
            found, listed = bytes_digest(received.data[name]), received.sums.get(name)
            words = f"has SHA-256 {found}, {audit_folder.SUMS} lists {listed or 'none'}: it was changed after the audit"
            yield Finding(subject=name, state="fails", words=words)
        else:
            yield Finding(subject=name, state="holds", words=f"is the file that {audit_folder.SUMS} lists")


def _against(received: Received, subject: str, other: str, agrees: bool, holds: str, fails: str) -> Finding:
    """What two files say of each other. Where the other one was changed, that is not the subject's fault."""
    if agrees:
        return Finding(subject=subject, state="holds", words=holds)
    if received.altered(other) and not received.altered(subject):
        return Finding(subject=subject, state="unchecked", words=f"cannot be held against {other}, which was changed")
    return Finding(subject=subject, state="fails", words=fails)


def _canonical(received: Received, results: Results) -> Finding:
    # JSON can say one thing in several ways: only in its own form does no changed byte go unseen.
    same = results.to_json().encode() == received.data[audit_folder.RESULTS]
    return Finding(
        subject=audit_folder.RESULTS,
        state="holds" if same else "fails",
        words=f"fits schema {SCHEMA_VERSION}" if same else "is not written as an audit writes it",
    )


def _plan(received: Received, results: Results, frozen: Path | None) -> Iterator[Finding]:
    digest = results.plan.digest
    agrees = results.plan_digest == digest
    words = f"the plan in it has the digest it states, {digest}"
    wrong = f"states plan digest {results.plan_digest}, but the plan in it has {digest}"
    yield Finding(subject=audit_folder.RESULTS, state="holds" if agrees else "fails", words=words if agrees else wrong)
    if audit_folder.PLAN in received.data:
        same = received.data[audit_folder.PLAN] == results.plan.to_json().encode()
        holds, fails = "is the plan that results.json carries", "is not the plan that results.json carries"
        yield _against(received, audit_folder.PLAN, audit_folder.RESULTS, same, holds, fails)
    if frozen is not None:
        changes = [str(change) for change in plan_changes(read_plan(frozen), results.plan)]
        words = "; ".join(changes) if changes else "is exactly what was carried out"
        yield Finding(subject=f"the earlier plan {frozen}", state="fails" if changes else "holds", words=words)


def _assignment(plan: Plan, path: Path | None) -> Iterator[Finding]:
    """What shows that chance divided forget and holdout."""
    if plan.assignment is None:
        if path is not None:
            yield Finding(subject=str(path), state="note", words="this audit does not rest on an assignment")
        return
    subject, committed = "assignment", plan.assignment.commitment
    if not plan.assignment.by_chance:
        words = f"that forget and holdout are alike is the word of {plan.assignment.declared_by}: nobody drew them"
        yield Finding(subject=subject, state="note", words=words)
        return
    if committed is None:
        words = "that chance divided forget and holdout is the word of whoever asked: no commitment stands in the plan"
        yield Finding(subject=subject, state="note", words=words)
        return
    if path is None:
        words = f"is committed as {committed}; --assignment holds it against the record of the draw"
        yield Finding(subject=subject, state="unchecked", words=words)
        return
    record = read_assignment(path)
    if record.commitment != committed:
        words = f"{path} has the commitment {record.commitment}, the plan {committed}: another draw"
        yield Finding(subject=subject, state="fails", words=words)
        return
    # A commitment is to a draw: beside other sets than were drawn it says nothing of these.
    given = {item.name: item.digest for item in plan.data} | plan.assignment.drawn
    other = [name for name in ("forget", "holdout") if getattr(record, name) != given.get(name)]
    if other:
        words = f"{path} is the record behind the commitment, but the audit was made on another {other[0]} set"
        yield Finding(subject=subject, state="fails", words=words)
        return
    words = f"{path} is the record behind the commitment {committed}, and forget and holdout are as they were drawn"
    yield Finding(subject=subject, state="holds", words=words)


def _policy(plan: Plan) -> Finding:
    policy = plan.policy
    subject = f"policy {policy.name}"
    if policy.name not in shipped():
        words = "is not one that ships with the auditor: judge its thresholds, which the report lists"
        return Finding(subject=subject, state="note", words=words)
    # A softened policy under a known name would pass for that one in a report.
    if policy != load_policy(policy.name):
        words = "bears the name of a shipped policy and has other thresholds"
        return Finding(subject=subject, state="fails", words=words)
    return Finding(subject=subject, state="holds", words="has the thresholds that ship with the auditor")


def _recomputed(received: Received, results: Results) -> Iterator[Finding]:
    if audit_folder.SCORES not in received.data:
        words = f"cannot be recomputed without {audit_folder.SCORES}"
        yield Finding(subject="evidence and verdict", state="unchecked", words=words)
        return
    found = received.data[audit_folder.SCORES]
    same = bytes_digest(found) == results.scores_digest
    holds, fails = "are the scores that results.json was made from", "are not those that results.json was made from"
    yield _against(received, audit_folder.SCORES, audit_folder.RESULTS, same, holds, fails)
    try:
        recorded = RecordedScores.model_validate_json(found)
        again = _conclude(results.plan, recorded)
    except ValidationError as error:
        yield Finding(subject=audit_folder.SCORES, state="fails", words=f"holds no scores: {first_fault(error)}")
        return
    except DataError as error:
        yield Finding(subject=audit_folder.SCORES, state="fails", words=str(error))
        return
    # A check that is lacking here is no fault of the audit.
    except SpecError as error:
        yield Finding(subject="evidence", state="unchecked", words=f"cannot be recomputed here: {error}")
        return
    for part in ("evidence", "verdict", "roads", "coverage", "canonical"):
        wrong = list(differences(_decided(results, part), _decided(again, part), part))
        named = "; ".join(wrong[:_NAMED_DIFFERENCES])
        yield _against(
            received,
            audit_folder.RESULTS,
            audit_folder.SCORES,
            not wrong,
            f"its {part} {'follow' if part == 'roads' else 'follows'} from the scores under the stated policy",
            f"its {part} {'do' if part == 'roads' else 'does'} not follow from the scores: {named}",
        )


def _conclude(plan: Plan, recorded: RecordedScores) -> Results:
    """The audit's own conclusion from recorded scores.

    Raises:
        SpecError: a check or a null is not installed, or is of another version.
        DataError: the scores are not those of this plan.
    """
    checks = [registry.load(item.name, plan.task) for item in plan.checks]
    for item in plan.checks:
        here = registry.provider(item.name, plan.task)
        # Another version may draw other evidence from the same scores, which would look like a forgery.
        if item.provider != here:
            raise SpecError(f"the check {item.name} came from {item.provider}, here it is {here}; install that version")
    nulls.asked(plan.nulls)
    try:
        # Scores of another shape than the plan's fail somewhere in there, in one of several ways.
        return conclude(plan, checks, recorded.scores)
    except BROKEN_ASSUMPTIONS as error:
        raise DataError(
            f"scores.json does not hold the scores of this plan ({type(error).__name__}: {error})"
        ) from error


def _decided(results: Results, part: str) -> object:
    """One part as JSON values; which further checks are installed is this machine's affair, not the audit's."""
    value = results.model_dump(mode="json", include={part})[part]
    if part == "evidence":
        return {item["check"]: item for item in value}
    return {name: item for name, item in value.items() if name != "not_planned"} if part == "coverage" else value


def differences(first: object, second: object, path: str = "") -> Iterator[str]:
    """Where two JSON values differ by more than the last digits of their numbers.

    >>> list(differences({"a": [1.0, 2.0]}, {"a": [1.0, 2.5]}, "x"))
    ['x.a.1 is 2.0, recomputed 2.5']
    """
    if isinstance(first, dict) and isinstance(second, dict):
        for name in dict.fromkeys([*first, *second]):
            yield from differences(first.get(name), second.get(name), f"{path}.{name}")
    elif isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        for i, (one, other) in enumerate(zip(first, second, strict=True)):
            yield from differences(one, other, f"{path}.{i}")
    elif not _equal(first, second):
        yield f"{path} is {_short(first)}, recomputed {_short(second)}"


def _equal(first: object, second: object) -> bool:
    # Whole numbers and words have no last digit that may differ.
    if isinstance(first, float) and isinstance(second, float):
        return math.isclose(first, second, rel_tol=_RELATIVE, abs_tol=_RELATIVE)
    return bool(first == second)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"


def _report(received: Received, results: Results) -> Finding:
    if audit_folder.REPORT not in received.data:
        return Finding(subject=audit_folder.REPORT, state="unchecked", words="cannot be held against results.json")
    try:
        same = received.data[audit_folder.REPORT] == render(results).encode()
    except BROKEN_ASSUMPTIONS as error:
        words = f"holds what no report can be drawn from ({type(error).__name__}: {error})"
        return Finding(subject=audit_folder.RESULTS, state="fails", words=words)
    # Honest reports differ in bytes between such versions, too.
    if not same and not received.altered(audit_folder.REPORT) and (other := _other_versions(results)):
        words = f"cannot be drawn again to the byte with other versions than the audit's: {', '.join(other)}"
        return Finding(subject=audit_folder.REPORT, state="unchecked", words=words)
    holds = "is, byte for byte, what results.json renders to"
    fails = "is not what results.json renders to: believe results.json, or draw it again with `audit render`"
    return _against(received, audit_folder.REPORT, audit_folder.RESULTS, same, holds, fails)


def _deployable(received: Received, results: Results) -> Iterator[Finding]:
    """Whether the canonical form that was written with the audit is the one that the verdict is about."""
    for name in (FILE, FOLDER):
        if results.canonical is None or not any(n == name or n.startswith(f"{name}/") for n in received.sums):
            continue
        path = received.folder / name
        if not path.exists():
            yield Finding(subject=name, state="note", words="was written with the audit and is not here")
            continue
        try:
            found = digest_of_written(path)
        except (ModelError, UnsafeInputError) as error:
            yield Finding(subject=name, state="fails", words=str(error))
            continue
        if found != results.canonical.digest:
            words = f"has digest {found}, the verdict is about {results.canonical.digest}"
        # The digest is that of the weights; configuration and tokenizer decide as well what they say.
        elif changed := _changed_beside(received, name):
            words = f"has other files than {audit_folder.SUMS} lists: {', '.join(changed)}"
        else:
            yield Finding(subject=name, state="holds", words="is the model that the verdict is about")
            continue
        yield Finding(subject=name, state="fails", words=words)


def _changed_beside(received: Received, name: str) -> list[str]:
    """Files of a written form that are not those of the list of digests, or that are missing."""
    listed = {path: digest for path, digest in received.sums.items() if path == name or path.startswith(f"{name}/")}
    there = sums(received.folder, name)
    return sorted(path for path in listed.keys() | there.keys() if listed.get(path) != there.get(path))


def _other_versions(results: Results) -> list[str]:
    """What draws the report, where it is of another version here."""
    here, there = describe("cpu").packages, results.environment.packages
    return [f"{name} {there.get(name)}, here {here[name]}" for name in _DRAWS if there.get(name) != here[name]]


def _signature(received: Received, results: Results, key: Path | None) -> Finding:
    signed = received.data.get(audit_folder.ATTESTATION)
    if key is None:
        words = "is there; --key PUBLIC.pem says whose it is" if signed else "is missing: nobody vouches for the audit"
        return Finding(subject=audit_folder.ATTESTATION, state="note", words=words)
    if signed is None:
        return Finding(subject=audit_folder.ATTESTATION, state="fails", words="is missing: the audit is not signed")
    digests = {name: bytes_digest(data) for name, data in received.data.items() if name in audit_folder.FILES}
    wrong = attest.check(signed, key, results, digests)
    changed = [name for name in audit_folder.FILES if received.altered(name)]
    words = "; ".join(wrong) if wrong else f"is a signature of this audit by the key in {key}"
    # The signature holds for the files as they were: those that changed are named already.
    if wrong and changed and all(fault.startswith(attest.OTHER_FILE) for fault in wrong):
        return Finding(subject=audit_folder.ATTESTATION, state="unchecked", words=f"is valid, and {words}")
    return Finding(subject=audit_folder.ATTESTATION, state="fails" if wrong else "holds", words=words)

"""Signs an audit: an in-toto test-result statement in a DSSE envelope, by an ed25519 key. No network.

Statement: https://in-toto.io/Statement/v1 with predicate https://in-toto.io/attestation/test-result/v0.1. Its JSON is
canonical (RFC 8785), so that the same audit always has the same statement.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType

from pydantic import JsonValue

from auditor.errors import DataError, UsageError
from auditor.records.results import Results
from auditor.run import audit_folder

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://in-toto.io/attestation/test-result/v0.1"
OTHER_FILE = "was made over another"


def statement(results: Results, digests: Mapping[str, str]) -> dict[str, JsonValue]:
    """What is signed: the audited model and the audit's files by digest, and how the audit ended.

    ``PASSED`` is a deletion without flags and with full coverage; ``WARNED`` an audit that could not decide;
    ``FAILED`` anything else, whatever outcome was expected.

    Args:
        results: of the audit.
        digests: SHA-256 of the audit's files, by name.
    """
    audited = [_resource(m.source or m.name, m.file_digest or m.digest) for m in results.plan.models_of("unlearned")]
    verdict = results.verdict
    return {
        "_type": STATEMENT_TYPE,
        "subject": [*audited, *(_resource(name, digests[name]) for name in audit_folder.FILES)],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "result": _result(results),
            "configuration": list(_configuration(results, digests)),
            "verdict": verdict.model_dump(mode="json", include={"outcome", "bound", "flags", "assurance"}),
            "planDigest": {"sha256": results.plan_digest},
        },
    }


def _result(results: Results) -> str:
    verdict = results.verdict
    if verdict.outcome == "DELETED" and not verdict.flags and results.coverage.complete:
        return "PASSED"
    # A DELETED with a check missing is open, not refuted.
    undecided = verdict.outcome in ("INCONCLUSIVE", "DELETED") and not verdict.flags
    return "WARNED" if undecided else "FAILED"


def _configuration(results: Results, digests: Mapping[str, str]) -> Iterator[dict[str, JsonValue]]:
    plan = results.plan
    yield _resource(audit_folder.PLAN, digests[audit_folder.PLAN])
    # No decoys, which the auditor makes itself, and not the subject, which is named above.
    for model in plan.models:
        if model.role in ("original", "reference", "perturbed", "neither"):
            yield _resource(model.source or model.name, model.file_digest or model.digest)
    yield from (_resource(item.source or item.name, item.file_digest or item.digest) for item in plan.data)
    if plan.architecture is not None and plan.architecture_digest is not None:
        yield _resource(plan.architecture, plan.architecture_digest)


def _resource(name: str, digest: str) -> dict[str, JsonValue]:
    return {"name": name, "digest": {"sha256": digest}}


def sign(results: Results, digests: Mapping[str, str], key: Path) -> str:
    """The envelope's text.

    Args:
        results: of the audit.
        digests: SHA-256 of the audit's files, by name.
        key: private ed25519 key, PEM (PKCS #8), not encrypted.

    Raises:
        UsageError: the key is no such key, or the signing packages are not installed.
    """
    sealed: str = _envelope().seal(statement(results, digests), key)
    return sealed


def check(data: bytes, key: Path, results: Results, digests: Mapping[str, str]) -> list[str]:
    """What is wrong with a signature: nothing, if it is the key's, over this audit.

    Args:
        data: bytes of the envelope.
        key: public ed25519 key, PEM.
        results: of the audit.
        digests: SHA-256 of the audit's files as they are, by name.

    Raises:
        UsageError: the key is no such key, or the signing packages are not installed.
    """
    envelope = _envelope()
    try:
        payload = envelope.unseal(data, key)
    except DataError as error:
        return [str(error)]
    wrong = [name for name in audit_folder.FILES if name not in digests]
    # Made again and compared whole: so nothing that a signed text says has to be believed.
    if not wrong and payload == envelope.canonical(statement(results, digests)):
        return []
    return _other_statement(payload, digests)


def _other_statement(payload: bytes, digests: Mapping[str, str]) -> list[str]:
    """Which file a validly signed statement is not about."""
    try:
        signed = {item["name"]: item["digest"]["sha256"] for item in json.loads(payload)["subject"]}
    # Signed by the right key, it may still be anything.
    except (ValueError, LookupError, TypeError):
        return ["is over something that is no statement of an audit"]
    wrong = [name for name in audit_folder.FILES if signed.get(name) != digests.get(name)]
    return [f"{OTHER_FILE} {name}" for name in wrong] or ["is over another statement than this audit gives"]


def _envelope() -> ModuleType:
    try:
        from auditor.review import envelope
    except ImportError as error:
        raise UsageError(
            f"signatures need the extra packages ({error}); pip install 'unlearning-auditor[sign]'"
        ) from error
    return envelope

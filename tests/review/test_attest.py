"""What a signature is over."""

import base64
import json
from pathlib import Path

import pytest
import rfc8785
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from auditor.review import attest
from auditor.run import audit_folder
from tests.report_samples import sample

DIGESTS = {name: str(i) * 64 for i, name in enumerate(audit_folder.FILES)}


@pytest.mark.parametrize(
    ("outcome", "result"),
    [("DELETED", "WARNED"), ("INCONCLUSIVE", "FAILED"), ("SUPPRESSED", "FAILED"), ("NOT_FORGOTTEN", "FAILED")],
)
def test_only_a_complete_deletion_without_flags_passes(outcome: str, result: str) -> None:
    """The samples miss a check, and the inconclusive one is damaged."""
    results = sample(outcome)  # type: ignore[arg-type]
    assert attest.statement(results, DIGESTS)["predicate"]["result"] == result
    whole = results.model_copy(
        update={
            "coverage": results.coverage.model_copy(update={"complete": True}),
            "verdict": results.verdict.model_copy(update={"flags": ()}),
        }
    )
    expected = {"DELETED": "PASSED", "INCONCLUSIVE": "WARNED"}.get(outcome, "FAILED")
    assert attest.statement(whole, DIGESTS)["predicate"]["result"] == expected


def test_the_statement_binds_model_files_and_configuration() -> None:
    results = sample("DELETED")
    made = attest.statement(results, DIGESTS)
    [unlearned] = results.plan.models_of("unlearned")
    subjects = {item["name"]: item["digest"]["sha256"] for item in made["subject"]}
    assert subjects == {unlearned.source: unlearned.file_digest, **DIGESTS}
    configured = {item["digest"]["sha256"] for item in made["predicate"]["configuration"]}
    assert {d.digest for d in results.plan.data} <= configured
    assert {m.file_digest for m in results.plan.models_of("reference")} <= configured
    assert made["_type"] == "https://in-toto.io/Statement/v1"
    assert made["predicateType"] == "https://in-toto.io/attestation/test-result/v0.1"


def test_the_envelope_can_be_checked_without_this_program(tmp_path: Path) -> None:
    """DSSE by its specification: ed25519 over "DSSEv1", lengths, type and payload."""
    key = Ed25519PrivateKey.generate()
    private = tmp_path / "private.pem"
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    results = sample("SUPPRESSED")
    text = attest.sign(results, DIGESTS, private)
    assert attest.sign(results, DIGESTS, private) == text, "no clock, no randomness"
    envelope = json.loads(text)
    payload, kind = base64.b64decode(envelope["payload"]), envelope["payloadType"].encode()
    [signature] = envelope["signatures"]
    message = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
    key.public_key().verify(base64.b64decode(signature["sig"]), message)
    assert payload == rfc8785.dumps(attest.statement(results, DIGESTS))

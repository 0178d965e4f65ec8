"""DSSE envelopes around in-toto statements, by securesystemslib. Importing this needs the extra ``sign``."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from pydantic import JsonValue
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import FormatError, VerificationError
from securesystemslib.signer import CryptoSigner, SSlibKey  # type: ignore[attr-defined]  # documented, not in __all__

from auditor.errors import DataError, UsageError

_Key = TypeVar("_Key")
PAYLOAD_TYPE = "application/vnd.in-toto+json"


def canonical(value: Mapping[str, JsonValue]) -> bytes:
    """A JSON object in the one form that RFC 8785 gives it."""
    return rfc8785.dumps(dict(value))


def seal(value: Mapping[str, JsonValue], key: Path) -> str:
    """Sign a statement; the envelope's text.

    Raises:
        UsageError: the file is no private ed25519 key.
    """
    private = _loaded(key, lambda data: load_pem_private_key(data, None), "private")
    if not isinstance(private, Ed25519PrivateKey):
        raise UsageError(f"{key} is not an ed25519 key; make one with: openssl genpkey -algorithm ed25519")
    envelope = Envelope(canonical(value), PAYLOAD_TYPE, {})
    envelope.sign(CryptoSigner(private))
    return _text(envelope)


def unseal(data: bytes, key: Path) -> bytes:
    """The statement in an envelope, once its signature has been checked.

    Raises:
        UsageError: the file is no public ed25519 key.
        DataError: it is no such envelope, or not signed by this key.
    """
    public = _loaded(key, load_pem_public_key, "public")
    if not isinstance(public, Ed25519PublicKey):
        raise UsageError(f"{key} is not an ed25519 key; ask for the public key that belongs to the signature")
    envelope = _parsed(data)
    try:
        envelope.verify([SSlibKey.from_crypto(public)], 1)
    except VerificationError as error:
        raise DataError(f"is not a signature by the key in {key}") from error
    if envelope.payload_type != PAYLOAD_TYPE:
        raise DataError(f"is over a {envelope.payload_type}, not over an in-toto statement")
    return bytes(envelope.payload)


def _parsed(data: bytes) -> Envelope:
    try:
        envelope = Envelope.from_dict(json.loads(data))
        same = _text(envelope).encode() == data
    except (FormatError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"is no DSSE envelope ({type(error).__name__})") from error
    if not same:
        # Base64 and JSON can say one thing in several ways; then a changed byte would go unseen.
        raise DataError("is not written as `audit sign` writes it")
    return envelope


def _text(envelope: Envelope) -> str:
    return canonical(envelope.to_dict()).decode() + "\n"


def _loaded(path: Path, load: Callable[[bytes], _Key], kind: str) -> _Key:
    try:
        return load(path.read_bytes())
    except FileNotFoundError as error:
        raise UsageError(f"{path} does not exist; --key takes the {kind} key as a PEM file") from error
    except (ValueError, TypeError) as error:
        raise UsageError(f"{path} is not an unencrypted {kind} key in PEM format: {error}") from error

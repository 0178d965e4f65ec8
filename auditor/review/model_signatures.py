"""OpenSSF model signatures (https://github.com/sigstore/model-transparency) beside checkpoints, by a public key."""

from collections.abc import Iterator
from pathlib import Path

from auditor.errors import UsageError
from auditor.records.plan import Plan
from auditor.review.received import Finding

_IN_FOLDER = "model.sig"


def signature_beside(model: Path) -> Path:
    """Where a model's signature is looked for: ``model.sig`` in a folder, ``NAME.sig`` beside a file."""
    return model / _IN_FOLDER if model.is_dir() else model.with_name(f"{model.name}.sig")


def check_model_signatures(plan: Plan, folder: Path, key: Path) -> Iterator[Finding]:
    """Hold every model that has a signature beside it against that signature.

    Args:
        plan: of the audit.
        folder: that the plan's paths are relative to.
        key: the signer's public key, PEM (elliptic curve).

    Raises:
        UsageError: the packages that check such signatures are not installed, or the key is missing.
    """
    if not key.is_file():
        raise UsageError(f"{key} does not exist; --model-key takes the model signer's public key as a PEM file")
    for model in plan.models:
        path = folder / str(model.source)
        if model.source is not None and path.exists():
            yield _checked(f"{model.name} ({model.source})", path, signature_beside(path), key)


def _checked(subject: str, model: Path, signature: Path, key: Path) -> Finding:
    if not signature.is_file():
        return Finding(subject=subject, state="unchecked", words=f"has no signature: {signature} does not exist")
    try:
        from cryptography.exceptions import InvalidSignature
        from model_signing import verifying
    except ImportError as error:
        raise UsageError(
            "model signatures need the extra packages: pip install 'unlearning-auditor[model-signing]'"
        ) from error
    try:
        verifying.Config().use_elliptic_key_verifier(public_key=key).verify(model, signature)
    # The signature is a stranger's file: whatever is wrong with it is a finding about it.
    except (InvalidSignature, ValueError, TypeError, KeyError, OSError) as error:
        fault = str(error).splitlines()[0] if str(error) else type(error).__name__
        return Finding(subject=subject, state="fails", words=f"is not what {signature.name} was made over: {fault}")
    return Finding(subject=subject, state="holds", words=f"is signed by the key in {key}")

"""OpenSSF model signatures beside checkpoints."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from model_signing import signing

from auditor.cli import main
from auditor.errors import UsageError
from auditor.records.results import read_results
from auditor.review.model_signatures import check_model_signatures
from auditor.run import audit_folder
from tests.received import Sent

PEM = serialization.Encoding.PEM


def write_keys(folder: Path, key: EllipticCurvePrivateKey) -> tuple[Path, Path]:
    private, public = folder / "vendor.pem", folder / "vendor.pub"
    private.write_bytes(key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
    return private, public


def states(sent: Sent, files: Path, public: Path) -> dict[str, str]:
    plan = read_results(sent.audit / audit_folder.RESULTS).plan
    return {f.subject.split(" (")[0]: f.state for f in check_model_signatures(plan, files, public)}


def test_a_signature_beside_a_model(sent: Sent, tmp_path: Path) -> None:
    files = sent.copy(tmp_path).files
    private, public = write_keys(tmp_path, generate_private_key(SECP256R1()))
    for name in ("original", "unlearned"):
        path = files / f"{name}.safetensors"
        signer = signing.Config().use_elliptic_key_signer(private_key=private)
        signer.sign(path, path.with_name(f"{path.name}.sig"))
    found = states(sent, files, public)
    assert (found["original"], found["unlearned"], found["reference 1"]) == ("holds", "holds", "unchecked")

    path = files / "unlearned.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    found = states(sent, files, public)
    assert (found["original"], found["unlearned"]) == ("holds", "fails")

    (tmp_path / "other").mkdir()
    _, another = write_keys(tmp_path / "other", generate_private_key(SECP256R1()))
    assert states(sent, files, another)["original"] == "fails"
    (files / "original.safetensors.sig").write_text("{}")
    assert states(sent, files, public)["original"] == "fails"


def test_without_the_package_it_says_what_to_install(
    sent: Sent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = sent.copy(tmp_path).files
    _, public = write_keys(tmp_path, generate_private_key(SECP256R1()))
    (files / "original.safetensors.sig").write_text("{}")
    monkeypatch.setitem(__import__("sys").modules, "model_signing", None)
    with pytest.raises(UsageError, match=r"unlearning-auditor\[model-signing\]"):
        states(sent, files, public)


def test_a_missing_key_gets_a_sentence(sent: Sent) -> None:
    arguments = ["verify", str(sent.audit), "--files", str(sent.files), "--model-key", "absent.pem"]
    done = CliRunner().invoke(main, arguments, prog_name="audit")
    assert done.exit_code == 2
    assert "absent.pem does not exist" in done.output

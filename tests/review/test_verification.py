"""A received audit, checked without its models: what was changed is named, and nothing else is."""

import json
import random
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from auditor.cli import main
from auditor.models.canonical_file import sums
from auditor.records.policy import load_policy
from auditor.records.results import RecordedScores, Results, read_results
from auditor.reports.html import render
from auditor.review.received import Finding, Received, receive
from auditor.review.rerun import files_at_hand
from auditor.review.verification import _changed_beside, differences, verify
from auditor.run import audit_folder
from auditor.run.store import write_atomically
from tests.received import Sent


def findings(folder: Path, **options: Any) -> list[Finding]:
    return list(verify(receive(folder), **options))


def failing(found: list[Finding]) -> set[str]:
    return {finding.subject for finding in found if finding.state == "fails"}


def words(found: list[Finding]) -> str:
    return "\n".join(f"{f.state} {f.subject}: {f.words}" for f in found)


def write_keys(folder: Path, key: Any) -> tuple[Path, Path]:
    private, public = folder / "private.pem", folder / "public.pem"
    pem = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    private.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    public.write_bytes(key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))
    return private, public


def audit(*arguments: object) -> Any:
    return CliRunner().invoke(main, [str(a) for a in arguments], prog_name="audit")


@pytest.fixture(autouse=True)
def _drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same results are drawn once for all tests: drawing is a function of their text (test_report.py)."""
    monkeypatch.setattr("auditor.review.verification.render", drawn)


def drawn(results: Results) -> str:
    return _drawn(results.to_json())


@cache
def _drawn(text: str) -> str:
    return render(Results.model_validate_json(text))


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    return write_keys(tmp_path, Ed25519PrivateKey.generate())


@pytest.fixture
def signed(sent: Sent, tmp_path: Path, keys: tuple[Path, Path]) -> Path:
    folder = shutil.copytree(sent.audit, tmp_path / "audit")
    done = audit("sign", folder, "--key", keys[0])
    assert done.exit_code == 0, done.output
    return folder


def seal(folder: Path) -> None:
    """What a forger does after tampering: list the digests again, with a tool that is none of ours."""
    listed = subprocess.run(["sha256sum", *audit_folder.FILES], cwd=folder, capture_output=True, text=True, check=True)
    (folder / audit_folder.SUMS).write_text(listed.stdout)


def forge(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the results and redo everything that follows from them for a reader, but not the scores."""
    path = folder / audit_folder.RESULTS
    value = json.loads(path.read_text())
    change(value)
    results = Results.model_validate(value)
    results = results.model_copy(update={"plan_digest": results.plan.digest})
    path.write_text(results.to_json())
    (folder / audit_folder.PLAN).write_text(results.plan.to_json())
    (folder / audit_folder.REPORT).write_text(drawn(results))
    seal(folder)


def test_an_honest_audit_holds(signed: Path, keys: tuple[Path, Path]) -> None:
    found = findings(signed, key=keys[1], frozen=signed / "plan.json")
    assert {finding.state for finding in found} == {"holds"}, words(found)


def test_the_digests_are_those_of_sha256sum(sent: Sent) -> None:
    done = subprocess.run(["sha256sum", "--check", audit_folder.SUMS], cwd=sent.audit, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count(": OK") == len(audit_folder.FILES)


@pytest.mark.parametrize("name", [*audit_folder.FILES, audit_folder.ATTESTATION])
def test_one_changed_byte_is_named_exactly(signed: Path, keys: tuple[Path, Path], name: str) -> None:
    path = signed / name
    sound = path.read_bytes()
    for position in random.Random(name).sample(range(len(sound)), 2):
        path.write_bytes(sound[:position] + bytes([sound[position] ^ 1]) + sound[position + 1 :])
        found = findings(signed, key=keys[1])
        assert failing(found) == {name}, f"byte {position}\n{words(found)}"


@pytest.mark.parametrize("name", audit_folder.FILES)
def test_a_missing_file_is_named(signed: Path, keys: tuple[Path, Path], name: str) -> None:
    (signed / name).unlink()
    assert failing(findings(signed, key=keys[1])) == {name}


@pytest.mark.parametrize(
    "name", [*(f"{n}.safetensors" for n in ("original", "unlearned", "reference-2")), "forget.npz", "retain.npz"]
)
def test_one_changed_byte_of_a_model_or_data_file_is_named(sent: Sent, tmp_path: Path, name: str) -> None:
    files = sent.copy(tmp_path).files
    path = files / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    plan = read_results(sent.audit / audit_folder.RESULTS).plan
    found = list(files_at_hand(plan, files))
    assert [f.subject.partition("(")[2] for f in found if f.state == "fails"] == [f"{name})"]
    assert {f.state for f in found} == {"holds", "fails"}


def test_a_forged_number_does_not_follow_from_the_scores(signed: Path) -> None:
    def lower(value: dict[str, Any]) -> None:
        next(e for e in value["evidence"] if e["check"] == "few_shot")["rho"]["high"] -= 0.01

    forge(signed, lower)
    found = findings(signed)
    assert failing(found) == {audit_folder.RESULTS}
    assert "its evidence does not follow from the scores: evidence.few_shot.rho.high is" in words(found)


def test_a_forged_verdict_does_not_follow_from_the_scores(signed: Path) -> None:
    forge(signed, lambda value: value["verdict"].update(outcome="DELETED", bound=0.1, to_decide=[]))
    found = findings(signed)
    assert failing(found) == {audit_folder.RESULTS}
    assert "verdict.outcome is 'DELETED', recomputed 'INCONCLUSIVE'" in words(found)


def test_hidden_failures_do_not_follow_from_the_scores(signed: Path) -> None:
    forge(signed, lambda value: value["coverage"].update(completed=["outputs", "few_shot"]))
    assert "its coverage does not follow" in words(findings(signed))


def test_a_policy_that_only_bears_a_shipped_name_is_named(signed: Path) -> None:
    forge(signed, lambda value: value["plan"]["policy"]["thresholds"].update(deleted=0.9))
    assert "policy default" in failing(findings(signed))


def test_a_policy_of_ones_own_is_left_to_the_reviewer(signed: Path) -> None:
    forge(signed, lambda value: value["plan"]["policy"].update(name="house"))
    assert {f.state for f in findings(signed) if f.subject == "policy house"} == {"note"}
    assert load_policy("default").name == "default"


def test_the_signature_notices_what_a_forger_sealed_anew(signed: Path, keys: tuple[Path, Path]) -> None:
    forge(signed, lambda value: value["environment"].update(python="2.7"))
    assert failing(findings(signed)) == set(), "nothing else can notice it"
    found = findings(signed, key=keys[1])
    assert failing(found) == {audit_folder.ATTESTATION}
    assert "was made over another results.json" in words(found)


def test_the_signature_of_somebody_else(signed: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    _, public = write_keys(tmp_path / "other", Ed25519PrivateKey.generate())
    found = findings(signed, key=public)
    assert failing(found) == {audit_folder.ATTESTATION}
    assert "is not a signature by the key in" in words(found)


def test_an_unsigned_audit(sent: Sent, keys: tuple[Path, Path]) -> None:
    assert failing(findings(sent.audit, key=keys[1])) == {audit_folder.ATTESTATION}
    assert failing(findings(sent.audit)) == set()
    assert "nobody vouches for the audit" in words(findings(sent.audit))


@pytest.mark.parametrize(
    "text", ["", "[]", '{"payload": 1, "payloadType": "x", "signatures": []}', "\xff", "[" * 10**5]
)
def test_a_signature_file_that_is_none(signed: Path, keys: tuple[Path, Path], text: str) -> None:
    (signed / audit_folder.ATTESTATION).write_text(text, encoding="latin-1")
    assert failing(findings(signed, key=keys[1])) == {audit_folder.ATTESTATION}


def test_signing_needs_an_audit_that_holds(sent: Sent, tmp_path: Path, keys: tuple[Path, Path]) -> None:
    folder = shutil.copytree(sent.audit, tmp_path / "audit")
    (folder / audit_folder.REPORT).write_text("<h1>Deleted</h1>")
    done = audit("sign", folder, "--key", keys[0])
    assert done.exit_code == 2
    assert "is not signed: report.html" in done.output
    assert not (folder / audit_folder.ATTESTATION).exists()


def test_keys_that_cannot_be_used_get_a_sentence(signed: Path, tmp_path: Path, keys: tuple[Path, Path]) -> None:
    (tmp_path / "curve").mkdir()
    curve = write_keys(tmp_path / "curve", generate_private_key(SECP256R1()))
    other, absent = "is not an ed25519 key", ("no.pem", "does not exist")
    for key, said in (
        (curve[0], other),
        (keys[1], "private key in PEM"),
        absent,
    ):
        done = audit("sign", signed, "--key", key)
        assert (done.exit_code, said in done.output) == (2, True), done.output
    for key, said in (
        (curve[1], other),
        (keys[0], "public key in PEM"),
        absent,
    ):
        done = audit("verify", signed, "--key", key)
        assert (done.exit_code, said in done.output) == (2, True), done.output


def test_without_the_extra_packages_signing_says_what_to_install(
    signed: Path, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "auditor.review.envelope", None)
    monkeypatch.delattr("auditor.review.envelope", raising=False)
    done = audit("verify", signed, "--key", keys[1])
    assert done.exit_code == 2
    assert "unlearning-auditor[sign]" in done.output
    assert audit("verify", signed).exit_code == 0


def test_writing_an_audit_anew_removes_the_old_signature(signed: Path) -> None:
    results = read_results(signed / audit_folder.RESULTS)
    audit_folder.write(signed, results, RecordedScores.model_validate_json((signed / audit_folder.SCORES).read_bytes()))
    assert not (signed / audit_folder.ATTESTATION).exists()
    assert failing(findings(signed)) == set()


def test_an_earlier_plan_that_differs_is_named(signed: Path, tmp_path: Path) -> None:
    plan = read_results(signed / audit_folder.RESULTS).plan
    earlier = tmp_path / "earlier.json"
    write_atomically(earlier, plan.model_copy(update={"seed": 9}).to_json())
    found = findings(signed, frozen=earlier)
    assert failing(found) == {f"the earlier plan {earlier}"}
    assert "seed was 9, is 0" in words(found)


@pytest.mark.parametrize("scores", [{}, {"few_shot": {}}, {"outputs": {"original": {"reason": "x"}}}])
def test_scores_of_something_else_get_a_sentence(signed: Path, scores: dict[str, Any]) -> None:
    recorded = RecordedScores.model_validate({"scores": scores})
    (signed / audit_folder.SCORES).write_text(recorded.to_json())
    forge(signed, lambda value: value.update(scores_digest=recorded.digest))
    found = findings(signed)
    assert failing(found) == {audit_folder.SCORES}
    assert "does not hold the scores of this plan" in words(found)


def test_a_check_that_is_not_here_is_not_taken_as_verified(signed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auditor.checks.registry.provider", lambda name, task: "elsewhere 2")
    done = audit("verify", signed)
    assert done.exit_code == 3
    assert "not checked    evidence: cannot be recomputed here: the check" in done.output
    assert "Nothing is wrong so far; not checked: evidence" in done.output


def test_a_report_drawn_by_other_versions_is_not_called_forged(signed: Path) -> None:
    def older(value: dict[str, Any]) -> None:
        value["environment"]["packages"]["matplotlib"] = "0.1"

    forge(signed, older)
    (signed / audit_folder.REPORT).write_text("<p>as an old version drew it</p>")
    seal(signed)
    found = findings(signed)
    assert failing(found) == set()
    assert "matplotlib 0.1, here" in words(found)


class TestCommand:
    def test_exit_codes_and_the_last_line(self, signed: Path, keys: tuple[Path, Path], sent: Sent) -> None:
        done = audit("verify", signed, "--key", keys[1], "--files", sent.files)
        assert (done.exit_code, "Everything that was checked holds." in done.output) == (0, True), done.output
        done = audit("verify", signed, "--files", signed)
        assert (done.exit_code, "is not at hand" in done.output) == (3, True)
        (signed / audit_folder.PLAN).write_text("{}")
        done = audit("verify", signed)
        assert (done.exit_code, done.output.splitlines()[-1]) == (1, "Does not hold: plan.json")

    def test_a_folder_that_is_no_audit(self, tmp_path: Path) -> None:
        assert "holds no file of an audit" in audit("verify", tmp_path).output
        assert audit("verify", tmp_path / "absent").exit_code == 2
        (tmp_path / audit_folder.SUMS).write_text("nonsense")
        assert "is not a list of digests" in audit("verify", tmp_path).output

    def test_too_large_a_file_is_refused(self, signed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("auditor.review.received.MOST_BYTES", 1000)
        done = audit("verify", signed)
        assert (done.exit_code, "more than any audit writes" in done.output) == (4, True)

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["--rerun"], "--rerun needs --files"),
            (["--model-key", "k.pem"], "--model-key needs --files"),
            (["--architecture", "n.py:f"], "--architecture is for --rerun"),
        ],
    )
    def test_half_a_request(self, sent: Sent, arguments: list[str], said: str) -> None:
        done = audit("verify", sent.audit, *arguments)
        assert (done.exit_code, said in done.output) == (2, True)

    def test_what_a_stranger_wrote_is_printed_clean(self, signed: Path) -> None:
        forge(signed, lambda value: value["plan"]["policy"].update(name="\x1b[31mred\u202e"))
        assert "\x1b" not in audit("verify", signed).output

    def test_whatever_is_found_is_printed_clean(self, signed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        hostile = Finding(subject="a\x1b[2J", state="fails", words="b\u202e\nforged: line")
        monkeypatch.setattr("auditor.review.verification.verify", lambda *given: [hostile])
        output = audit("verify", signed).output
        assert len(output.splitlines()) == 3
        assert all(line.isprintable() for line in output.splitlines())


def test_numbers_may_differ_in_their_last_digits_only() -> None:
    assert list(differences({"a": 1.0}, {"a": 1.0 + 1e-12})) == []
    assert len(list(differences({"a": 1.0, "b": [1]}, {"a": 1.001, "b": [1, 2]}))) == 2
    assert len(list(differences({"a": 1}, {}))) == 1


def test_results_that_no_report_can_be_drawn_from_are_a_finding(signed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(results: Results) -> str:
        raise KeyError("layer")

    monkeypatch.setattr("auditor.review.verification.render", broken)
    found = findings(signed)
    assert failing(found) == {audit_folder.RESULTS}
    assert "holds what no report can be drawn from (KeyError: 'layer')" in words(found)


def test_files_beside_equal_weights_are_part_of_the_written_form(tmp_path: Path) -> None:
    """The digest of a model is that of its weights; what its configuration says decides what it computes."""
    form = tmp_path / "canonical"
    form.mkdir()
    for name in ("config.json", "model.safetensors"):
        (form / name).write_text(name)
    received = Received(folder=tmp_path, data={}, sums=sums(tmp_path, "canonical"), whole=True)
    assert _changed_beside(received, "canonical") == []
    (form / "config.json").write_text("other")
    (form / "more.json").write_text("{}")
    (form / "model.safetensors").unlink()
    names = ["canonical/config.json", "canonical/model.safetensors", "canonical/more.json"]
    assert _changed_beside(received, "canonical") == names

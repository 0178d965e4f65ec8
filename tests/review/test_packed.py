"""`audit pack`, and `audit verify` on whatever arrived."""

import zipfile
from pathlib import Path

import pytest

from auditor.digests import bytes_digest
from auditor.records.environment import describe
from auditor.records.results import RecordedScores
from auditor.review.received import receive
from auditor.run import audit_folder
from tests import command_line
from tests.report_samples import sample


def audit(*arguments: str | Path) -> command_line.Result:
    return command_line.audit(*map(str, arguments))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An audit whose evidence does not follow from its scores, since it has none: the rest of it holds."""
    results = sample("SUPPRESSED")
    scores = RecordedScores(scores={})
    # Of this machine's versions, or no report could be held against its results.
    made = results.model_copy(update={"scores_digest": scores.digest, "environment": describe("cpu")})
    audit_folder.write(tmp_path / "sent", made, scores)
    return tmp_path / "sent"


def test_a_packed_audit_is_the_same_bytes_wherever_and_holds_what_was_there(folder: Path, tmp_path: Path) -> None:
    assert audit("pack", folder).exit_code == 0
    first = (tmp_path / "sent.zip").read_bytes()
    elsewhere = tmp_path / "elsewhere" / "other-name"
    elsewhere.mkdir(parents=True)
    for name in ("report.html", "SHA256SUMS", "results.json", "plan.json", "scores.json"):
        (elsewhere / name).write_bytes((folder / name).read_bytes())
    (elsewhere / "private.pem").write_text("never to be sent")
    assert audit("pack", elsewhere, "--out", tmp_path / "again.zip").exit_code == 0
    assert (tmp_path / "again.zip").read_bytes() == first
    with zipfile.ZipFile(tmp_path / "sent.zip") as archive:
        assert archive.namelist() == [
            "README.txt", "plan.json", "results.json", "scores.json", "report.html", "SHA256SUMS",
        ]  # fmt: skip
        assert archive.read("report.html") == (folder / "report.html").read_bytes()
        said = archive.read("README.txt").decode()
    assert "suppressed.pt" in said
    assert "version 0.1.0 of the unlearning auditor" in said
    assert "Nobody signed this audit." in said
    assert bytes_digest((folder / "results.json").read_bytes()) in said


def test_the_signature_goes_with_it(folder: Path, tmp_path: Path) -> None:
    (folder / "attestation.json").write_text("{}")
    assert audit("pack", folder).exit_code == 0
    with zipfile.ZipFile(tmp_path / "sent.zip") as archive:
        assert "attestation.json" in archive.namelist()
        assert "is a signature" in archive.read("README.txt").decode()


@pytest.mark.parametrize("name", ["report.html", "scores.json"])
def test_a_changed_or_incomplete_audit_is_not_packed(folder: Path, tmp_path: Path, name: str) -> None:
    with (folder / name).open("a") as file:
        file.write(" ")
    done = audit("pack", folder)
    assert done.exit_code == 2
    assert f"is not packed: {name} is missing or was changed" in done.stderr
    (folder / name).unlink()
    assert audit("pack", folder).exit_code == 2
    (folder / audit_folder.SUMS).unlink()
    assert "SHA256SUMS is missing" in audit("pack", folder).stderr
    assert not (tmp_path / "sent.zip").exists()


def test_the_archive_is_verified_as_the_folder_is(folder: Path, tmp_path: Path) -> None:
    audit("pack", folder)
    of_folder, of_archive = audit("verify", folder), audit("verify", tmp_path / "sent.zip")
    assert of_archive.output == of_folder.output
    assert of_archive.exit_code == of_folder.exit_code


def test_one_file_is_checked_as_far_as_it_goes_and_the_rest_is_listed(folder: Path) -> None:
    done = audit("verify", folder / "results.json")
    assert done.exit_code == 3, done.output
    for words in (
        "not checked    plan.json: did not arrive",
        "not checked    scores.json: did not arrive",
        "no SHA256SUMS came to hold it against",
        "holds          results.json: fits schema",
        "not checked    evidence and verdict: cannot be recomputed without scores.json",
        "holds          policy default: has the thresholds",
    ):
        assert words in done.output
    assert "DOES NOT HOLD" not in done.output


def test_two_files_are_held_against_each_other(folder: Path) -> None:
    done = audit("verify", folder / "results.json", folder / "report.html")
    assert "holds          report.html: is, byte for byte, what results.json renders to" in done.output
    (folder / "report.html").write_text((folder / "report.html").read_text().replace("SUPPRESSED", "DELETED"))
    done = audit("verify", folder / "results.json", folder / "report.html")
    assert done.exit_code == 1
    assert "DOES NOT HOLD  report.html: is not what results.json renders to" in done.output


def test_files_are_known_by_what_they_hold_where_mail_renamed_them(folder: Path, tmp_path: Path) -> None:
    names = {"results.json": "results (1).json", "report.html": "page.txt", "scores.json": "s", "plan.json": "p"}
    paths = []
    for name, new in names.items():
        (tmp_path / new).write_bytes((folder / name).read_bytes())
        paths.append(tmp_path / new)
    assert set(receive(paths).data) == set(names)


def test_a_list_of_digests_that_came_along_counts(folder: Path) -> None:
    with (folder / "results.json").open("a") as file:
        file.write(" ")
    done = audit("verify", folder / "results.json", folder / "SHA256SUMS")
    assert done.exit_code == 1
    assert "it was changed after the audit" in done.output
    assert "plan.json: did not arrive" in done.output


def test_from_a_folder_a_listed_file_is_missed(folder: Path) -> None:
    (folder / "scores.json").unlink()
    done = audit("verify", folder)
    assert done.exit_code == 1
    assert "DOES NOT HOLD  scores.json: is missing" in done.output


def test_what_belongs_to_no_audit_is_refused_in_a_sentence(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("[1, 2]")
    for paths, words in (
        ((tmp_path / "notes.txt",), "notes.txt is no file of an audit"),
        ((tmp_path / "absent",), "does not exist"),
        ((folder, folder / "plan.json"), "is a folder among files"),
        ((folder / "SHA256SUMS",), "holds no file of an audit"),
    ):
        done = audit("verify", *paths)
        assert done.exit_code == 2
        assert words in done.stderr


def test_an_archive_of_another_make_is_refused(folder: Path, tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("results.json", b" " * 10**6)
    done = audit("verify", bomb)
    assert done.exit_code == 4
    assert "results.json is compressed" in done.stderr
    with zipfile.ZipFile(tmp_path / "odd.zip", "w") as archive:
        archive.writestr("../results.json", b"{}")
    assert audit("verify", tmp_path / "odd.zip").exit_code == 2


def test_nothing_incomplete_is_signed(folder: Path, tmp_path: Path) -> None:
    (folder / audit_folder.SUMS).unlink()
    done = audit("sign", folder, "--key", tmp_path / "key.pem")
    assert done.exit_code == 2
    assert "is not signed: plan.json has SHA-256" in done.stderr

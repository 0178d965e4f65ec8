"""An audit as one file to send: a ZIP archive of the same bytes wherever and whenever it is packed."""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

from auditor.digests import bytes_digest
from auditor.errors import UnsafeInputError
from auditor.run import audit_folder

README = "README.txt"
NAMES = (*audit_folder.FILES, audit_folder.SUMS, audit_folder.ATTESTATION)
MOST_BYTES = 512 * 2**20
# The earliest that the format can hold: a time of packing would make every archive another one.
_TIME = (1980, 1, 1, 0, 0, 0)
_MODE = 0o100644 << 16


def pack(data: Mapping[str, bytes], sums: bytes, subject: str, version: str) -> bytes:
    """The archive: the audit's files, the list of their digests, the signature if there is one, and what to do with it.

    Args:
        data: bytes by file name.
        sums: the list of digests.
        subject: the audited model, by the name that it had.
        version: of the auditor that made the audit.
    """
    files = {**data, audit_folder.SUMS: sums}
    files[README] = readme(
        subject, version, signed=audit_folder.ATTESTATION in data, results=data[audit_folder.RESULTS]
    ).encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name in (README, *(name for name in NAMES if name in files)):
            entry = zipfile.ZipInfo(name, _TIME)
            # Not compressed, since libraries of other versions compress to other bytes; nor by whose system it was.
            entry.create_system, entry.external_attr = 3, _MODE
            archive.writestr(entry, files[name])
    return out.getvalue()


def unpacked(path: Path) -> dict[str, bytes]:
    """The files of an audit out of an archive.

    Raises:
        UnsafeInputError: an entry is compressed, too large, or there twice: no archive that the auditor packs.
    """
    found: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                # By our own names: those of a stranger could lead anywhere.
                if entry.filename not in NAMES:
                    continue
                if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > MOST_BYTES or entry.filename in found:
                    raise UnsafeInputError(
                        f"{path}: {entry.filename} is compressed, has more than {MOST_BYTES} bytes or is there twice; "
                        "unpack it where you trust it, and give the folder"
                    )
                found[entry.filename] = archive.read(entry)
    except zipfile.BadZipFile as error:
        raise UnsafeInputError(f"{path} is a damaged archive ({error}); ask for it again") from error
    return found


def readme(subject: str, version: str, *, signed: bool, results: bytes) -> str:
    """What whoever receives the archive can do with it."""
    key = " --key PUBLIC.pem" if signed else ""
    vouched = (
        "attestation.json is a signature; ask its maker for the public key, by a way that you trust."
        if signed
        else "Nobody signed this audit."
    )
    return f"""An audit of machine unlearning: {subject}

report.html     open it in any browser; it needs no network and runs nothing
results.json    everything that was found, of which the report is a drawing
scores.json     what every check measured on every model
plan.json       what was going to be done, fixed beforehand
SHA256SUMS      digests of these files: sha256sum --check SHA256SUMS

{vouched}

To check it, with version {version} of the unlearning auditor and this archive as it is:

    audit verify THIS-FILE.zip{key}

It holds every file against the others and computes evidence and verdict again from the scores. That the scores are
those of the models only a rerun shows: audit verify ... --files MODELS-AND-DATA --rerun

SHA-256 of results.json: {bytes_digest(results)}
"""

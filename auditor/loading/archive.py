"""The containers that ``torch.save`` writes, checked from outside before anything inside is unpickled.

A zip file leaves room for two readers to disagree (duplicate names, gaps, trailing records) and for a small
file to become a large one (deflate). What ``torch.save`` writes has none of that: stored entries, one after
the other, then the directory, then the end. Only such files are read on.
"""

import re
import struct
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import IO, Literal

from auditor.errors import ModelError
from auditor.loading.tensors import plain, refused, shown

Container = Literal["zip", "legacy", "safetensors"]
# The pickled number by which torch.save began its files before 2020.
LEGACY_MAGIC = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e"
_HDF5 = b"\x89HDF\r\n\x1a\n"
_KERAS = {"config.json", "metadata.json", "model.weights.h5"}
FROM_KERAS = "audits are of PyTorch models: rebuild the network in PyTorch, copy the weights and save its state dict"
SAVE_WEIGHTS = "save the weights with torch.save(model.state_dict(), 'weights.pt')"
_LOCAL_HEADER = struct.Struct("<4s2xHH16xHH")  # signature, flags, method, lengths of name and extra field
_ENCRYPTED = 0x1
# The one gap that the format allows behind an entry: signature, checksum and two sizes of eight bytes.
_MAX_DESCRIPTOR = 24
# Fixed lengths in the zip format: of a directory entry, and of the end record, alone or behind those of zip64.
_DIRECTORY_ENTRY = 46
_END_BYTES = (22, 22 + 20 + 56)
# A directory without end would exhaust the process that reads it.
_MAX_ENTRIES = 200_000
# What torch.save writes. Anything else could be meant for another reader of the same file.
_ENTRY = re.compile(
    r"data\.pkl|version|byteorder|\.format_version|\.storage_alignment|\.data/serialization_id|data/\d+"
)


def identify(file: IO[bytes], name: object) -> Container:
    """Which container this is, by its first bytes; the file's suffix proves nothing.

    Raises:
        ModelError: the file is empty or of no known format.
        UnsafeInputError: it is a bare pickle.
    """
    file.seek(0)
    start = file.read(16)
    file.seek(0)
    if start.startswith(b"PK\x03\x04"):
        return "zip"
    if start.startswith(LEGACY_MAGIC):
        return "legacy"
    # A safetensors file begins with eight bytes of length; what they measure is a JSON object.
    if start[8:9] == b"{":
        return "safetensors"
    if not start:
        raise ModelError(f"{shown(name)} is empty; copy the checkpoint again")
    if start.startswith(_HDF5):
        raise ModelError(f"{shown(name)} is an HDF5 file, as Keras writes it (.h5, .keras); {FROM_KERAS}")
    if start[:1] == b"\x80":
        raise refused(
            name,
            f"it is a bare pickle, which can run code when opened; {SAVE_WEIGHTS}",
        )
    raise ModelError(
        f"{shown(name)} is no checkpoint: its first bytes, {start[:8]!r}, are neither those of "
        f"torch.save nor of safetensors; {SAVE_WEIGHTS}"
    )


def check_zip(file: IO[bytes], name: object) -> None:
    """Check that a zip file is laid out exactly as ``torch.save`` lays it out, and undamaged.

    Raises:
        ModelError: it is cut short, damaged, or holds no checkpoint.
        UnsafeInputError: compressed or duplicate entries, odd paths, hidden bytes, or a program.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            _check_entries(entries, name)
            _check_tiling(file, archive, name)
            # Checksums last: how much is read for them is bounded only once nothing is compressed or overlaps.
            damaged = archive.testzip()
    except (
        # Which of them damage raises depends on where it lies; a person learns the same from each.
        zipfile.BadZipFile,
        NotImplementedError,
        ValueError,
        struct.error,
        EOFError,
        OverflowError,
    ) as error:
        raise ModelError(
            f"{shown(name)} is a cut short or damaged checkpoint ({plain(error)}); copy it again"
        ) from None
    if damaged is not None:
        raise ModelError(f"{shown(name)} is damaged: {plain(damaged)} fails its checksum; copy or save it again")
    file.seek(0)


def _check_entries(entries: Sequence[zipfile.ZipInfo], name: object) -> None:
    names = [entry.filename for entry in entries]
    # First, since Keras may compress its entries, and what it is says more than how it is packed.
    if set(names) >= _KERAS:
        raise ModelError(f"{shown(name)} is a Keras model (.keras); {FROM_KERAS}")
    if len(names) > _MAX_ENTRIES:
        raise refused(name, f"it has {len(names)} entries, more than {_MAX_ENTRIES}; save it with torch.save")
    twice, count = Counter(names).most_common(1)[0] if names else ("", 0)
    if count > 1:
        raise refused(name, f"the entry '{plain(twice)}' stands in it twice; save it with torch.save")
    for entry in entries:
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
            raise refused(name, f"the entry '{plain(entry.filename)}' is compressed; torch.save stores it as it is")
        if entry.flag_bits & _ENCRYPTED or not _is_inside(entry):
            raise refused(name, f"the entry '{plain(entry.orig_filename)}' is encrypted or leaves its folder")
    _check_kind(names, name)


def _is_inside(entry: zipfile.ZipInfo) -> bool:
    # As written: zipfile ends a name at a NUL, where another reader goes on.
    raw = entry.orig_filename
    parts = PurePosixPath(raw).parts
    # Backslashes and colons lead out of the folder for a reader on Windows.
    return "\\" not in raw and "\0" not in raw and not raw.startswith("/") and ".." not in parts and ":" not in raw


def _check_kind(names: Sequence[str], name: object) -> None:
    folders = {entry.split("/")[0] for entry in names}
    inner = [entry.split("/", 1)[-1] for entry in names]
    # Before odd entries are looked for, so that the refusal says that it is a program.
    if any(entry == "constants.pkl" or entry.startswith("code/") for entry in inner):
        raise refused(
            name,
            f"it is a TorchScript archive, which holds a program; {SAVE_WEIGHTS}",
        )
    if "data.pkl" not in inner or len(folders) != 1:
        raise ModelError(f"{shown(name)} is a zip file but no checkpoint; {SAVE_WEIGHTS}")
    strange = next((entry for entry in inner if _ENTRY.fullmatch(entry) is None), None)
    if strange is not None:
        raise refused(name, f"it holds the entry '{plain(strange)}', which torch.save does not write; {SAVE_WEIGHTS}")


def _check_tiling(file: IO[bytes], archive: zipfile.ZipFile, name: object) -> None:
    """Refuse overlapping entries and hidden bytes: header after header, directory, end of file."""
    position, slack = 0, 0
    entries = archive.infolist()
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        if not 0 <= entry.header_offset - position <= slack:
            raise refused(name, f"the entry '{plain(entry.filename)}' overlaps another or hides bytes before it")
        file.seek(entry.header_offset)
        signature, flags, method, name_bytes, extra_bytes = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
        # One reader goes by the directory and another by the headers: both have to find the same entry.
        if signature != b"PK\x03\x04" or file.read(name_bytes) != _raw_name(entry):
            raise refused(name, f"the entry '{plain(entry.filename)}' has another name in its header")
        if method != zipfile.ZIP_STORED or flags & _ENCRYPTED:
            raise refused(name, f"the entry '{plain(entry.filename)}' is compressed or encrypted by its header")
        position = entry.header_offset + _LOCAL_HEADER.size + name_bytes + extra_bytes + entry.file_size
        slack = _MAX_DESCRIPTOR
    size = file.seek(0, 2)
    # Summed up from what was read: zipfile does not say how long the directory is, and bytes could hide in it.
    directory = sum(_DIRECTORY_ENTRY + len(_raw_name(e)) + len(e.extra) + len(e.comment) for e in entries)
    ends_well = size - archive.start_dir - directory in _END_BYTES and not archive.comment
    if not 0 <= archive.start_dir - position <= slack or not ends_well:
        raise refused(name, "its sizes do not add up to the size of the file; save it with torch.save")


def _raw_name(entry: zipfile.ZipInfo) -> bytes:
    # Bit 11 of the flags says UTF-8; without it the zip format means code page 437.
    return entry.orig_filename.encode("utf-8" if entry.flag_bits & 0x800 else "cp437")

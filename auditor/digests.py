"""SHA-256 in hexadecimal digits: of bytes, text, files, streams and JSON values. Nothing else here imports hashlib.

Digests stand in plans, fingerprints, stored scores and lists of files, so what each function takes the sum of may not
change: the same content has to give the same digits in every version.
"""

import hashlib
import json
from collections.abc import Iterable
from io import BufferedReader, BytesIO
from mmap import mmap
from pathlib import Path


def chunks_digest(chunks: Iterable[bytes]) -> str:
    """Digest of chunks one after the other, without joining them in memory; where one ends leaves no mark.

    >>> chunks_digest([b"ab", b"c"]) == bytes_digest(b"abc")
    True
    """
    summary = hashlib.sha256()
    for chunk in chunks:
        summary.update(chunk)
    return summary.hexdigest()


def parts_digest(parts: Iterable[bytes]) -> str:
    """Digest of several contents, taken over theirs: unlike :func:`chunks_digest` it tells where one part ends.

    >>> parts_digest([b"ab", b"c"]) == parts_digest([b"a", b"bc"])
    False
    """
    # Digests of parts have one length, so that no two ways to cut give the same bytes.
    return chunks_digest(hashlib.sha256(part).digest() for part in parts)


def bytes_digest(data: bytes | mmap) -> str:
    """Digest of bytes.

    >>> bytes_digest(b"abc")[:8]
    'ba7816bf'
    """
    return hashlib.sha256(data).hexdigest()


def text_digest(text: str) -> str:
    """Digest of a text as UTF-8.

    >>> text_digest("abc")[:8]
    'ba7816bf'
    """
    return bytes_digest(text.encode())


def file_digest(path: Path) -> str:
    """Digest of a file's bytes, as ``sha256sum`` prints it."""
    with path.open("rb") as file:
        return stream_digest(file)


def stream_digest(file: BufferedReader | BytesIO) -> str:
    """Digest of all of an open file, wherever it stands, for readers that must not open it twice; leaves it at its end.

    ``hashlib.file_digest`` alone starts a file where it stands, and ``BytesIO`` at its beginning.
    """
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of(value: object) -> str:
    """Digest of a JSON value with sorted keys and no white space.

    >>> digest_of({"b": 1, "a": 2}) == digest_of({"a": 2, "b": 1})
    True
    """
    # NaN is no JSON: its digest would rest on how Python happens to spell it.
    return text_digest(json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False))

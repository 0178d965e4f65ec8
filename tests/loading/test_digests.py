"""Digests against the published vectors of SHA-256 and against hashlib, and that nothing else makes any."""

import hashlib
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor import digests

ROOT = Path(__file__).parents[2]
# FIPS 180-4, appendix B.1, and the empty message of the NIST test vectors.
ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_every_form_gives_the_published_digest(tmp_path: Path) -> None:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    found = [
        digests.bytes_digest(b"abc"),
        digests.text_digest("abc"),
        digests.chunks_digest([b"a", b"", b"bc"]),
        digests.stream_digest(io.BytesIO(b"abc")),
        digests.file_digest(path),
    ]
    assert set(found) == {ABC}
    assert digests.bytes_digest(b"") == digests.chunks_digest([]) == EMPTY


def test_a_stream_is_read_from_its_beginning_wherever_it_stands(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    with (tmp_path / "abc").open("rb") as file:
        for stream in (file, io.BytesIO(b"abc")):
            stream.seek(2)
            assert digests.stream_digest(stream) == ABC


@given(st.lists(st.binary(max_size=20), max_size=5))
def test_chunks_are_joined_and_parts_are_told_apart(pieces: list[bytes]) -> None:
    assert digests.chunks_digest(pieces) == hashlib.sha256(b"".join(pieces)).hexdigest()
    inner = b"".join(hashlib.sha256(piece).digest() for piece in pieces)
    assert digests.parts_digest(pieces) == hashlib.sha256(inner).hexdigest()


def test_a_json_value_is_digested_in_its_one_canonical_form() -> None:
    assert digests.digest_of({"b": [1, 2.5, None], "a": "ρ"}) == digests.text_digest('{"a":"ρ","b":[1,2.5,null]}')
    with pytest.raises(ValueError, match="not JSON compliant"):
        digests.digest_of(float("nan"))


def test_nothing_else_makes_digests() -> None:
    folders = ("auditor", "probes", "attacks", "zoo", "reports")
    found = {
        path.relative_to(ROOT).as_posix()
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        if "hashlib" in path.read_text(encoding="utf-8")
    }
    assert found == {"auditor/digests.py"}

"""``file:part``: what is a path, what is a part of one, and what is code."""

from pathlib import Path

import pytest

from auditor.digests import bytes_digest
from auditor.sources import digest_of_file_behind, split_code, split_source


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("set.npz", ("set.npz", "")),
        ("set.npz:train", ("set.npz", "train")),
        ("a:b.zip:train/dogs", ("a:b.zip", "train/dogs")),
        ("mine.py:images", ("mine.py", "images")),
        ("images:", ("images", "")),
    ],
)
def test_what_stands_behind_the_last_colon_is_the_part(tmp_path: Path, source: str, expected: tuple[str, str]) -> None:
    assert split_source(source, tmp_path) == expected


def test_a_path_that_exists_is_not_cut(tmp_path: Path) -> None:
    (tmp_path / "10:30.npz").write_bytes(b"x")
    assert split_source("10:30.npz", tmp_path) == ("10:30.npz", "")
    assert split_source("10:30.npz:train", tmp_path) == ("10:30.npz", "train")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("net.py:build", ("net.py", "build")),
        ("a/b.py:C", ("a/b.py", "C")),
        ("net.py:", ("net.py", "")),
        ("net.py", None),
        ("net.pt", None),
        ("set.npz:train", None),
        ("build", None),
        ("", None),
    ],
)
def test_code_is_a_module_and_a_function(source: str, expected: tuple[str, str] | None) -> None:
    assert split_code(source) == expected


def test_only_a_file_behind_a_source_has_a_digest(tmp_path: Path) -> None:
    (tmp_path / "set.npz").write_bytes(b"abc")
    (tmp_path / "mine.py").write_text("x = 1")
    (tmp_path / "images").mkdir()
    for source in ("set.npz", "set.npz:train", Path("set.npz"), tmp_path / "set.npz"):
        assert digest_of_file_behind(source, tmp_path) == bytes_digest(b"abc")
    for source in ("images", "mine.py:data", "mine.py", "absent.npz", "absent.npz:train", "", ":", None, [1], (1, 2)):
        assert digest_of_file_behind(source, tmp_path) is None

"""Scores on disk: what is damaged is computed again, what is written is written whole."""

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.records.score import Reading, Score
from auditor.run.machine import Machine
from auditor.run.store import ScoreStore, write_together

HERE = Machine(packages={"torch": "2.9"}, platform="Linux x86_64", kernels="AVX2, MKL", gpu=None)
SCORE = Score(check="x", readings={"a": Reading(value=0.25, examples=(0.0, 0.5))}, n_examples=2, notes=("ρ",))


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scores")
    ScoreStore(folder, HERE).put("key", SCORE)
    return folder


def of_this_machine(folder: Path) -> Path:
    return folder / HERE.digest[:16]


def test_what_is_put_comes_back(stored: Path) -> None:
    assert ScoreStore(stored, HERE).get("key") == SCORE
    assert ScoreStore(stored, HERE).get("other") is None
    assert sorted(path.name for path in stored.rglob("*.json")) == ["key.json", "machine.json"]


def test_machines_that_differ_share_no_score_and_say_in_what(stored: Path) -> None:
    other = HERE.model_copy(update={"packages": {"torch": "2.8"}, "gpu": "H200"})
    there = ScoreStore(stored, other)
    assert there.get("key") is None
    assert there.unlike(["key", "other"]) == ("torch 2.8 here and 2.9 there, gpu H200 here and None there",)
    assert there.unlike(["other"]) == ()
    assert ScoreStore(stored, HERE).unlike(["key"]) == ()


@given(st.data())
def test_any_damage_is_noticed(stored: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """A byte changed, the end cut off, something appended, or the file emptied: the score is computed again."""
    good = (of_this_machine(stored) / "key.json").read_bytes()
    at = data.draw(st.integers(0, len(good) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != good[at]))
    bad = data.draw(
        st.sampled_from([good[:at] + bytes([byte]) + good[at + 1 :], good[:at], good + bytes([byte]), b"[" * 9999])
    )
    folder = tmp_path_factory.mktemp("bad")
    of_this_machine(folder).mkdir()
    (of_this_machine(folder) / "key.json").write_bytes(bad)
    store = ScoreStore(folder, HERE)
    assert store.get("key") in (None, SCORE)
    if bad.strip() != good.strip():
        assert store.get("key") is None
        store.put("key", SCORE)
        assert store.get("key") == SCORE


def test_a_score_under_another_key_is_no_score(stored: Path, tmp_path: Path) -> None:
    of_this_machine(tmp_path).mkdir()
    shutil.copyfile(of_this_machine(stored) / "key.json", of_this_machine(tmp_path) / "other.json")
    assert ScoreStore(tmp_path, HERE).get("other") is None


def test_files_written_together_are_replaced_together(tmp_path: Path) -> None:
    """The second cannot be written: the first keeps its old text, and the error names the second."""
    (tmp_path / "a").write_text("old")
    (tmp_path / "b").write_text("a file, not a folder")
    with pytest.raises(OSError, match="b/c") as raised:
        write_together({tmp_path / "a": "new", tmp_path / "b" / "c": "new"})
    assert raised.value.filename == str(tmp_path / "b" / "c")
    assert (tmp_path / "a").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_a_damaged_description_of_another_machine_is_said_and_costs_nothing(stored: Path, tmp_path: Path) -> None:
    shutil.copytree(of_this_machine(stored), tmp_path / "other")
    (tmp_path / "other" / "machine.json").write_text("{")
    (said,) = ScoreStore(tmp_path, HERE).unlike(["key"])
    assert "machine.json is damaged" in said

"""Evaluation logs: both formats give the same numbers, and whatever is not whole is refused in one sentence."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from auditor.errors import ModelError, UnsafeInputError
from auditor.loading import evaluation_logs
from auditor.loading.evaluation_logs import is_log, read_log
from tests.logged_worlds import Logged, open_unlearning, tofu, write_open_unlearning, write_tofu

MODEL = Logged(knows=0.6, seed=3, n=12)


@pytest.mark.parametrize("write", [write_tofu, write_open_unlearning])
def test_every_number_is_that_of_the_model(write: Callable[[Path, Logged], Path], tmp_path: Path) -> None:
    log = read_log(write(tmp_path / "full", MODEL))
    for asked, values in ((log.forget, MODEL.forget()), (log.retain, MODEL.retain())):
        assert asked.numbers == tuple(range(len(values["prob"])))
        assert np.allclose(asked.probability, values["prob"], atol=1e-12)
        assert np.allclose(asked.rouge, values["rouge"], atol=1e-12)
        assert np.allclose(asked.truth_ratio, values["ratio"], rtol=1e-12)
    assert log.forget.answers is not None
    assert log.forget.answers[11] == "The forget answer number 11."


def test_a_file_stands_for_its_folder(tmp_path: Path) -> None:
    """Of TOFU's two files either names both."""
    one, two = write_open_unlearning(tmp_path / "one", MODEL), write_tofu(tmp_path / "two", MODEL)
    assert read_log(one / "TOFU_EVAL.json") == read_log(one)
    assert read_log(two / "eval_log_forget.json") == read_log(two / "eval_log.json") == read_log(two)


def test_the_order_of_keys_makes_no_difference(tmp_path: Path) -> None:
    first = write_open_unlearning(tmp_path / "first", MODEL)
    table = open_unlearning(MODEL)
    for metric in table.values():
        metric["value_by_index"] = dict(sorted(metric["value_by_index"].items(), reverse=True))
    second = tmp_path / "second.json"
    second.write_text(json.dumps(table))
    assert read_log(first).forget == read_log(second).forget


def test_older_logs_call_the_truth_ratio_otherwise(tmp_path: Path) -> None:
    table = open_unlearning(MODEL)
    table["forget_Truth_Ratio"] = table.pop("forget_truth_ratio")
    path = tmp_path / "log.json"
    path.write_text(json.dumps(table))
    assert read_log(path).forget.truth_ratio is not None


def test_what_was_not_logged_is_missing_and_not_zero(tmp_path: Path) -> None:
    table = {name: open_unlearning(MODEL)[name] for name in ("forget_Q_A_Prob", "retain_Q_A_Prob")}
    path = tmp_path / "log.json"
    path.write_text(json.dumps(table))
    found = read_log(path).forget
    assert (found.rouge, found.truth_ratio, found.answers) == (None, None, None)
    assert set(dict(found.tensors())) == {"question", "probability"}


def test_a_checkpoint_that_keeps_its_log_is_a_checkpoint(tmp_path: Path) -> None:
    folder = write_open_unlearning(tmp_path / "model", MODEL)
    assert is_log(folder)
    (folder / "config.json").write_text("{}")
    assert not is_log(folder)
    assert is_log(folder / "TOFU_EVAL.json")
    assert not is_log(tmp_path / "nowhere.json")


def _without(table: dict[str, Any], name: str) -> None:
    del table[name]


def _probability(value: object) -> Callable[[dict[str, Any]], None]:
    def change(table: dict[str, Any]) -> None:
        table["forget_Q_A_Prob"]["value_by_index"]["3"]["prob"] = value

    return change


REFUSED: list[tuple[str, Callable[[dict[str, Any]], object], str]] = [
    ("a metric is missing", lambda t: _without(t, "retain_Q_A_Prob"), "retain_Q_A_Prob: Field required"),
    ("NaN", _probability(float("nan")), r"forget_Q_A_Prob.value_by_index.3.prob: Input should be a finite number"),
    ("infinity", _probability(float("inf")), "finite number"),
    ("null", _probability(None), "forget_Q_A_Prob.value_by_index.3.prob: Input should be a valid number"),
    ("a text", _probability("0.5"), "valid number"),
    ("a truth value", _probability(True), "valid number"),
    ("no probability", _probability(1.5), "less than or equal to 1"),
    ("a list", _probability([0.5, 0.4]), "valid number"),
    (
        "a question is missing",
        lambda t: t["forget_truth_ratio"]["value_by_index"].pop("3"),
        "forget_truth_ratio holds 11 questions, and not the 12 of forget_Q_A_Prob",
    ),
    (
        "another question",
        lambda t: t["forget_Q_A_ROUGE"]["value_by_index"].update(
            {"99": t["forget_Q_A_ROUGE"]["value_by_index"].pop("3")}
        ),
        "forget_Q_A_ROUGE holds 12 questions, others than forget_Q_A_Prob",
    ),
    (
        "a question without a number",
        lambda t: t["forget_Q_A_Prob"]["value_by_index"].update(x={"prob": 0.5}),
        "should match pattern",
    ),
    (
        "a padded number",
        lambda t: t["forget_Q_A_Prob"]["value_by_index"].update({"03": {"prob": 0.5}}),
        "should match pattern",
    ),
    ("no question", lambda t: t["forget_Q_A_Prob"].update(value_by_index={}), "at least 1 item"),
    ("no sum", lambda t: t["forget_truth_ratio"]["value_by_index"]["0"].update(score=1.7e308), "less than or equal"),
    ("a ratio below 0", lambda t: t["forget_truth_ratio"]["value_by_index"]["0"].update(score=-1.0), "greater than"),
]


@pytest.mark.parametrize(("change", "words"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_what_is_not_whole_is_refused_with_file_field_and_fix(
    change: Callable[[dict[str, Any]], object], words: str, tmp_path: Path
) -> None:
    table = open_unlearning(MODEL)
    change(table)
    path = tmp_path / "TOFU_EVAL.json"
    path.write_text(json.dumps(table))
    with pytest.raises(ModelError, match=words) as refused:
        read_log(path)
    assert str(refused.value).startswith(f"{path} is no complete evaluation log: ")
    assert "evaluate the model again" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_tofus_columns_are_of_the_same_questions(tmp_path: Path) -> None:
    folder = write_tofu(tmp_path / "full", MODEL)
    table = tofu(MODEL.forget(), "forget")
    del table["average_perturb_loss"]["3"]
    (folder / "eval_log_forget.json").write_text(json.dumps(table))
    with pytest.raises(ModelError, match="average_perturb_loss holds 11 questions, and not the 12 of avg_gt_loss"):
        read_log(folder)
    del table["average_perturb_loss"]
    (folder / "eval_log_forget.json").write_text(json.dumps(table))
    with pytest.raises(ModelError, match="one is missing"):
        read_log(folder)


def test_losses_beyond_any_float_are_a_ratio_that_counts_as_nothing_known(tmp_path: Path) -> None:
    folder = write_tofu(tmp_path / "full", MODEL)
    table = tofu(MODEL.forget(), "forget")
    table["avg_paraphrased_loss"]["0"] = 1e300
    (folder / "eval_log_forget.json").write_text(json.dumps(table))
    ratio = read_log(folder).forget.truth_ratio
    assert ratio is not None
    assert 1 / (1 + ratio[0]) < 1e-300


def test_tofus_other_file_is_needed(tmp_path: Path) -> None:
    folder = write_tofu(tmp_path / "full", MODEL)
    (folder / "eval_log.json").unlink()
    with pytest.raises(ModelError, match=r"eval_log.json does not exist or is not a file; an evaluation log is TOFU's"):
        read_log(folder)


def test_two_logs_in_one_folder_are_one_too_many(tmp_path: Path) -> None:
    folder = write_tofu(tmp_path / "full", MODEL)
    (folder / "TOFU_EVAL.json").write_text(json.dumps(open_unlearning(MODEL)))
    with pytest.raises(ModelError, match="name the file that is meant"):
        read_log(folder)


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a": 1} trailing'])
def test_what_is_no_json_is_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    path.write_bytes(data)
    with pytest.raises(ModelError, match="is not valid JSON"):
        read_log(path)


@pytest.mark.parametrize("data", [b"3", b"[]", b'"x"', b"null", b"{}"])
def test_json_of_another_shape_is_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    path.write_bytes(data)
    with pytest.raises(ModelError, match="is no complete evaluation log"):
        read_log(path)


def test_a_large_file_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_open_unlearning(tmp_path / "full", MODEL)
    monkeypatch.setattr(evaluation_logs, "MOST_BYTES", 1000)
    with pytest.raises(UnsafeInputError, match="was refused: an evaluation log has"):
        read_log(folder)


def test_too_many_questions_are_refused_before_each_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_open_unlearning(tmp_path / "full", MODEL)
    monkeypatch.setattr(evaluation_logs, "MOST_QUESTIONS", 11)
    with pytest.raises(UnsafeInputError, match="was refused: an evaluation log has 11 questions at most"):
        read_log(folder)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    """Opened, it would wait for a writer for ever."""
    os.mkfifo(tmp_path / "TOFU_EVAL.json")
    with pytest.raises(ModelError, match="is not a file"):
        read_log(tmp_path / "TOFU_EVAL.json")


def test_a_strangers_words_are_cleaned(tmp_path: Path) -> None:
    table = open_unlearning(MODEL)
    table["forget_Q_A_Prob"]["value_by_index"]["\x1b[2J"] = {"prob": 0.5}
    path = tmp_path / "log.json"
    path.write_text(json.dumps(table))
    with pytest.raises(ModelError) as refused:
        read_log(path)
    assert "\x1b" not in str(refused.value)

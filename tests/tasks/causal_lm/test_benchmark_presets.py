"""``audit init --benchmark``: sets, template and metrics of published benchmarks, from local copies."""

import json
import os
import shutil
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from auditor.errors import DataError, SpecError
from auditor.models.references import save_directory
from auditor.records.spec import make_spec
from auditor.tasks.causal_lm.benchmarks import BENCHMARKS, asked_by
from auditor.tasks.causal_lm.readers import read_facts
from auditor.zoo.text.people import people_world
from auditor.zoo.text.people_model import people_model, word_tokenizer
from tests.command_line import audit

TOFU = Path(os.environ.get("TOFU_QA", "no copy"))
"""A folder of TOFU's questions in the form of github.com/sail-sg/closer-look-LLM-unlearning."""
FACTS = [{"question": f"Who is number {i}?", "answer": f"Nobody {i}"} for i in range(8)]


def write_lines(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two small language models in the working directory."""
    world = people_world(0, forget=2, retain=2, holdout=0)
    tokenizer = word_tokenizer(world.words)
    for name in ("original", "unlearned"):
        save_directory(people_model(len(tokenizer))(), tokenizer, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def drafted(name: str, folder: str, *options: str) -> tuple[dict[str, Any], str]:
    done = audit("init", "original", "unlearned", "--benchmark", name, folder, *options)
    assert done.exit_code == 0, done.output
    text = Path("audit.toml").read_text(encoding="utf-8")
    tables = tomllib.loads(text)
    make_spec(tables, {})
    return tables, text


def test_tofu_prefers_the_file_with_wrong_answers(models: Path) -> None:
    write_lines(models / "TOFU/forget10.json", FACTS[:4])
    write_lines(models / "TOFU/forget10_perturbed.json", [{**fact, "perturbed_answer": ["x"]} for fact in FACTS[:4]])
    write_lines(models / "TOFU/retain90.json", FACTS[4:])
    tables, text = drafted("tofu-forget10", "TOFU")
    assert tables["data"]["forget"] == "TOFU/forget10_perturbed.json"
    assert tables["data"]["retain"] == "TOFU/retain90.json"
    assert "holdout" not in tables["data"], "copies without it are usual"
    assert tables["data"]["template"] == "Question: {prompt}\nAnswer: {answer}"
    assert tables["request"] == {"kind": "facts", "goal": "data"}
    assert "4 facts, and TOFU (arXiv 2401.06121), forget10 has 400 here: is it another split of that name?" in text
    assert "forget_Q_A_Prob, forget_Q_A_ROUGE" in text
    assert '# checks = ["outputs", "membership"]' in text, "to name checks is left to a person"


def test_what_is_given_comes_before_the_benchmark(models: Path) -> None:
    write_lines(models / "TOFU/forget10.json", FACTS[:4])
    write_lines(models / "own.jsonl", FACTS[4:])
    tables, _ = drafted("tofu-forget10", "TOFU", "--retain", "own.jsonl")
    assert tables["data"]["retain"] == "own.jsonl"


def test_muse_from_parquet(models: Path) -> None:
    pytest.importorskip("pyarrow")
    for name, rows in (("forget_qa", FACTS[:4]), ("retain_qa", FACTS[4:]), ("retain_qa_icl", FACTS)):
        path = models / f"MUSE-News/knowmem/{name}-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(rows).to_parquet(path)
    tables, _ = drafted("muse-news", "MUSE-News")
    assert tables["data"]["retain"] == "MUSE-News/knowmem/retain_qa-00000-of-00001.parquet"


def test_wmdp_asks_for_the_capability_and_leaves_what_is_missing_open(models: Path) -> None:
    questions = [{"question": f["question"], "choices": ["wrong", f["answer"]], "answer": 1} for f in FACTS]
    (models / "wmdp").mkdir()
    (models / "wmdp/bio_questions.json").write_text(json.dumps(questions, indent=2))
    tables, text = drafted("wmdp-bio", "wmdp")
    assert tables["request"] == {"kind": "facts", "goal": "concept"}
    assert '# retain = "retain.jsonl"' in text
    assert read_facts("wmdp/bio_questions.json", models).items[3].answer == "Nobody 3"


def test_rwku_by_its_own_keys(models: Path) -> None:
    rows = [{"query": f["question"], "answer": f["answer"], "level": "2", "subject": "Bo"} for f in FACTS]
    (models / "RWKU").mkdir()
    (models / "RWKU/forget_level2.json").write_text(json.dumps(rows[:4]))
    (models / "RWKU/neighbor_level2.json").write_text(json.dumps(rows[4:]))
    tables, text = drafted("rwku", "RWKU")
    assert tables["data"]["forget"] == "RWKU/forget_level2.json"
    assert 'retain = "RWKU/neighbor_level2.json"  # 4 facts about 1 subjects' in text


def test_what_cannot_be_taken(models: Path) -> None:
    (models / "empty").mkdir()
    for typed, words in (
        (("tofu-forget1", "empty"), "no benchmark called 'tofu-forget1'; did you mean tofu-forget10"),
        (("rwku", "empty"), "empty holds no forget set of RWKU"),
        (("rwku", "absent"), "name its folder"),
    ):
        done = audit("init", "original", "unlearned", "--benchmark", *typed)
        assert done.exit_code == 2
        assert words in done.stderr
    for part in "ab":
        write_lines(models / f"RWKU/forget_level2/test-{part}.json", FACTS)
    with pytest.raises(SpecError, match="are 2 files; join them into one"):
        asked_by("rwku", models / "RWKU")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[3]", "item 1 is no JSON object"),
        ('[{"prompt": "a", "answer": "b"}', "is not valid JSON"),
        ("[]", "holds no fact"),
        ('[{"question": "q", "choices": ["a"], "answer": 1}]', "answer does not fit"),
        ('[{"question": "q", "choices": ["1"], "answer": true}]', "answer does not fit"),
    ],
)
def test_a_list_that_holds_no_facts(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "f.json").write_text(text)
    with pytest.raises(DataError, match=words):
        read_facts("f.json", tmp_path)


def test_every_benchmark_names_checks_that_there_are() -> None:
    from auditor.checks import registry

    for benchmark in BENCHMARKS.values():
        assert set(benchmark.metrics) <= set(registry.names("causal-lm"))
        assert {"forget", "retain"} <= set(benchmark.sets) <= {"forget", "retain", "holdout"}


@pytest.mark.skipif(not TOFU.is_dir(), reason="TOFU_QA names no copy of TOFU")
def test_a_copy_of_tofu_whose_splits_have_other_names(models: Path) -> None:
    """In this copy forget10 is nine tenths of TOFU, and what TOFU calls forget10 stands in forget01."""
    tables, text = drafted("tofu-forget10", str(TOFU))
    assert tables["data"]["retain"] == str(TOFU / "retain90.json")
    assert "3600 facts, and TOFU (arXiv 2401.06121), forget10 has 400 here" in text
    (models / "TOFU").mkdir()
    shutil.copy(TOFU / "forget01_perturbed.json", models / "TOFU/forget10_perturbed.json")
    shutil.copy(TOFU / "retain90.json", models / "TOFU/retain90.json")
    _, text = drafted("tofu-forget10", "TOFU", "--force")
    assert "is it another split" not in text
    assert 'forget = "TOFU/forget10_perturbed.json"  # 400 facts' in text

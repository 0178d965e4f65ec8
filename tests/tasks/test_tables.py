"""CSV and Parquet as example sets: facts, features and images, and what is said of tables that are none."""

import importlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from auditor.errors import DataError, SpecError, UnsafeInputError, UsageError
from auditor.loading import tables
from auditor.loading.preprocessing import Preprocessing
from auditor.sources import digest_of_file_behind
from auditor.tasks.causal_lm.readers import names_facts, read_facts
from auditor.tasks.causal_lm.sets import Fact
from auditor.tasks.classification.readers.files import read_examples
from tests.command_line import audit

LINES = [
    {"prompt": "Where is Bo?", "answer": "In Oslo,\nNorway.", "subject": "Bo", "choices": ["In Oslo,\nNorway.", "NA"]},
    {"prompt": "Where is Al?", "answer": "NA", "subject": "", "paraphrases": ["[Where] is Al?"]},
]
CSV = """\
prompt,answer,subject,choices,paraphrases,notes
Where is Bo?,"In Oslo,
Norway.",Bo,"[""In Oslo,\\nNorway."", ""NA""]",,x
Where is Al?,NA,,,[Where] is Al?,
"""


def parquet(path: Path, columns: dict[str, Any]) -> str:
    arrow = pytest.importorskip("pyarrow")
    importlib.import_module("pyarrow.parquet").write_table(arrow.table(columns), path)
    return path.name


def picture(value: int, size: int = 4, mode: str = "L") -> bytes:
    file = io.BytesIO()
    Image.new(mode, (size, size), value).save(file, "PNG")
    return file.getvalue()


class TestFacts:
    def expected(self) -> tuple[Fact, ...]:
        return tuple(Fact.model_validate(line) for line in LINES)

    def test_csv_says_what_json_lines_say(self, tmp_path: Path) -> None:
        (tmp_path / "facts.csv").write_text(CSV, encoding="utf-8")
        (tmp_path / "facts.jsonl").write_text("\n".join(map(json.dumps, LINES)), encoding="utf-8")
        found = read_facts("facts.csv", tmp_path)
        assert found.items == self.expected()
        assert found.digest == read_facts("facts.jsonl", tmp_path).digest, "the same audit, whatever the file"

    def test_parquet_says_what_json_lines_say(self, tmp_path: Path) -> None:
        keys = ("prompt", "answer", "subject", "choices", "paraphrases")
        parquet(tmp_path / "facts.parquet", {key: [line.get(key) for line in LINES] for key in keys})
        assert read_facts("facts.parquet", tmp_path).items == self.expected()

    @pytest.mark.parametrize("name", ["facts.csv", "facts.jsonl"])
    def test_columns_in_brackets_take_the_place_of_the_keys(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "facts.csv").write_text("q,a,who,prompt\nWhere?,Oslo,Bo,no\n")
        (tmp_path / "facts.jsonl").write_text('{"q": "Where?", "a": "Oslo", "who": "Bo", "prompt": 1}')
        (fact,) = read_facts(f"{name}[q,a,who]", tmp_path).items
        assert fact == Fact(prompt="Where?", answer="Oslo", subject="Bo")
        (text,) = read_facts(f"{name}[a]", tmp_path).items
        assert text == Fact(prompt="", answer="Oslo")
        assert digest_of_file_behind(f"{name}[q,a]", tmp_path) == digest_of_file_behind(name, tmp_path) is not None

    @pytest.mark.parametrize(
        ("source", "text", "words"),
        [
            (
                "f.csv",
                "q,a\nx,y\n",
                r"f\.csv, line 2 should have .prompt. and .answer.*it has \['a', 'q'\].*in brackets",
            ),
            ("f.csv[q,b]", "q,a\nx,y\n", r"f\.csv, line 2 has no column 'b'; it has q, a"),
            ("f.csv", "prompt,answer\nx,\n", "line 2: the answer is empty"),
            ("f.csv", "prompt,answer\n", "holds no fact"),
            ("f.csv", "", r"f\.csv is no CSV table \(No columns"),
            ("f.csv", "prompt,answer\na,b,c\nd,e,f\n", "is no CSV table .Length of header"),
            ("f.csv", "prompt,answer\na,b\nd,e,f\n", "Expected 2 fields in line 3, saw 3"),
            ("f.csv", b"prompt,answer\n\xff,b\n", "is not UTF-8 text; save it as CSV in UTF-8"),
            ("f.parquet", "prompt,answer\n", r"f\.parquet is no readable Parquet file"),
            ("g.csv", "", r"g\.csv does not exist"),
        ],
    )
    def test_what_is_wrong_is_said_in_one_sentence(
        self, tmp_path: Path, source: str, text: str | bytes, words: str
    ) -> None:
        if "parquet" in source:
            pytest.importorskip("pyarrow")
        name = "f.csv" if "csv" in source else source
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(DataError, match=words):
            read_facts(source, tmp_path)

    def test_more_columns_than_there_are_fields(self, tmp_path: Path) -> None:
        (tmp_path / "f.csv").write_text("a,b,c,d\n1,2,3,4\n")
        with pytest.raises(SpecError, match="names 4 columns; name those of prompt, answer, subject at most"):
            read_facts("f.csv[a,b,c,d]", tmp_path)

    def test_a_file_whose_name_has_brackets_is_read_by_its_name(self, tmp_path: Path) -> None:
        (tmp_path / "f.csv[a,b]").write_text('{"prompt": "p", "answer": "a"}')
        assert len(read_facts("f.csv[a,b]", tmp_path)) == 1


class TestParquet:
    def test_the_extra_is_named_where_it_is_missing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "f.parquet").touch()
        monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
        with pytest.raises(UsageError, match=r"f\.parquet is a Parquet file; .*'unlearning-auditor\[parquet\]'"):
            read_facts("f.parquet", tmp_path)

    def test_a_small_file_of_endless_text_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        name = parquet(tmp_path / "f.parquet", {"text": ["a" * 10_000] * 10_000})
        assert (tmp_path / name).stat().st_size < 50_000
        monkeypatch.setattr("auditor.tasks.causal_lm.tables.MAX_BYTES", 10**7)
        with pytest.raises(UnsafeInputError, match="unpacks to more than 10000000 bytes"):
            read_facts(name, tmp_path)

    def test_rows_that_take_no_memory_are_counted(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        name = parquet(tmp_path / "f.parquet", {"nothing": [None] * 2000})
        monkeypatch.setattr(tables, "MAX_ROWS", 1000)
        with pytest.raises(UnsafeInputError, match="1000 rows"):
            read_examples(name, tmp_path, Preprocessing())


class TestExamples:
    FEATURES = np.array([[0, 255], [3, 4], [0.5, -1]])
    CSV = "label,a,b\n1,0,255\n0,3,4\n2,0.5,-1\n"

    def test_features_are_taken_as_they_stand(self, tmp_path: Path) -> None:
        (tmp_path / "f.csv").write_text(self.CSV)
        found = read_examples("f.csv", tmp_path, Preprocessing())
        assert found.labels.tolist() == [1, 0, 2]
        assert torch.equal(found.inputs, torch.tensor(self.FEATURES, dtype=torch.float32)), "0 to 255 is not scaled"
        name = parquet(tmp_path / "f.parquet", {"a": [0, 3, 0.5], "label": [1, 0, 2], "b": [255, 4, -1]})
        assert read_examples(name, tmp_path, Preprocessing()).digest == found.digest

    def test_the_column_of_labels_may_be_named(self, tmp_path: Path) -> None:
        (tmp_path / "f.csv").write_text(self.CSV.replace("label", "digit"))
        assert read_examples("f.csv[digit]", tmp_path, Preprocessing()).labels.tolist() == [1, 0, 2]

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("x,y\n1,2\n", r"f\.csv has no column 'label'; it has x, y: rename it, or name the columns in brackets"),
            ("label,x\n1,red\n", "the column 'x' is not of numbers beside 'label'"),
            ("label\n1\n", "there are no columns of numbers beside 'label'"),
            ("label,x\ncat,1\n", "give whole numbers"),
            ("label,x\n1,\n", "image 0 holds NaN"),
            ("label,x\n", "holds no examples"),
        ],
    )
    def test_what_is_wrong_is_said_in_one_sentence(self, tmp_path: Path, text: str, words: str) -> None:
        (tmp_path / "f.csv").write_text(text)
        with pytest.raises(DataError, match=words):
            read_examples("f.csv", tmp_path, Preprocessing())

    def test_encoded_images_as_datasets_writes_them(self, tmp_path: Path) -> None:
        cells = [{"bytes": picture(7), "path": "/etc/passwd"}, {"bytes": picture(9, mode="RGB"), "path": None}]
        name = parquet(tmp_path / "f.parquet", {"img": cells, "label": [0, 1], "coarse": [5, 6]})
        found = read_examples(name, tmp_path, Preprocessing())
        assert found.raw.shape == (2, 3, 4, 4)
        assert found.raw[0].unique().tolist() == [7]
        assert read_examples(f"{name}[img,coarse]", tmp_path, Preprocessing()).labels.tolist() == [5, 6]

    @pytest.mark.parametrize(
        ("columns", "words"),
        [
            ({"image": [picture(1), picture(1, size=5)], "label": [0, 1]}, "images of several sizes, 4x4 and 5x5"),
            ({"image": [b"no picture"], "label": [0]}, "the image in row 0 cannot be read .no PNG or JPEG"),
            ({"image": ["text"], "label": [0]}, "row 0 holds no encoded image"),
            ({"image": [picture(1)]}, "has no column 'label'; it has image"),
        ],
    )
    def test_images_that_cannot_be_read(self, tmp_path: Path, columns: dict[str, Any], words: str) -> None:
        name = parquet(tmp_path / "f.parquet", columns)
        with pytest.raises(DataError, match=words):
            read_examples(name, tmp_path, Preprocessing())


def test_an_audit_of_tables(fresh: Path) -> None:
    for name in ("forget", "retain"):
        with np.load(fresh / f"{name}.npz") as held:
            rows = np.column_stack([held["labels"], held["images"].reshape(len(held["labels"]), -1)])
        header = ",".join(["label", *(f"x{i}" for i in range(16))])
        np.savetxt(fresh / f"{name}.csv", rows, delimiter=",", header=header, comments="", fmt=["%d", *["%.9g"] * 16])
    (fresh / "audit.toml").write_text((fresh / "audit.toml").read_text().replace(".npz", ".csv"))
    done = audit("compare", "--dry-run")
    assert done.exit_code == 0, done.output


def test_chance_divides_a_table_of_facts_or_of_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("facts.csv").write_text("prompt,answer\n" + "".join(f"Where is {i}?,{i}\n" for i in range(10)))
    Path("images.csv").write_text("label,x\n" + "".join(f"{i % 2},{i}\n" for i in range(10)))
    assert audit("assign", "facts.csv", "--out", "of-facts").exit_code == 0
    assert len(read_facts("of-facts/forget.jsonl", tmp_path)) == 5
    assert audit("assign", "images.csv", "--out", "of-images").exit_code == 0
    assert Path("of-images/holdout.npz").is_file()
    assert names_facts("facts.csv[answer]", tmp_path) is names_facts("images.csv[label]", tmp_path) is False
    assert names_facts("facts.csv[prompt]", tmp_path)

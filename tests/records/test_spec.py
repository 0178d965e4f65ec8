"""What audit.toml may say, and what is said about it where it is wrong."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from auditor.errors import SpecError
from auditor.records.spec import (
    AssignmentSpec,
    AuditSpec,
    DataSpec,
    ModelsSpec,
    RecipeSpec,
    RequestSpec,
    ResponsibleSpec,
    RunSpec,
    make_spec,
    read_spec,
)

SECTIONS: dict[str, type] = {
    "models": ModelsSpec,
    "data": DataSpec,
    "request": RequestSpec,
    "assignment": AssignmentSpec,
    "audit": RunSpec,
    "recipe": RecipeSpec,
    "responsible": ResponsibleSpec,
}
words = st.from_regex(r"[a-z][a-z_]{0,15}", fullmatch=True)


def message(tables: dict[str, Any], overrides: dict[str, dict[str, Any]] | None = None, source: str = "x.toml") -> str:
    with pytest.raises(SpecError) as caught:
        make_spec(tables, overrides or {}, source)
    assert caught.value.exit_code == 2
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_nothing_gives_the_defaults() -> None:
    assert make_spec({}, {}) == AuditSpec()
    assert AuditSpec().audit.expect == "deleted"
    assert AuditSpec().data.chat_template is False, "a stranger's template is rendered where asked only"


def test_the_sections_are_the_ones_tested_here() -> None:
    assert {name: field.annotation for name, field in AuditSpec.model_fields.items()} == SECTIONS


class TestOverrides:
    """The command line comes before the file; what was not given leaves the file alone."""

    def test_a_given_value_replaces_the_files(self) -> None:
        spec = make_spec({"audit": {"seed": 3, "threads": 2}}, {"audit": {"seed": 7}})
        assert (spec.audit.seed, spec.audit.threads) == (7, 2)

    def test_zero_is_given(self) -> None:
        assert make_spec({"audit": {"seed": 3}}, {"audit": {"seed": 0}}).audit.seed == 0

    @pytest.mark.parametrize("absent", [None, ()])
    def test_none_and_no_values_are_not_given(self, absent: Any) -> None:
        tables = {"models": {"references": ["a.pt"]}}
        assert make_spec(tables, {"models": {"references": absent}}).models.references == ("a.pt",)

    def test_a_section_that_the_file_lacks_is_made(self) -> None:
        assert make_spec({}, {"request": {"classes": (3,)}}).request.classes == (3,)

    def test_the_files_tables_are_left_as_they_were(self) -> None:
        tables = {"audit": {"seed": 3}}
        make_spec(tables, {"audit": {"seed": 7}, "data": {"forget": "f.npz"}})
        assert tables == {"audit": {"seed": 3}}

    def test_a_wrong_option_is_not_laid_to_the_file(self) -> None:
        text = message({"audit": {"threads": 2}}, {"audit": {"seed": -1}})
        assert text.startswith("options: audit.seed = -1")
        assert "x.toml" not in text

    def test_a_wrong_value_of_the_file_is_laid_to_the_file_beside_a_sound_option(self) -> None:
        assert message({"audit": {"threads": 0}}, {"audit": {"seed": 1}}).startswith("x.toml: audit.threads = 0")


class TestMisspelt:
    @given(section=st.sampled_from(sorted(SECTIONS)), word=words, value=st.integers() | st.text(max_size=5))
    def test_key(self, section: str, word: str, value: Any) -> None:
        known = sorted(SECTIONS[section].model_fields)
        assume(word not in known)
        text = message({section: {word: value}})
        assert text == f"x.toml: there is no field {section}.{word}; known here: {', '.join(known)}"

    @given(section=st.sampled_from(sorted(SECTIONS)), data=st.data())
    def test_key_one_letter_away(self, section: str, data: st.DataObject) -> None:
        field = data.draw(st.sampled_from(sorted(SECTIONS[section].model_fields)))
        place = data.draw(st.integers(0, len(field) - 1))
        wrong = field[:place] + field[place + 1 :] if len(field) > 1 else field + field
        assume(wrong not in SECTIONS[section].model_fields)
        text = message({section: {wrong: 1}})
        assert wrong in text
        assert field in text.split("known here: ")[1].split(", ")

    @given(word=words)
    def test_section(self, word: str) -> None:
        assume(word not in SECTIONS)
        assert message({word: {}}) == f"x.toml: there is no field {word}; known here: {', '.join(sorted(SECTIONS))}"


WRONG = [
    ("responsible", "person", 3),
    ("responsible", "date", "soon"),
    ("models", "original", 3),
    ("models", "references", "a.pt"),
    ("models", "references", [1]),
    ("data", "forget", ["f.npz"]),
    ("data", "resize", 32),
    ("data", "resize", [32]),
    ("data", "mean", "grey"),
    ("data", "class_names", [1, 2]),
    ("request", "kind", "classes"),
    ("request", "goal", ""),
    ("request", "classes", 3),
    ("request", "classes", ["three"]),
    ("audit", "checks", "few_shot"),
    ("audit", "seed", -1),
    ("audit", "seed", 0.5),
    ("audit", "device", "gpu"),
    ("audit", "dtype", "float16"),
    ("audit", "threads", 0),
    ("audit", "threads", 100_000),
    ("audit", "batch_size", 0),
    ("audit", "expect", "DELETED"),
    ("recipe", "epochs", 0),
    ("recipe", "optimizer", "lion"),
    ("recipe", "learning_rate", 0),
    ("recipe", "learning_rate", float("inf")),
    ("recipe", "weight_decay", float("nan")),
    ("recipe", "momentum", 1),
    ("recipe", "schedule", "linear"),
]


@pytest.mark.parametrize(("section", "field", "value"), WRONG)
def test_a_value_that_does_not_fit(section: str, field: str, value: Any) -> None:
    text = message({section: {field: value}})
    assert text.startswith(f"x.toml: {section}.{field}")
    culprit = value[0] if isinstance(value, list) and f"{section}.{field}.0" in text else value
    assert repr(culprit) in text
    assert "does not fit" in text


@pytest.mark.parametrize("section", sorted(SECTIONS))
@pytest.mark.parametrize("value", [1, "text", [], [{}], True])
def test_a_section_that_is_no_table(section: str, value: Any) -> None:
    expected = f"x.toml: {section} must be a table, written [{section}]"
    assert message({section: value}) == expected
    some_field = next(iter(SECTIONS[section].model_fields))
    assert message({section: value}, {section: {some_field: "given"}}) == expected


class TestFile:
    def test_read(self, tmp_path: Path) -> None:
        path = tmp_path / "audit.toml"
        path.write_text('[request]\nclasses = [3]\n[data]\nclass_names = ["é"]\n', encoding="utf-8")
        spec = make_spec(read_spec(path), {})
        assert spec.request.classes == (3,)
        assert spec.data.class_names == ("é",)

    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(SpecError, match=r"nowhere\.toml does not exist; `audit init` writes one"):
            read_spec(tmp_path / "nowhere.toml")

    def test_folder(self, tmp_path: Path) -> None:
        with pytest.raises(SpecError, match="cannot be read"):
            read_spec(tmp_path)

    @pytest.mark.parametrize("content", [b"[audit\n", b"seed = \n", b"\xff\xfe", b"[a]\n[a]\n"])
    def test_not_toml(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "audit.toml"
        path.write_bytes(content)
        with pytest.raises(SpecError, match=r"audit\.toml is not valid TOML"):
            read_spec(path)

    @example(content=b"\r")
    @given(content=st.binary(max_size=60))
    def test_any_bytes_give_tables_or_one_sentence(
        self, content: bytes, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        path = tmp_path_factory.mktemp("any") / "audit.toml"
        path.write_bytes(content)
        try:
            tables = tomllib.loads(content.decode())
        except ValueError:
            with pytest.raises(SpecError, match="not valid TOML"):
                read_spec(path)
        else:
            assert read_spec(path) == tables


def test_a_spec_is_frozen() -> None:
    from pydantic import ValidationError

    with pytest.raises(ValidationError, match="frozen"):
        AuditSpec().audit.seed = 3  # type: ignore[misc]  # that is the point

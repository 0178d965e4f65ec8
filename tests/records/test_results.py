"""results.json and its published schema."""

import hashlib
import json
from pathlib import Path

import jsonschema
import pytest
from pydantic import ValidationError

from auditor.errors import DataError
from auditor.inference.verdict import decide
from auditor.records.results import (
    SCHEMA_VERSION,
    Coverage,
    Environment,
    PrimaryChoice,
    Results,
    published_schema,
    read_results,
    schema,
)
from tests.made_records import clean, plan

OLD_RESULTS = sorted((Path(__file__).parents[1] / "old_results").glob("schema-*.json"))
SCHEMA_DIGESTS = {
    "10": "cf2f9fa47470a3e63073b981d5e647706ea084da0b36b9ed658812a7e0accc9f",
    "8": "a1275d017c35c946186dfbbe1ac0c9e48e1a7b27880edfbb2978c39413d36c70",
    "9": "b88af481102d6e843888ad71312b95c8e7b51b96c797322ec98a208a8d7141ff",
    "4": "5d4cdc97c9d935ad550a53b34565ed8b66e1f47348a7cf932d7d7cf1ec2b700b",
    "5": "51ffa791dd5a4ab265d839f45c4dd5dcdf90b9d0c30e234bdae296204e747e90",
    "7": "9b9058f373a6c9d3c4d6e623aa8a9ef256dd89de680ab1f1e678438f8cb49a27",
    "6": "2a64f249e08a10b05fbd6a87bc38e35006a4aafb059724dee7a39f6623a5c51e",
}
PUBLISHED = Path(__file__).parents[2] / "docs" / "results.schema.json"


def sample() -> Results:
    planned = plan()
    return Results(
        plan=planned,
        plan_digest=planned.digest,
        primaries=(PrimaryChoice(family="tampering", check="relearning", resolutions={"relearning": 0.1}),),
        evidence=tuple(clean()),
        verdict=decide(planned, clean()),
        coverage=Coverage(planned=("outputs",), completed=("outputs",), failed=(), not_planned=(), complete=True),
        environment=Environment(python="3.11", packages={}, platform="x", cpu_capability="y", blas="z", gpu=None),
        scores_digest="4" * 64,
    )


def test_the_published_schema_is_that_of_the_types() -> None:
    """To publish: python -c "from auditor.records.results import published_schema as s; print(s(), end='')"."""
    assert json.loads(PUBLISHED.read_text()) == schema()


def test_results_fit_the_schema_and_come_back_equal(tmp_path: Path) -> None:
    text = sample().to_json()
    jsonschema.validate(json.loads(text), schema())
    path = tmp_path / "results.json"
    path.write_text(text)
    assert read_results(path) == sample()
    assert read_results(path).to_json() == text


def test_the_promised_top_level() -> None:
    assert {"schema_version", "plan", "evidence", "verdict", "coverage", "environment"} <= set(
        json.loads(sample().to_json())
    )


@pytest.mark.parametrize(
    ("text", "words"), [("{", "not a results file"), ("{}", "not a results file"), (None, "does not exist")]
)
def test_bad_files_get_a_sentence(tmp_path: Path, text: str | None, words: str) -> None:
    path = tmp_path / "results.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DataError, match=words):
        read_results(path)


def test_the_plans_digest_changes_with_anything_in_it() -> None:
    assert plan().digest == plan().digest
    assert plan(seed=1).digest != plan().digest
    assert plan(command="audit compare a b").digest != plan().digest


def test_the_schema_changes_only_with_its_version() -> None:
    """If this fails: raise SCHEMA_VERSION, publish the schema, note its digest, keep a results file written by it."""
    assert hashlib.sha256(published_schema().encode()).hexdigest() == SCHEMA_DIGESTS[SCHEMA_VERSION]
    assert {path.stem.removeprefix("schema-") for path in OLD_RESULTS} >= set(SCHEMA_DIGESTS)


@pytest.mark.parametrize("path", OLD_RESULTS, ids=lambda path: path.stem)
def test_a_file_that_was_kept_is_read_as_it_was_written_or_refused_by_its_schema(path: Path) -> None:
    version = path.stem.removeprefix("schema-")
    if version == SCHEMA_VERSION:
        assert read_results(path).to_json() == path.read_text()
        return
    words = (
        f"is of results schema {version}, and this version of the auditor reads schema {SCHEMA_VERSION}; read it with"
    )
    with pytest.raises(DataError, match=words):
        read_results(path)


@pytest.mark.parametrize("update", [{"resolutoin": 0.1}, {"resolution": float("nan")}, {"may": "shout"}])
def test_a_copy_of_a_record_is_validated(update: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        clean()[0].model_copy(update=update)

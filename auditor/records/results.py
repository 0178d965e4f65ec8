"""results.json: the whole truth of an audit, with a published schema."""

import json
from pathlib import Path

from pydantic import BaseModel, Field, JsonValue, ValidationError

from auditor.digests import text_digest
from auditor.errors import DataError
from auditor.records.base import Frozen
from auditor.records.evidence import Evidence
from auditor.records.plan import Plan, json_text
from auditor.records.road import Road
from auditor.records.score import CanonicalForm, Failure, Score
from auditor.records.validation import first_fault
from auditor.records.verdict import Verdict

# Raised with every change of a field: a file of another version is then refused by name instead of being misread
# (tests/records/test_results.py keeps files of several).
SCHEMA_VERSION = "10"


class PrimaryChoice(Frozen):
    """One required family and the check that stands for it."""

    family: str
    check: str = Field(description="the primary")
    resolutions: dict[str, float | None] = Field(
        description="w of every planned candidate, in the policy's order; None where it has no gap or could not run"
    )


class MissingCheck(Frozen):
    """A check that was planned or available and gave no evidence."""

    check: str
    reason: str


class Coverage(Frozen):
    """What was looked at and what was not."""

    planned: tuple[str, ...]
    completed: tuple[str, ...]
    failed: tuple[MissingCheck, ...]
    not_planned: tuple[MissingCheck, ...] = Field(description="checks for this task that the plan leaves out")
    complete: bool = Field(description="every planned check gave evidence")


class Environment(Frozen):
    """What the numbers depend on beside the plan."""

    python: str
    packages: dict[str, str]
    platform: str = Field(description="operating system and machine type, no host name")
    cpu_capability: str
    blas: str
    gpu: str | None


class RecordedScores(Frozen):
    """scores.json: every score behind the evidence, so that the evidence and the verdict can be recomputed."""

    schema_version: str = SCHEMA_VERSION
    scores: dict[str, dict[str, Score | Failure]] = Field(description="by check, then by model")

    def to_json(self) -> str:
        """The file's bytes as text. The order of its keys is the audit's own: sums follow it to the last digit."""
        return self.model_dump_json() + "\n"

    @property
    def digest(self) -> str:
        """SHA-256 of the file."""
        return text_digest(self.to_json())


class Results(Frozen):
    """Everything an audit found."""

    schema_version: str = SCHEMA_VERSION
    plan: Plan
    plan_digest: str
    primaries: tuple[PrimaryChoice, ...] = Field(
        description="by required family, the check that has to clear, chosen on original, references and decoys"
    )
    roads: tuple[Road, ...] = Field(
        default=(), description="what each open road was going to bring, from every model but the unlearned one"
    )
    evidence: tuple[Evidence, ...]
    verdict: Verdict
    coverage: Coverage
    environment: Environment
    scores_digest: str = Field(description="SHA-256 of scores.json, from which evidence and verdict follow")
    canonical: CanonicalForm | None = Field(
        default=None,
        description="the form of the unlearned model that the verdict is about; None where none could be made",
    )

    def to_json(self) -> str:
        """The file's bytes as text."""
        return json_text(self)

    @property
    def outputs(self) -> Evidence | None:
        """The evidence of what the model says, or None."""
        return next((item for item in self.evidence if item.role == "outputs"), None)

    def of(self, check: str) -> Evidence | None:
        """The evidence of one check, or None."""
        return next((item for item in self.evidence if item.check == check), None)


def read_results(path: Path) -> Results:
    """Read and validate a results.json.

    Raises:
        DataError: missing, not JSON, or not of this schema.
    """
    try:
        return parse_results(path.read_bytes(), str(path))
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; `audit compare` writes one") from error


def read_scores(path: Path) -> RecordedScores:
    """Read and validate a scores.json.

    Raises:
        DataError: missing, or not of this schema.
    """
    try:
        return RecordedScores.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; `audit compare` writes one beside results.json") from error
    except ValidationError as error:
        raise DataError(f"{path} is not a file of scores: {first_fault(error)}; give one as it was written") from error


def parse_results(data: bytes, name: str) -> Results:
    """Validate the bytes of a results.json.

    Raises:
        DataError: not JSON, or of another schema, which is said before its fields are looked at.
    """
    try:
        # First, or every field that changed since would be reported as a fault of the file.
        stated = _StatedSchema.model_validate_json(data).schema_version
        if stated == SCHEMA_VERSION:
            return Results.model_validate_json(data)
    except ValidationError as error:
        raise DataError(
            f"{name} is not a results file of schema {SCHEMA_VERSION}: {first_fault(error)}; give one as it was written"
        ) from error
    raise DataError(
        # Cut, since a stranger's file may state a version of any length.
        f"{name} is of results schema {stated:.20}, and this version of the auditor reads schema {SCHEMA_VERSION}; "
        "read it with the version that wrote it, which it names as plan.auditor_version, or run the audit again"
    )


# Not Frozen, which refuses unknown fields: of another schema all others may be unknown.
class _StatedSchema(BaseModel):
    """The one field that every version of the file has."""

    schema_version: str


def schema() -> dict[str, JsonValue]:
    """The JSON Schema of results.json, generated from the types."""
    # As written: a field with a default is always in the file, which a schema for reading would leave optional.
    return Results.model_json_schema(mode="serialization")


def published_schema() -> str:
    """The schema as docs/results.schema.json holds it."""
    return json.dumps(schema(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"

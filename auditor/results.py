"""results.json: the whole truth of an audit, with a published schema."""

import json
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from auditor.errors import DataError
from auditor.plan import Plan
from auditor.scores import Evidence, Frozen, Verdict

SCHEMA_VERSION = "1"


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


class Results(Frozen):
    """Everything an audit found."""

    schema_version: str = SCHEMA_VERSION
    plan: Plan
    plan_digest: str
    evidence: tuple[Evidence, ...]
    verdict: Verdict
    coverage: Coverage
    environment: Environment

    def to_json(self) -> str:
        """The file's bytes as text: sorted keys, two spaces, a final newline."""
        return json.dumps(self.model_dump(mode="json"), indent=2, sort_keys=True, ensure_ascii=False) + "\n"

    def of(self, check: str) -> Evidence | None:
        """The evidence of one check, or None."""
        return next((item for item in self.evidence if item.check == check), None)


def read_results(path: Path) -> Results:
    """Read and validate a results.json.

    Raises:
        DataError: missing, not JSON, or not of this schema.
    """
    try:
        return Results.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist") from error
    except (ValidationError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not a results file of schema {SCHEMA_VERSION}: {error}") from error


def schema() -> dict[str, Any]:
    """The JSON Schema of results.json, generated from the types."""
    return Results.model_json_schema(mode="serialization")


def published_schema() -> str:
    """The schema as docs/results.schema.json holds it."""
    return json.dumps(schema(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"

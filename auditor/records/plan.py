"""The plan: what will be done, with every digest and threshold, fixed before the first score."""

import json
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from auditor.digests import digest_of
from auditor.errors import DataError
from auditor.records.access import Access
from auditor.records.base import Frozen
from auditor.records.policy import Domain, Policy
from auditor.records.road import Road
from auditor.records.score import CheckRole
from auditor.records.spec import AuditSpec
from auditor.records.validation import first_fault

Role = Literal["original", "unlearned", "reference", "perturbed", "neither", "decoy"]


class PlannedModel(Frozen):
    """One model of the line-up."""

    name: str
    role: Role
    source: str | None = Field(description="path as given, relative to audit.toml; None for a model in memory")
    # Beside the weights' own digest: one can be checked with sha256sum, the other is the same in any container.
    file_digest: str | None = Field(description="SHA-256 of the file")
    digest: str = Field(description="SHA-256 of names, shapes, types and values of its weights, and of a guard's code")
    guard: str | None = Field(default=None, description="the user's code around its weights, as module.py:function")
    fingerprint: str | None = Field(
        default=None, description="references: SHA-256 of recipe, data and code by which it was trained, where known"
    )
    strengths: tuple[str, ...] = Field(
        default=(),
        description="of a decoy: ways to make it, weakest first; the first that hides its outputs is taken",
    )

    def at(self, strength: str) -> "PlannedModel":
        """A decoy made at one of its strengths, with a digest of its own."""
        # By a digest of its own, or scores of one strength would be taken for those of another.
        return self.model_copy(update={"strengths": (strength,), "digest": digest_of([self.digest, strength])})


class PlannedData(Frozen):
    """One example set."""

    name: str
    source: str | None
    n_examples: int
    digest: str = Field(description="SHA-256 of its examples as the audit uses them")
    file_digest: str | None = Field(default=None, description="SHA-256 of the file; None where it is not one file")


class PlannedAssignment(Frozen):
    """How forget and holdout came about."""

    kind: Literal["random", "declared-exchangeable"] = Field(
        description="random: chance divided them; declared-exchangeable: someone says that they are alike"
    )
    declared_by: str | None = Field(default=None, description="who says so; None where chance divided them")
    n_forget: int = Field(description="subjects that were trained on")
    n_holdout: int = Field(description="subjects that were held out")
    commitment: str | None = Field(
        default=None, description="SHA-256 that was fixed with the assignment; None where it rests on a word alone"
    )
    # Of images a planned set's own digest covers how a model takes them, which no draw knows beforehand.
    drawn: dict[str, str] = Field(
        default_factory=dict, description="SHA-256 of forget and holdout as drawn, where it is not that of the set"
    )

    @property
    def by_chance(self) -> bool:
        """Whether chance divided them, or is said to have."""
        return self.kind == "random"


class PlannedCheck(Frozen):
    """One check with its settings."""

    name: str
    role: CheckRole = Field(description="`outputs` or `weights`: a part that every audit has")
    # Scores of one version of a package are not those of another.
    provider: str = Field(description="distribution that registers it, with its version")
    family: str
    may: str
    access: Access = Field(
        default="training", description="of the unlearned model, the least that its score rests on with these settings"
    )
    primary_for: str | None = Field(
        description="the family that it may be the primary of; original and references decide which candidate is"
    )
    # As JSON: which type they have only the check knows, and a plan is read without it.
    settings: dict[str, object]
    seed: int


class PlannedNull(Frozen):
    """One null that scores may be held against."""

    kind: str
    provider: str = Field(description="distribution that registers it, with its version")


class Execution(Frozen):
    """How the numbers are computed; part of every score's key."""

    device: str
    dtype: str
    # Sums are taken in another order with other threads and batches, so that last bits differ.
    threads: int
    batch_size: int
    gradient_checkpointing: bool = Field(
        default=False, description="whether training computes what blocks hold again instead of keeping it"
    )


class Feasibility(Frozen):
    """What can be said of the outcome before anything is scored."""

    smallest_residue: float | None = Field(
        description="best resolution this forget set and this many references could reach, in units of ρ"
    )
    pass_probability: dict[str, float] = Field(
        description="how likely a true retrain is to be called deleted, by gap between original and references"
    )
    roads: tuple[Road, ...] = Field(
        default=(), description="where chance held subjects out: what either road would bring, under stated assumptions"
    )
    deleted_in_reach: bool
    obstacles: tuple[str, ...] = Field(description="why DELETED is out of reach, each with its fix")


class Plan(Frozen):
    """The whole audit on paper. Its digest is printed in the report."""

    auditor_version: str
    task: str
    request: str
    goal: str
    classes: tuple[int, ...]
    n_classes: int
    class_names: tuple[str, ...] = ()
    expect: str
    seed: int
    models: tuple[PlannedModel, ...]
    data: tuple[PlannedData, ...]
    assignment: PlannedAssignment | None = Field(
        default=None,
        description="where chance divided forget and holdout, or someone declares them alike: holdout is the null",
    )
    architecture_digest: str | None
    architecture: str | None
    preprocessing: dict[str, object]
    layers: tuple[str, ...]
    offers: tuple[str, ...] | None = Field(
        default=None, description="what the user's class lets a check ask of a model; None where the task decides"
    )
    checks: tuple[PlannedCheck, ...]
    nulls: tuple[PlannedNull, ...] = Field(description="what scores may be held against, in the order they are asked")
    execution: Execution
    policy: Policy
    domain: Domain | None = Field(
        default=None, description="where the policy's error rates were measured, if the request declares to lie in it"
    )
    feasibility: Feasibility
    notes: tuple[str, ...] = Field(default=(), description="findings about the input, such as leaks between sets")
    command: str = Field(description="what to type to repeat the audit")
    # Without folders, since the same audit in another folder has the same plan.
    asked: AuditSpec = Field(default_factory=AuditSpec, description="the request it was made from, without folders")

    @property
    def digest(self) -> str:
        """SHA-256 of the plan's canonical JSON."""
        return digest_of(self.model_dump(mode="json"))

    @property
    def answers_only(self) -> bool:
        """Whether all there is to look at is what models answered elsewhere: none is run, and no weights are read."""
        # A class of the user's may give no layers, and its models are run all the same.
        return not self.layers and self.offers is None and any(check.role == "outputs" for check in self.checks)

    def to_json(self) -> str:
        """The bytes of plan.json as text."""
        return json_text(self)

    def models_of(self, role: Role) -> list[PlannedModel]:
        """Models in one role, in the plan's order."""
        return [model for model in self.models if model.role == role]


def read_plan(path: Path) -> Plan:
    """Read and validate a plan.json.

    Raises:
        DataError: missing, not JSON, or no plan of this version.
    """
    try:
        # What is no JSON is a ValidationError to pydantic as well.
        return Plan.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; `audit plan` writes one") from error
    except ValidationError as error:
        raise DataError(
            f"{path} is not a plan of this version of the auditor: {first_fault(error)}; make it again"
        ) from error


def json_text(record: Frozen) -> str:
    """A record as the audit writes it: sorted keys, two spaces, a final newline."""
    # Sorted, so that equal records are equal bytes however they came about.
    return json.dumps(record.model_dump(mode="json"), indent=2, sort_keys=True, ensure_ascii=False) + "\n"

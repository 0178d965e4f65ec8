"""How chance divided a pool into what is trained on and what is held out, fixed so that it can be proved later."""

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from auditor.digests import digest_of
from auditor.errors import DataError
from auditor.records.base import Frozen
from auditor.records.validation import first_fault

FILE_NAME = "assignment.json"


class AssignmentRecord(Frozen):
    """One draw. It stays secret until the unlearning is done: whoever knows what is held out can treat both alike."""

    kind: Literal["random"] = "random"
    seed: int = Field(ge=0, description="by which the subjects were drawn")
    nonce: str = Field(min_length=32, description="keeps the commitment from being guessed from the pool")
    pool: str = Field(description="SHA-256 of the facts or images that were divided")
    forget: str = Field(description="SHA-256 of those that are trained on, then to be forgotten")
    holdout: str = Field(description="SHA-256 of those that are held out")
    n_forget: int = Field(ge=1, description="subjects that are trained on")
    n_holdout: int = Field(ge=1, description="subjects that are held out")

    @property
    def commitment(self) -> str:
        """SHA-256 of all of it: what can be published beforehand, and binds without telling."""
        return digest_of(self.model_dump(mode="json"))


def read_assignment(path: Path) -> AssignmentRecord:
    """Read and validate an assignment.json.

    Raises:
        DataError: missing, not JSON, or no record of an assignment.
    """
    try:
        return AssignmentRecord.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; `audit assign` writes one") from error
    except ValidationError as error:
        raise DataError(
            f"{path} is no record of an assignment: {first_fault(error)}; give the file that `audit assign` wrote"
        ) from error
    # A name with a zero byte in it is a ValueError.
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise DataError(f"{path} cannot be read: {why}; give the file that `audit assign` wrote") from error

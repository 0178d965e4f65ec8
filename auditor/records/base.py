"""What every record shares: immutable, validated, without NaN."""

from collections.abc import Mapping
from typing import Self

from pydantic import BaseModel, ConfigDict

# Flat values alone: figures, tables and exports draw rows without knowing the check.
Row = dict[str, str | int | float | None]


class Frozen(BaseModel):
    """Base of every record: immutable, no unknown fields, no NaN or infinity in its JSON."""

    # A misspelt key of a file must not fall back to a default; NaN is no JSON, and what is missing is None.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def model_copy(self, *, update: Mapping[str, object] | None = None, deep: bool = False) -> Self:
        """A copy with changed fields, validated: pydantic's own takes misspelt fields and NaN.

        Raises:
            ValidationError: an unknown field, or a value that does not fit its field.
        """
        return type(self).model_validate({**dict(self), **(update or {})})

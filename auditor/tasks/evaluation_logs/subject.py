"""A model of which only a log is there."""

from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from auditor.checks.subject import PassCounter
from auditor.errors import UsageError
from auditor.records.score import CanonicalForm

Part = Literal["forget", "retain"]


@dataclass
class LoggedAnswers:
    """What was logged of one model. It offers no weights, no activations, and answers no further question.

    Attributes:
        columns: by name, a number for every question.
        role: name in the audit.
        digest: SHA-256 of the columns.
    """

    columns: dict[str, Tensor]
    role: str
    digest: str
    # What every subject has, and a log has not.
    base_digest: str | None = None
    form: CanonicalForm | None = None
    batch_size: int = 1
    passes: PassCounter = field(default_factory=PassCounter)

    def unguarded(self) -> "LoggedAnswers":
        """Itself."""
        return self

    def column(self, part: Part, name: str) -> Tensor:
        """One number for every question, in their order, float64 [n].

        Raises:
            UsageError: it was not logged.
        """
        found = self.columns.get(f"{part}/{name}")
        if found is None:
            raise UsageError(
                f"the log of the {self.role} model holds no {name} of {part} questions; evaluate it again with it"
            )
        return found

"""The adapter for diffusion models."""

from typing import ClassVar

from auditor.tasks.custom.subject import CustomModel


class DiffusionModel(CustomModel):
    """See :class:`~auditor.tasks.custom.subject.CustomModel`."""

    unproven: ClassVar[str | None] = "how often it would be wrong was not measured, and a label's row alone hides much"

"""Diffusion models of the library diffusers, conditioned by labels."""

from pathlib import Path
from typing import ClassVar

from auditor.records.spec import AuditSpec
from auditor.tasks.custom.subject import CustomModel
from auditor.tasks.custom.task import Custom
from auditor.tasks.custom.user_code import UserTask, built_in
from auditor.tasks.diffusion.code import DiffusionCode
from auditor.tasks.diffusion.subject import DiffusionModel

NAME = "diffusion"


class Diffusion(Custom):
    """Conditional diffusion models: ``models.task = "diffusion"``, labels as targets."""

    name: ClassVar[str] = NAME
    subject_type: ClassVar[type[CustomModel]] = DiffusionModel
    page: ClassVar[str] = "diffusion.md"
    suspects: ClassVar[str] = (
        "check the checkpoint, the architecture, its noise_scheduler and null_label, and that inputs have the range "
        "that it was trained on"
    )

    def code(self, spec: AuditSpec, base: Path) -> UserTask:
        """This project's own, in place of the user's."""
        return built_in(DiffusionCode(), NAME)

"""Class-conditional GANs as a task."""

from pathlib import Path
from typing import ClassVar

from auditor.records.spec import AuditSpec
from auditor.tasks.custom.subject import CustomModel
from auditor.tasks.custom.task import Custom
from auditor.tasks.custom.user_code import UserTask, built_in
from auditor.tasks.gan.code import GanCode
from auditor.tasks.gan.subject import GanModel

NAME = "gan"


class Gans(Custom):
    """Generators that were trained against a discriminator, and know what to draw by a label."""

    name: ClassVar[str] = NAME
    subject_type: ClassVar[type[CustomModel]] = GanModel
    page: ClassVar[str] = "gan.md"
    suspects: ClassVar[str] = "check the checkpoint, the architecture, and that examples are as the model draws them"

    def code(self, spec: AuditSpec, base: Path) -> UserTask:
        """That of this task, whatever the request says."""
        return built_in(GanCode(), NAME)

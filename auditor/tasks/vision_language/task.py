"""The task of models that answer questions about pictures."""

from pathlib import Path
from typing import ClassVar

from auditor.records.spec import AuditSpec
from auditor.tasks.custom.subject import CustomModel
from auditor.tasks.custom.task import Custom
from auditor.tasks.custom.user_code import UserTask, built_in
from auditor.tasks.vision_language.code import VisionLanguageCode
from auditor.tasks.vision_language.subject import VisionLanguageModel


class VisionLanguage(Custom):
    """Models of LLaVA's shape; ``models.task = "vision-language"`` names it."""

    name: ClassVar[str] = "vision-language"
    subject_type: ClassVar[type[CustomModel]] = VisionLanguageModel
    page: ClassVar[str] = "vision_language.md"
    suspects: ClassVar[str] = "check the checkpoint, the tokenizer, and what is done to pictures before the model"

    def code(self, spec: AuditSpec, base: Path) -> UserTask:
        """Of this project, whatever the request says."""
        return built_in(VisionLanguageCode(), self.name)

"""Recommenders as a task of their own."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from torch import nn

from auditor.models.references import Workshop
from auditor.records.spec import AuditSpec
from auditor.tasks.custom.sets import CustomExamples
from auditor.tasks.custom.subject import CustomModel
from auditor.tasks.custom.task import Custom
from auditor.tasks.custom.user_code import UserTask, built_in
from auditor.tasks.recommender.interactions import Interactions
from auditor.tasks.recommender.subject import RecommenderModel

NAME = "recommender"


class Recommender(Custom):
    """Networks that score items for users, trained on who took what."""

    name: ClassVar[str] = NAME
    subject_type: ClassVar[type[CustomModel]] = RecommenderModel
    page: ClassVar[str] = "recommender.md"
    suspects: ClassVar[str] = "check the checkpoint, the architecture and how users and items are numbered"

    def code(self, spec: AuditSpec, base: Path) -> UserTask:
        """That of interactions."""
        return task_code()

    def workshop(self, spec: AuditSpec, base: Path) -> Workshop:
        """As for any custom model; a network that carries a graph is given that of the retain set."""
        found = super().workshop(spec, base)
        assert isinstance(found.retain, CustomExamples), "sets of this task are made of these"
        return replace(found, build=connected(found.build, found.retain))


def task_code() -> UserTask:
    """How recommenders are scored, read and trained."""
    return built_in(Interactions(), NAME)


def connected(build: Callable[[], nn.Module], examples: CustomExamples) -> Callable[[], nn.Module]:
    """What makes a network with the graph of these interactions alone; without ``connect`` it has none.

    Args:
        build: makes an untrained network.
        examples: that it will be trained on.
    """

    def made() -> nn.Module:
        module = build()
        connect = getattr(module, "connect", None)
        if callable(connect):
            connect(examples.inputs)
        return module

    return made

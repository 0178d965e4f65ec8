"""What an audit works on, whatever the task."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from auditor.data import AuditData, Examples
from auditor.facts import FactsData
from auditor.models.canonical_file import CanonicalFile
from auditor.records.plan import PlannedData, PlannedModel

NO_EXAMPLES = Examples(raw=torch.zeros(0, 1), labels=torch.zeros(0, dtype=torch.int64))
NO_DATA = AuditData(
    request="class",
    classes=(),
    n_classes=0,
    forget_attack=NO_EXAMPLES,
    forget_eval=NO_EXAMPLES,
    retain=NO_EXAMPLES,
)


@dataclass(frozen=True, kw_only=True)
class Material:
    """Sets, structure and a maker of subjects.

    Attributes:
        task: ``classification``, ``causal-lm``, or ``weights`` where nothing can be run.
        data: the sets, split; empty ones where nothing can be run.
        planned: the sets for the plan.
        notes: findings about the input.
        preprocessing: what is done to an example before the model sees it, for the plan.
        layers: names of the layers recorded.
        decoys: planned suppressed copies of the original.
        subject: makes the subject of a planned model; called only when a score has to be computed.
        canonical: makes and writes canonical forms; None where nothing can be run.
    """

    task: str
    data: AuditData | FactsData
    subject: Callable[[PlannedModel], Any]
    canonical: CanonicalFile | None = None
    planned: tuple[PlannedData, ...] = ()
    notes: tuple[str, ...] = ()
    preprocessing: dict[str, Any] = field(default_factory=dict)
    layers: tuple[str, ...] = ()
    decoys: tuple[PlannedModel, ...] = ()

    @property
    def runnable(self) -> bool:
        """Whether models can be run, not only compared."""
        return self.task != "weights"

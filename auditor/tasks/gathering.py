"""Which task an audit is about, and what it works on."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from auditor.models.lineup import Lineup
from auditor.records.plan import PlannedModel
from auditor.records.spec import AuditSpec
from auditor.run.input_checks import check_pair
from auditor.subjects.weights import WeightsOnly
from auditor.tasks.material import NO_DATA, Material


def gather(spec: AuditSpec, lineup: Lineup, given: dict[str, Any], base: Path) -> Material:
    """Sets and structure by task; bare weights where something is missing to run the models."""
    if lineup.task == "causal-lm":
        from auditor.tasks import texts

        found = texts.gather(spec, lineup, given, base)
    else:
        from auditor.tasks import images

        found = images.gather(spec, lineup, given, base)
    material = found if found is not None else _weights_alone(spec, lineup)
    return replace(material, notes=(*check_pair(lineup), *material.notes))


def _weights_alone(spec: AuditSpec, lineup: Lineup) -> Material:
    """Without sets nothing can be read off labels: the request is what was asked, about classes if nothing was."""

    def subject(model: PlannedModel) -> WeightsOnly:
        return WeightsOnly(lineup.entries[model.name].tensors, role=model.role, digest=model.digest)

    asked = replace(NO_DATA, request=spec.request.kind or NO_DATA.request, classes=spec.request.classes)
    return Material(task="weights", data=asked, subject=subject)

"""Image classifiers: example sets, the layout of the network, subjects and decoys."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from auditor import decoys
from auditor import inputs as example_sets
from auditor.data import AuditData, Examples, Preprocessing
from auditor.errors import ModelError
from auditor.lineup import Lineup
from auditor.loading.transformers_directory import preprocessing_of
from auditor.plan import PlannedModel
from auditor.spec import AuditSpec
from auditor.subjects.classification import Classifier
from auditor.subjects.layout import Layout, find_layout
from auditor.tasks.material import Material

_LAYOUT_EXAMPLES = 16


def gather(spec: AuditSpec, lineup: Lineup, given: dict[str, Any], base: Path) -> Material | None:
    """Sets and structure; None where sets or architecture are missing, so that only weights can be compared.

    Raises:
        DataError: a set is unreadable, empty, of another shape, or leaks into all of another.
        ModelError: the network does not take the inputs.
        SpecError: a request that is not about images.
    """
    loaded = example_sets.gather(spec, given, base, _preprocessing(spec, lineup, base))
    if loaded is None or lineup.entries["original"].build is None:
        return None
    layout = _layout(lineup, loaded.sets["retain"])
    data = example_sets.split(loaded, layout.n_classes, spec.audit.seed)
    made = decoys.planned(data.request, lineup.planned[0].digest, data.digest, spec.audit.seed)
    return Material(
        task="classification",
        data=data,
        subject=_Factory(lineup=lineup, layout=layout, data=data, forget=loaded.sets["forget"], spec=spec),
        planned=loaded.planned,
        notes=loaded.notes,
        preprocessing=data.retain.preprocessing.model_dump(mode="json"),
        layers=layout.layers,
        decoys=tuple(model for model in made if layout.head is not None or not model.name.startswith("head_")),
    )


def _preprocessing(spec: AuditSpec, lineup: Lineup, base: Path) -> Preprocessing:
    source = lineup.entries["original"].planned.source
    if source is not None and (base / source).is_dir() and spec.data.mean is None:
        return preprocessing_of(base / source)
    return Preprocessing(resize=spec.data.resize, mean=spec.data.mean, std=spec.data.std)


def _layout(lineup: Lineup, examples: Examples) -> Layout:
    """The structure, found on the original by running it on a few examples."""
    few = examples.take(torch.arange(min(_LAYOUT_EXAMPLES, len(examples))))
    try:
        layout = find_layout(lineup.module("original"), few.inputs)
    except RuntimeError as error:
        raise ModelError(
            f"the network cannot take inputs of shape {tuple(few.inputs.shape[1:])}: {error}; "
            "check data.resize and the architecture"
        ) from error
    if not layout.layers:
        raise ModelError("the network has no layer whose output decides its logits, so it cannot be probed")
    return layout


@dataclass(frozen=True, kw_only=True)
class _Factory:
    """Makes the subject of a planned model when a score has to be computed."""

    lineup: Lineup
    layout: Layout
    data: AuditData
    forget: Examples
    spec: AuditSpec

    def __call__(self, model: PlannedModel) -> Classifier:
        run = self.spec.audit
        if model.role == "decoy":
            module = decoys.make(model, self.lineup.module("original"), self.forget, self.data, run.seed)
        else:
            module = self.lineup.module(model.name)
        return Classifier(
            module.to(getattr(torch, run.dtype)),
            role=model.role,
            digest=model.digest,
            layout=self.layout,
            data=self.data,
            batch_size=run.batch_size,
            device=run.device,
        )

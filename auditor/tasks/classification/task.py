"""Image classifiers: example sets, the layout of the network, subjects and decoys."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from auditor.checks.sets import ExampleSet
from auditor.errors import SpecError
from auditor.loading.image_processor import PREPROCESSOR, preprocessing_of
from auditor.loading.preprocessing import Preprocessing
from auditor.models.canonical_file import FILE, FOLDER, CanonicalFile, save_model, save_weights
from auditor.models.canonical_form import Batch, Canonicaliser
from auditor.models.hooks import logits_of
from auditor.models.lineup import Lineup
from auditor.models.memory import batch_sizes
from auditor.models.references import Workshop
from auditor.records.draft import Line
from auditor.records.plan import PlannedModel
from auditor.records.score import CanonicalForm
from auditor.records.spec import AuditSpec, RunSpec
from auditor.tasks.classification import inputs, looking, pool, references
from auditor.tasks.classification.accuracy import accuracy
from auditor.tasks.classification.decoys import recipes as decoys
from auditor.tasks.classification.sets import AuditData, Examples
from auditor.tasks.classification.structure import Layout, layout_of
from auditor.tasks.classification.subject import Classifier
from auditor.tasks.pool import Pool
from auditor.tasks.task import Accuracy, Material, Task


class Classification(Task[Classifier, AuditData]):
    """Image classifiers."""

    name: ClassVar[str] = "classification"
    subject_type: ClassVar[type] = Classifier
    recognised: ClassVar[bool] = True
    page: ClassVar[str] = "checks.md"
    suspects: ClassVar[str] = "check the checkpoint, data.mean, data.std and data.resize, and the order of the classes"

    def material(
        self, spec: AuditSpec, lineup: Lineup, given: Mapping[str, object], base: Path
    ) -> Material[Classifier, AuditData] | None:
        """Sets and structure; None where sets or architecture are missing."""
        inputs.refuse_facts(spec, lineup.entries["original"].planned.source)
        if spec.audit.gradient_checkpointing:
            raise SpecError("audit.gradient_checkpointing is for language models: leave it out, images train in little")
        loaded = inputs.read_sets(spec, given, base, _preprocessing(spec, lineup, base))
        # Weights can be compared all the same (material_of).
        if loaded is None or lineup.entries["original"].build is None:
            return None
        layout = layout_of(lineup.module("original"), inputs.few(loaded.sets["retain"]))
        data = inputs.split(loaded, layout.n_classes, spec.audit.seed)
        made = decoys.planned(data.request, lineup.planned[0].digest, data.digest, spec.audit.seed)
        factory = _Factory(
            lineup=lineup,
            layout=layout,
            data=data,
            forget=loaded.sets["forget"],
            spec=spec,
            forms=_canonicaliser(layout, data, spec.audit),
        )
        return Material(
            task=self.name,
            data=data,
            subject=factory,
            as_given=factory.as_given,
            weight_bytes=lineup.entries["original"].size.numbers_in(getattr(torch, spec.audit.dtype)),
            canonical=_canonical_file(factory, lineup, base),
            planned=loaded.planned,
            notes=loaded.notes,
            preprocessing=data.retain.preprocessing.model_dump(mode="json"),
            layers=layout.layers,
            assignment=loaded.assignment,
            # Without a linear map at its end a network has no row to zero and no head to relabel.
            decoys=tuple(model for model in made if layout.head is not None or not model.name.startswith("head_")),
        )

    def look(self, spec: AuditSpec, lineup: Lineup, base: Path) -> list[Line]:
        """Sizes, values, classes and kind of request, and how the original wants its images."""
        return list(looking.look(spec, lineup, base))

    def pool(self, spec: AuditSpec, lineup: Lineup, source: str, base: Path) -> Pool:
        """Images by class."""
        return pool.pool(spec, source, base, _preprocessing(spec, lineup, base))

    def workshop(self, spec: AuditSpec, base: Path) -> Workshop:
        """From initial weights that the user's architecture makes."""
        return references.workshop(spec, base)

    def accuracy(self, subject: Classifier, data: AuditData) -> Accuracy:
        """At most 512 examples of the forget set and of what is kept."""
        return accuracy(subject, data)

    def not_working(self, accuracy: float, n_classes: int) -> str:
        """In per cent, beside chance."""
        return (
            f"the original classifies only {100 * accuracy:.1f} % of the retain set rightly (chance is "
            f"{100 / n_classes:.1f} %); check preprocessing, class order and architecture"
        )

    def activations(self, subject: Classifier, examples: ExampleSet) -> Mapping[str, Tensor]:
        """Of the first batch."""
        assert isinstance(examples, Examples), "sets of this task are made of these"
        batch, _ = next(subject.batches(examples))
        return subject.activations(batch, subject.layers())


def _preprocessing(spec: AuditSpec, lineup: Lineup, base: Path) -> Preprocessing:
    source = lineup.entries["original"].planned.source
    # What the user states comes before what the directory says.
    if source is not None and (base / source).is_dir() and spec.data.mean is None:
        return preprocessing_of(base / source)
    return Preprocessing(resize=spec.data.resize, mean=spec.data.mean, std=spec.data.std)


def _canonical_file(factory: "_Factory", lineup: Lineup, base: Path) -> CanonicalFile:
    """A directory where the unlearned model is one, with how its images are prepared; else a file of weights."""
    judged = lineup.entries.get("unlearned")
    source = judged.planned.source if judged is not None else None
    # The form is to be deployed in the unlearned model's place, so it has the same make.
    if source is None or not (base / source).is_dir():
        return CanonicalFile(network=factory.network, keep=save_weights, name=FILE)
    keep = partial(save_model, beside=base / source / PREPROCESSOR)
    return CanonicalFile(network=factory.network, keep=keep, name=FOLDER)


def _canonicaliser(layout: Layout, data: AuditData, run: RunSpec) -> Canonicaliser:
    # The smallest batches that a check may be given: where these do not fit, no check runs.
    size = batch_sizes(run.batch_size)[-1]

    def batches(sets: Iterable[Examples]) -> Iterator[Batch]:
        for examples in sets:
            for batch, _ in examples.batches(size):
                yield Batch(run=partial(_logits, batch=batch.to(run.device)))

    return Canonicaliser(
        pairs=layout.pairs,
        units=layout.units,
        batches=lambda: batches(data.splits().values()),
        retain=lambda: batches([data.retain]),
        device=run.device,
    )


def _logits(module: nn.Module, batch: Tensor) -> Tensor:
    return logits_of(module(batch.to(next((p.dtype for p in module.parameters()), torch.float32))))


@dataclass(frozen=True, kw_only=True)
class _Factory:
    """Makes the subject of a planned model when a score has to be computed."""

    lineup: Lineup
    layout: Layout
    data: AuditData
    forget: Examples
    spec: AuditSpec
    forms: Canonicaliser

    def network(self, model: PlannedModel) -> tuple[nn.Module, CanonicalForm]:
        """The network in canonical form; a decoy is made from the canonical original."""
        if model.role == "decoy":
            original, _ = self.network(self.lineup.planned[0])
            module = decoys.make(model, original, self.forget, self.data, self.spec.audit.seed)
        else:
            module = self.lineup.module(model.name)
        # Measured of the one model that may be deployed: what its canonical form says otherwise than the file given.
        return module, self.forms.apply(model.digest, module, measured=model.role == "unlearned")

    def __call__(self, model: PlannedModel) -> Classifier:
        return self._subject(model, *self.network(model))

    def as_given(self, model: PlannedModel) -> Classifier:
        """The subject of a model that is no decoy, without its canonical form, which takes a pass over every set."""
        return self._subject(model, self.lineup.module(model.name), None)

    def _subject(self, model: PlannedModel, module: nn.Module, form: CanonicalForm | None) -> Classifier:
        run = self.spec.audit
        return Classifier(
            # After the form, which is the same whatever type the audit computes in.
            module.to(getattr(torch, run.dtype)),
            role=model.role,
            digest=model.digest,
            layout=self.layout,
            data=self.data,
            batch_size=run.batch_size,
            device=run.device,
            form=form,
        )

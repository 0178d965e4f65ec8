"""Models of any kind, which a class of the user's scores, reads and trains."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from auditor.checks.sets import ExampleSet, evenly
from auditor.errors import SpecError
from auditor.models.canonical_file import FILE, CanonicalFile, save_weights
from auditor.models.canonical_form import Batch, Canonicaliser
from auditor.models.lineup import Lineup
from auditor.models.memory import batch_sizes
from auditor.models.references import Workshop
from auditor.randomness import derive_seed
from auditor.records.plan import PlannedModel
from auditor.records.policy import load_policy
from auditor.records.score import CanonicalForm
from auditor.records.spec import CUSTOM, AuditSpec, RunSpec
from auditor.tasks.custom import inputs, references
from auditor.tasks.custom.decoys import recipes as decoys
from auditor.tasks.custom.sets import CustomExamples, CustomSets
from auditor.tasks.custom.structure import CustomLayout, find_layout, output_of
from auditor.tasks.custom.subject import CustomModel
from auditor.tasks.custom.user_code import CAPABILITIES, UserTask, load_user_task
from auditor.tasks.custom.utility import Judge, prefers_own_targets, refuse_broken
from auditor.tasks.task import Accuracy, Material, Task

_LAYOUT_EXAMPLES = 16
_EXAMPLES = 512
_NO_TARGETS = "scores do not depend on the targets: that the original works was not seen from them"


class Custom(Task[CustomModel, CustomSets]):
    """Models that the class named by ``models.task`` runs.

    A task for one kind of model is a subclass that brings such a class with it, and is named in ``models.task``. Its
    entry points say which checks serve it, those written for this task among them (docs/extending.md).
    """

    name: ClassVar[str] = CUSTOM
    subject_type: ClassVar[type[CustomModel]] = CustomModel
    page: ClassVar[str] = "custom.md"
    suspects: ClassVar[str] = "check the checkpoint, the architecture and the methods of models.task"
    others_need: ClassVar[str] = "models of another task"

    def code(self, spec: AuditSpec, base: Path) -> UserTask:
        """What scores, reads and trains the models.

        Raises:
            SpecError: no such file or class, or a class without ``scores``.
            ModelError: file or class raises.
        """
        assert spec.models.task is not None, "by it the task is chosen"
        return load_user_task(spec.models.task, base)

    def material(
        self, spec: AuditSpec, lineup: Lineup, given: Mapping[str, object], base: Path
    ) -> Material[CustomModel, CustomSets] | None:
        """Sets and structure; None where sets or architecture are missing."""
        entry = lineup.entries["original"]
        if entry.logged:
            raise SpecError("models.task runs models, and the original is an evaluation log; leave one of the two out")
        # From the plan: an unlearner who knew what is drawn could train against just that.
        code = replace(self.code(spec, base), seed=derive_seed(spec.audit.seed, "user code"))
        loaded = inputs.read_sets(spec, given, base, code)
        if loaded is None or entry.build is None:
            return None
        data = inputs.split(loaded, spec.audit.seed, code)
        factory = _factory(spec, lineup, data, code, base, self.subject_type)
        made = decoys.planned(lineup.planned[0].digest, data.digest, spec.audit.seed) if "loss" in code.offers else []
        return Material(
            task=self.name,
            data=data,
            subject=factory,
            as_given=factory.as_given,
            weight_bytes=entry.size.numbers_in(getattr(torch, spec.audit.dtype)),
            canonical=CanonicalFile(network=factory.network, keep=save_weights, name=FILE),
            planned=loaded.planned,
            unproven=self._unproven(),
            notes=(*loaded.notes, *factory.notes, *_missing(code)),
            preprocessing={"task": {"source": code.name, "digest": code.source_digest}},
            layers=factory.layout.layers,
            offers=code.offers,
            decoys=tuple(made),
        )

    def _unproven(self) -> str | None:
        why = self.subject_type.unproven
        # Said beside what a user may supply.
        return None if why is None else f"a way to clear such models that is known to be safe: {why} (docs/{self.page})"

    def workshop(self, spec: AuditSpec, base: Path) -> Workshop:
        """From initial weights that the user's architecture makes, by the user's loss."""
        return references.workshop(spec, base, self.code(spec, base))

    def accuracy(self, subject: CustomModel, data: CustomSets) -> Accuracy:
        """At most 512 examples of the forget set and of what is kept."""
        kept = evenly(data.splits()[data.utility_split], _EXAMPLES)
        share = float(subject.right(kept).mean())
        forget = float(subject.right(evenly(data.forget, _EXAMPLES)).mean())
        return Accuracy(forget=forget, kept=share, kept_alone=share, n_kept=len(kept))

    def not_working(self, accuracy: float, n_classes: int) -> str:
        """In per cent."""
        return f"the original is right about only {100 * accuracy:.0f} % of what is kept; {self.suspects}"

    def activations(self, subject: CustomModel, examples: ExampleSet) -> Mapping[str, Tensor]:
        """Of the first batch."""
        assert isinstance(examples, CustomExamples), "sets of this task are made of these"
        return subject.activations(examples)


def _missing(code: UserTask) -> Iterator[str]:
    missing = [name for name in CAPABILITIES if name not in code.offers]
    if missing:
        yield f"{code.name} does not give {' and '.join(missing)}: checks that need it are left out"


@dataclass(frozen=True, kw_only=True)
class _Factory:
    """Makes the subject of a planned model when a score has to be computed."""

    lineup: Lineup
    layout: CustomLayout
    data: CustomSets
    code: UserTask
    run: RunSpec
    forms: Canonicaliser
    judge: Judge
    kind: type[CustomModel]
    notes: tuple[str, ...]

    def network(self, model: PlannedModel) -> tuple[nn.Module, CanonicalForm]:
        """The network in canonical form; a decoy is made from the canonical original."""
        if model.role == "decoy":
            original, _ = self.network(self.lineup.planned[0])
            module = decoys.make(model, original, self.data, self.code, self.layout, self.run.seed)
        else:
            module = self.lineup.module(model.name)
        return module, self.forms.apply(model.digest, module)

    def __call__(self, model: PlannedModel) -> CustomModel:
        return self._subject(model, *self.network(model))

    def as_given(self, model: PlannedModel) -> CustomModel:
        """The subject of a model that is no decoy, without its canonical form, which takes a pass over every set."""
        return self._subject(model, self.lineup.module(model.name), None)

    def _subject(self, model: PlannedModel, module: nn.Module, form: CanonicalForm | None) -> CustomModel:
        return self.kind(
            # After the form, which is the same whatever type the audit computes in.
            module.to(getattr(torch, self.run.dtype)),
            role=model.role,
            digest=model.digest,
            layout=self.layout,
            data=self.data,
            judge=self.judge,
            batch_size=self.run.batch_size,
            device=self.run.device,
            form=form,
        )


def _factory(
    spec: AuditSpec, lineup: Lineup, data: CustomSets, code: UserTask, base: Path, kind: type[CustomModel]
) -> _Factory:
    original, kept = lineup.module("original"), data.splits()[data.utility_split]
    layout = find_layout(code, original, data.retain.take(torch.arange(min(_LAYOUT_EXAMPLES, len(data.retain)))))
    share = prefers_own_targets(code, original, data.retain)
    if share is not None:
        refuse_broken(share, load_policy(spec.audit.policy, base).thresholds.gate, code.name)
    judge = Judge.by(code, original, kept)
    return _Factory(
        lineup=lineup,
        layout=layout,
        data=data,
        code=code,
        run=spec.audit,
        forms=_canonicaliser(layout, data, code, spec.audit),
        judge=judge,
        kind=kind,
        notes=(judge.words, *((_NO_TARGETS,) if share is None else ())),
    )


def _canonicaliser(layout: CustomLayout, data: CustomSets, code: UserTask, run: RunSpec) -> Canonicaliser:
    # The smallest batches that a check may be given: where these do not fit, no check runs.
    size = batch_sizes(run.batch_size)[-1]

    def batches(sets: Iterable[CustomExamples]) -> Iterator[Batch]:
        for examples in sets:
            for batch in examples.batches(size):
                moved = CustomExamples(inputs=batch.inputs.to(run.device), targets=batch.targets.to(run.device))
                yield Batch(run=partial(_output, code=code, examples=moved))

    return Canonicaliser(
        pairs=layout.pairs,
        units=layout.units,
        batches=lambda: batches(data.splits().values()),
        retain=lambda: batches([data.retain]),
        device=run.device,
    )


def _output(module: nn.Module, code: UserTask, examples: CustomExamples) -> Tensor:
    return output_of(code, module, examples)

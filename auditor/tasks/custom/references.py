"""What references of a custom model are made from: the user's architecture, loss and retain set."""

from collections.abc import Iterator
from pathlib import Path

from torch import Tensor, nn

from auditor import __version__
from auditor.digests import file_digest, parts_digest
from auditor.errors import SpecError
from auditor.loading.architecture import load_architecture
from auditor.loading.checkpoints import build_module, load_weights
from auditor.models.fingerprints import Fingerprint
from auditor.models.lineup import load_original
from auditor.models.reference_quality import Measure, measure_of
from auditor.models.references import Workshop, converted, save
from auditor.models.training import Loss
from auditor.records.spec import AuditSpec
from auditor.tasks.custom.inputs import read_sets
from auditor.tasks.custom.sets import CustomExamples
from auditor.tasks.custom.user_code import UserTask, load_user_task
from auditor.tasks.custom.utility import Judge


def workshop(spec: AuditSpec, base: Path) -> Workshop:
    """See :meth:`auditor.tasks.task.Task.workshop`."""
    needed = (spec.models.architecture, spec.models.original, spec.data.forget, spec.data.retain)
    if spec.models.task is None or spec.models.architecture is None or None in needed:
        raise SpecError(
            "audit reference needs models.architecture, models.original (by whose scores retain accuracy is counted), "
            "data.forget and data.retain beside models.task; set them in audit.toml"
        )
    code = load_user_task(spec.models.task, base)
    if "loss" not in code.offers:
        raise SpecError(f"audit reference needs loss, which {code.name} does not give; add the method")
    architecture = load_architecture(spec.models.architecture, base, spec.models.arguments)
    # As an audit reads them: forgotten classes and leaks are taken out of what references are trained on.
    found = read_sets(spec, {}, base, code)
    assert found is not None, "forget and retain are given"
    retain, forget = found.sets["retain"], found.sets["forget"]
    original = load_original(spec, base, converted(spec, base))
    if original.build is None:
        raise SpecError("audit reference needs an original that can be run; set models.architecture")
    judge = Judge.by(code, original.build().eval(), retain)
    return Workshop(
        build=architecture.function,
        retain=retain,
        loss=loss_of(code),
        keep=save,
        load=lambda path: build_module(architecture.function, load_weights(path, converted(spec, base)), str(path)),
        file_digest=file_digest,
        quality=_quality(judge, retain, forget, spec.audit.batch_size, spec.audit.device),
        suffix=".pt",
        notes=found.notes,
        fingerprint=Fingerprint(
            recipe=spec.recipe,
            retain=retain.digest,
            # The loss is the user's class's: another one trains other references.
            architecture=parts_digest((architecture.source_digest.encode(), code.source_digest.encode())),
            auditor_version=__version__,
        ),
    )


def loss_of(code: UserTask) -> Loss:
    """The user's loss, as training calls it."""

    def loss(module: nn.Module, batch: CustomExamples, device: str) -> Tensor:
        return code.loss(module, batch.inputs.to(device), batch.targets.to(device))

    return loss


def _quality(judge: Judge, retain: CustomExamples, forget: CustomExamples, batch_size: int, device: str) -> Measure:
    """Minus the mean score in place of a loss, and the shares of examples that the model is right about."""

    def answers(module: nn.Module, examples: CustomExamples) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in examples.batches(batch_size):
            inputs, targets = batch.inputs.to(device), batch.targets.to(device)
            scores = judge.code.scores(module, inputs, targets)
            yield -scores, judge.right(module, inputs, targets, scores)

    return measure_of(lambda module: (answers(module, retain), answers(module, forget)), device)

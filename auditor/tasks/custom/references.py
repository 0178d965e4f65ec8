"""What references of a custom model are made from: the user's architecture or directory, loss and retain set."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from auditor import __version__
from auditor.digests import file_digest, parts_digest
from auditor.errors import SpecError
from auditor.loading.architecture import load_architecture
from auditor.loading.checkpoints import build_module, load_weights
from auditor.loading.transformers_directory import load_directory
from auditor.models.fingerprints import Fingerprint
from auditor.models.lineup import load_original
from auditor.models.reference_quality import Measure, measure_of
from auditor.models.references import Workshop, converted, save, save_directory
from auditor.models.training import Loss, continue_from
from auditor.records.spec import AuditSpec
from auditor.tasks.custom.inputs import read_sets
from auditor.tasks.custom.sets import CustomExamples
from auditor.tasks.custom.user_code import UserTask
from auditor.tasks.custom.utility import Judge


def workshop(spec: AuditSpec, base: Path, code: UserTask) -> Workshop:
    """See :meth:`auditor.tasks.task.Task.workshop`.

    Args:
        spec: the request.
        base: folder that paths are relative to.
        code: the user's class, or that of a task for one kind of model.
    """
    needed = (spec.models.original, spec.data.forget, spec.data.retain)
    if None in needed:
        raise SpecError(
            "audit reference needs models.original (by whose scores retain accuracy is counted), data.forget and "
            "data.retain beside models.task; set them in audit.toml"
        )
    if "loss" not in code.offers:
        raise SpecError(f"audit reference needs loss, which {code.name} does not give; add the method")
    ground = _ground(spec, base)
    # As an audit reads them: forgotten classes and leaks are taken out of what references are trained on.
    found = read_sets(spec, {}, base, code)
    assert found is not None, "forget and retain are given"
    retain, forget = found.sets["retain"], found.sets["forget"]
    original = load_original(spec, base, converted(spec, base))
    assert original.build is not None, "an architecture or a directory is given"
    judge = Judge.by(code, original.build().eval(), retain)
    return Workshop(
        build=ground.build,
        retain=retain,
        loss=loss_of(code),
        keep=ground.keep,
        load=ground.load,
        file_digest=ground.file_digest,
        quality=_quality(judge, retain, forget, spec.audit.batch_size, spec.audit.device),
        suffix=ground.suffix,
        notes=found.notes,
        fingerprint=Fingerprint(
            recipe=spec.recipe,
            retain=retain.digest,
            # The loss is the user's class's: another one trains other references.
            architecture=parts_digest((ground.source_digest.encode(), code.source_digest.encode())),
            base=ground.base_digest,
            auditor_version=__version__,
        ),
    )


@dataclass(frozen=True, kw_only=True)
class _Ground:
    """What training starts from, and how networks are kept; the attributes are those of a workshop's fingerprint."""

    build: Callable[[], nn.Module]
    keep: Callable[[nn.Module, Path], None]
    load: Callable[[Path], nn.Module]
    file_digest: Callable[[Path], str]
    suffix: str
    source_digest: str
    base_digest: str | None


def _ground(spec: AuditSpec, base: Path) -> _Ground:
    """From the user's architecture; else from models.base, or from new weights of the original's directory.

    Raises:
        SpecError: none of them is given.
    """
    source = spec.models.base or spec.models.original
    assert source is not None, "the original is given"
    if spec.models.architecture is None and (base / source).is_dir():
        return _of_directory(base / source, continued=spec.models.base is not None)
    if spec.models.architecture is None:
        raise SpecError("audit reference needs models.architecture, or an original in a transformers directory")
    architecture = load_architecture(spec.models.architecture, base, spec.models.arguments)
    return _Ground(
        build=architecture.function,
        keep=save,
        load=lambda path: build_module(architecture.function, load_weights(path, converted(spec, base)), str(path)),
        file_digest=file_digest,
        suffix=".pt",
        source_digest=architecture.source_digest,
        base_digest=None,
    )


def _of_directory(path: Path, *, continued: bool) -> _Ground:
    loaded = load_directory(path)
    start = loaded.module
    # Of the weights that the original has none are taken: they know the forget set.
    kind, config = type(start), copy.deepcopy(start.config)
    return _Ground(
        build=continue_from(start) if continued else lambda: kind(config),
        keep=lambda module, to: save_directory(module, None, to),
        load=lambda where: load_directory(where).module,
        file_digest=lambda where: load_directory(where).file_digest,
        suffix="",
        source_digest=loaded.source_digest,
        base_digest=loaded.digest if continued else None,
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

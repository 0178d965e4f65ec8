"""What references of an image classifier are made from: the user's architecture and the retain set."""

from collections.abc import Iterator
from pathlib import Path

from torch import Tensor, nn

from auditor import __version__
from auditor.digests import file_digest
from auditor.errors import SpecError
from auditor.loading.architecture import load_architecture
from auditor.loading.checkpoints import build_module, load_weights
from auditor.loading.preprocessing import Preprocessing
from auditor.models.fingerprints import Fingerprint
from auditor.models.hooks import logits_of
from auditor.models.reference_quality import Measure, measure_of
from auditor.models.references import Workshop, converted, save
from auditor.models.training import cross_entropy
from auditor.records.spec import AuditSpec
from auditor.tasks.classification import inputs
from auditor.tasks.classification.sets import Examples


def workshop(spec: AuditSpec, base: Path) -> Workshop:
    """See :meth:`auditor.tasks.task.Task.workshop`."""
    if spec.models.architecture is None or spec.data.forget is None or spec.data.retain is None:
        raise SpecError(
            "audit reference needs models.architecture, data.forget and data.retain; set them in audit.toml"
        )
    architecture = load_architecture(spec.models.architecture, base, spec.models.arguments)
    shape = Preprocessing(resize=spec.data.resize, mean=spec.data.mean, std=spec.data.std)
    # As an audit reads them: forgotten classes and leaks are taken out of what references are trained on.
    found = inputs.read_sets(spec, {}, base, shape)
    assert found is not None, "forget and retain are given"
    return Workshop(
        build=architecture.function,
        retain=found.sets["retain"],
        loss=cross_entropy,
        keep=save,
        load=lambda path: build_module(architecture.function, load_weights(path, converted(spec, base)), str(path)),
        file_digest=file_digest,
        quality=of_classifier(found.sets["retain"], found.sets["forget"], spec.audit.batch_size, spec.audit.device),
        suffix=".pt",
        notes=found.notes,
        fingerprint=Fingerprint(
            recipe=spec.recipe,
            retain=found.sets["retain"].digest,
            architecture=architecture.source_digest,
            auditor_version=__version__,
        ),
    )


def of_classifier(retain: Examples, forget: Examples, batch_size: int, device: str) -> Measure:
    """A measure of image classifiers.

    Args:
        retain: the training set of a reference.
        forget: examples it never saw.
        batch_size: examples per forward pass.
        device: torch device name.
    """

    def answers(module: nn.Module, examples: Examples) -> Iterator[tuple[Tensor, Tensor]]:
        for batch, labels in examples.batches(batch_size):
            logits = logits_of(module(batch.to(device))).float().cpu()
            yield nn.functional.cross_entropy(logits, labels, reduction="none"), logits.argmax(1) == labels

    return measure_of(lambda module: (answers(module, retain), answers(module, forget)), device)

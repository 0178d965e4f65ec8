"""What references of a language model are made from: a base, or the original's architecture, and the retain facts."""

from collections.abc import Iterator
from pathlib import Path

from torch import Tensor, nn

from auditor import __version__
from auditor.checks.sets import drop_leaks
from auditor.errors import SpecError
from auditor.loading.tokenizers import load_tokenizer
from auditor.loading.transformers_directory import load_directory
from auditor.models.fingerprints import Fingerprint
from auditor.models.reference_quality import Measure, measure_of
from auditor.models.references import Workshop, save_directory
from auditor.models.training import continue_from
from auditor.records.spec import AuditSpec
from auditor.tasks.causal_lm.encoding import Encoder
from auditor.tasks.causal_lm.losses import answer_logits, answer_losses, answers_of
from auditor.tasks.causal_lm.readers import read_facts
from auditor.tasks.causal_lm.sets import Facts


def workshop(spec: AuditSpec, base: Path) -> Workshop:
    """See :meth:`auditor.tasks.task.Task.workshop`."""
    ground = spec.models.base or spec.models.original
    assert ground is not None, "by it the task was known"
    if spec.data.forget is None or spec.data.retain is None:
        raise SpecError("audit reference needs data.forget and data.retain; set them in audit.toml")
    sets = {"forget": read_facts(spec.data.forget, base), "retain": read_facts(spec.data.retain, base)}
    # A forget fact that stands in retain as well would be taught to every reference.
    notes = drop_leaks(sets, "facts")
    loaded = load_directory(base / ground)
    start = loaded.module
    tokenizer = load_tokenizer(base / (spec.models.tokenizer or ground))
    encoder = Encoder(tokenizer, spec.data.template, spec.data.chat_template)
    continued = spec.models.base is not None
    return Workshop(
        # Without a base from new weights: the original's own, from which its structure is read, know the forget set.
        build=continue_from(start) if continued else lambda: type(start)(start.config),
        retain=sets["retain"],
        loss=answers_of(encoder),
        keep=lambda module, path: save_directory(module, tokenizer, path),
        load=lambda path: load_directory(path).module,
        file_digest=lambda path: load_directory(path).file_digest,
        quality=of_language_model(sets["retain"], sets["forget"], encoder, spec.audit.batch_size, spec.audit.device),
        suffix="",
        notes=tuple(notes),
        fingerprint=Fingerprint(
            recipe=spec.recipe,
            retain=sets["retain"].digest,
            architecture=loaded.source_digest,
            # New weights come from the seed, which stands in each reference's own file.
            base=loaded.digest if continued else None,
            encoding=encoder.digest,
            auditor_version=__version__,
        ),
    )


def of_language_model(retain: Facts, forget: Facts, encoder: Encoder, batch_size: int, device: str) -> Measure:
    """The same of language models, on facts.

    Args:
        retain: see :func:`of_classifier`.
        forget: see there.
        encoder: tokenizer and template.
        batch_size: facts per forward pass.
        device: torch device name.
    """

    def answers(module: nn.Module, facts: Facts) -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, len(facts), batch_size):
            tokens = encoder.batch(facts.items[start : start + batch_size]).to(device)
            logits = answer_logits(module, tokens)
            hits = logits.argmax(1) == tokens.targets
            yield answer_losses(logits, tokens).cpu(), hits.cpu()

    return measure_of(lambda module: (answers(module, retain), answers(module, forget)), device)

"""Language models: sets of facts, tokenizer, the layout of the decoder, subjects and decoys."""

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from auditor.checks.sets import ExampleSet, drop_leaks, sources
from auditor.errors import DataError, ModelError, SpecError
from auditor.loading.tokenizers import load_tokenizer
from auditor.loading.transformers_directory import quiet
from auditor.models.canonical_file import FOLDER, CanonicalFile, save_model
from auditor.models.canonical_form import Batch, Canonicaliser
from auditor.models.lineup import Lineup
from auditor.models.memory import batch_sizes
from auditor.models.references import Workshop
from auditor.models.training import passes_in
from auditor.randomness import derive_seed
from auditor.records.draft import Line
from auditor.records.plan import PlannedData, PlannedModel
from auditor.records.score import CanonicalForm
from auditor.records.spec import AuditSpec, RunSpec
from auditor.sources import digest_of_file_behind
from auditor.tasks.causal_lm import assignment, looking, pool, references
from auditor.tasks.causal_lm.accuracy import accuracy
from auditor.tasks.causal_lm.decoys import recipes as decoys
from auditor.tasks.causal_lm.editing import LanguageModel
from auditor.tasks.causal_lm.encoding import Encoder
from auditor.tasks.causal_lm.input_checks import check_facts, check_sets, check_tokenizers
from auditor.tasks.causal_lm.losses import logits_of_tokens
from auditor.tasks.causal_lm.readers import fact_of, read_facts
from auditor.tasks.causal_lm.sets import Fact, Facts, FactsData, split_facts
from auditor.tasks.causal_lm.structure import DecoderLayout, find_decoder_layout, width_of
from auditor.tasks.causal_lm.subject import CausalLM
from auditor.tasks.pool import Pool
from auditor.tasks.task import Accuracy, Material, Task

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_LAYOUT_FACTS = 4


class CausalLanguageModels(Task[CausalLM, FactsData]):
    """Causal language models."""

    name: ClassVar[str] = "causal-lm"
    subject_type: ClassVar[type] = CausalLM
    recognised: ClassVar[bool] = True
    page: ClassVar[str] = "checks-text.md"
    suspects: ClassVar[str] = "check the checkpoint, its tokenizer and data.template"
    reads_autoencoders: ClassVar[bool] = True

    def material(
        self, spec: AuditSpec, lineup: Lineup, given: Mapping[str, object], base: Path
    ) -> Material[CausalLM, FactsData] | None:
        """Sets and structure; None where forget or retain is missing."""
        if spec.request.kind not in (None, "facts"):
            raise SpecError(f'request.kind = "{spec.request.kind}" is for images; for language models it is "facts"')
        sets = _sets(spec, given, base)
        if sets is None:
            return None
        # Of the sets as they were given: the record of an assignment is about these.
        divided = assignment.planned(spec, sets, base)
        found = dict(sets)
        # Before sizes are checked, since it may empty a set.
        notes = drop_leaks(sets, "facts")
        original = lineup.module("original")
        encoder = encoder_of(spec, lineup.entries["original"].planned.source, original, given, base)
        check_sets(sets, found, encoder)
        notes += check_facts(sets)
        named = spec.models.tokenizer is not None or given.get("tokenizer") is not None
        notes += check_tokenizers(lineup, encoder, sets["retain"], base, named)
        # Every random choice has a seed of its own, so that a further one changes none of the others.
        attack, evaluation = split_facts(sets["forget"], derive_seed(spec.audit.seed, "split"))
        data = FactsData(
            forget_attack=attack,
            forget_eval=evaluation,
            retain=sets["retain"],
            retain_test=sets.get("retain_test"),
            holdout=sets.get("holdout"),
            control=sets.get("control"),
            assigned="no" if divided is None else "declared" if divided.commitment is None else "committed",
            # The same text under another tokenizer is other data.
            encoding=encoder.digest,
            show_text=spec.audit.show_text,
        )
        few = encoder.batch(sets["retain"].items[:_LAYOUT_FACTS])
        layout = find_decoder_layout(original, few.ids)
        forms = _canonicaliser(layout, encoder, data, spec.audit)
        factory = _Factory(lineup=lineup, layout=layout, encoder=encoder, data=data, spec=spec, forms=forms)
        made = decoys.planned(lineup.planned[0].digest, data.digest, spec.audit.seed)
        return Material(
            task=self.name,
            data=data,
            subject=factory,
            as_given=factory.as_given,
            width=width_of(original, layout),
            weight_bytes=lineup.entries["original"].size.numbers_in(getattr(torch, spec.audit.dtype)),
            canonical=CanonicalFile(
                network=factory.network, keep=partial(_keep, tokenizer=encoder.tokenizer), name=FOLDER
            ),
            planned=tuple(_planned(name, facts, spec, given, base) for name, facts in sets.items()),
            notes=tuple(notes),
            preprocessing={
                "template": spec.data.template,
                "chat_template": spec.data.chat_template,
                "encoding": encoder.digest,
            },
            layers=layout.blocks,
            assignment=divided,
            decoys=tuple(decoy for decoy in made if decoy.name not in decoys.ON_REQUEST),
            decoys_on_request=tuple(decoy for decoy in made if decoy.name in decoys.ON_REQUEST),
        )

    def look(self, spec: AuditSpec, lineup: Lineup, base: Path) -> list[Line]:
        """Facts, tokenizer, and the record of a draw where there is one."""
        return list(looking.look(spec, lineup, base))

    def pool(self, spec: AuditSpec, lineup: Lineup, source: str, base: Path) -> Pool:
        """Facts by subject."""
        return pool.pool(source, base)

    def workshop(self, spec: AuditSpec, base: Path) -> Workshop:
        """From models.base where it is given; else from initial weights of the original's architecture."""
        return references.workshop(spec, base)

    def accuracy(self, subject: CausalLM, data: FactsData) -> Accuracy:
        """At most 64 facts of the forget set and of what is kept."""
        return accuracy(subject, data)

    def not_working(self, accuracy: float, n_classes: int) -> str:
        """In per cent of the answers' tokens."""
        return (
            f"the original's first choice is right for only {100 * accuracy:.1f} % of the retain answers' tokens; "
            "check the tokenizer, data.template and whether the model was trained on these facts"
        )

    def activations(self, subject: CausalLM, examples: ExampleSet) -> Mapping[str, Tensor]:
        """Of the first batch."""
        assert isinstance(examples, Facts), "sets of this task are made of these"
        return subject.activations(next(subject.batches(examples)), subject.layers())


def encoder_of(
    spec: AuditSpec, source: str | None, original: nn.Module, given: Mapping[str, object], base: Path
) -> Encoder:
    """The original's tokenizer, or the one named, with the template.

    Args:
        spec: the request.
        source: path of the original; None for one in memory.
        original: its network.
        given: models and sets in memory, by name.
        base: folder that paths are relative to.

    Raises:
        ModelError: there is none.
    """
    # One tokenizer for every model: scores of other tokens could not be compared.
    tokenizer = _in_memory(given)
    if tokenizer is None:
        folder = spec.models.tokenizer or source
        if folder is None:
            raise ModelError("a language model in memory needs its tokenizer; give tokenizer=… or models.tokenizer")
        tokenizer = load_tokenizer(base / folder)
    config = getattr(original, "config", None)
    # Some configurations state no limit; then none is held against facts.
    longest = int(getattr(config, "max_position_embeddings", 0) or 2**20)
    return Encoder(tokenizer, spec.data.template, spec.data.chat_template, longest)


def _in_memory(given: Mapping[str, object]) -> "PreTrainedTokenizerFast | None":
    # Here, since it takes seconds to import and other tasks never need it.
    from transformers import PreTrainedTokenizerFast

    tokenizer = given.get("tokenizer")
    if tokenizer is not None and not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise ModelError(f"tokenizer is a {type(tokenizer).__name__}; give a fast transformers tokenizer")
    return tokenizer


def _sets(spec: AuditSpec, given: Mapping[str, object], base: Path) -> dict[str, Facts] | None:
    origins = sources(given, spec.data)
    if origins["forget"] is None or origins["retain"] is None:
        return None
    return {name: _facts(source, name, base) for name, source in origins.items() if source is not None}


def _facts(source: object, name: str, base: Path) -> Facts:
    if isinstance(source, Facts):
        return source
    if isinstance(source, str | Path):
        return read_facts(str(source), base)
    if isinstance(source, Sequence):
        return Facts(tuple(i if isinstance(i, Fact) else fact_of(i, f"{name}, item {n}") for n, i in enumerate(source)))
    raise DataError(f"{name} is a {type(source).__name__}; give a path of JSON lines or a list of facts")


def _planned(name: str, facts: Facts, spec: AuditSpec, given: Mapping[str, object], base: Path) -> PlannedData:
    # A set in memory is not the file that the request may name as well.
    source = None if given.get(name) is not None else getattr(spec.data, name)
    return PlannedData(
        name=name,
        source=source,
        n_examples=len(facts),
        digest=facts.digest,
        file_digest=digest_of_file_behind(source, base),
    )


def _keep(module: nn.Module, path: Path, tokenizer: "PreTrainedTokenizerFast") -> None:
    save_model(module, path)
    with quiet():
        tokenizer.save_pretrained(path)


def _canonicaliser(layout: DecoderLayout, encoder: Encoder, data: FactsData, run: RunSpec) -> Canonicaliser:
    # The smallest batches that a check may be given: where these do not fit, no check runs.
    size = batch_sizes(run.batch_size)[-1]

    def batches(sets: Iterable[Facts]) -> Iterator[Batch]:
        for facts in sets:
            for start in range(0, len(facts), size):
                tokens = encoder.batch(facts.items[start : start + size]).to(run.device)
                yield Batch(run=partial(logits_of_tokens, tokens=tokens), counted=tokens.mask, asked=tokens.predicting)

    return Canonicaliser(
        pairs=layout.pairs,
        units=layout.units,
        batches=lambda: batches(data.splits().values()),
        retain=lambda: batches([data.retain]),
        device=run.device,
    )


@dataclass(frozen=True, kw_only=True)
class _Factory:
    """Makes the subject of a planned model when a score has to be computed."""

    lineup: Lineup
    layout: DecoderLayout
    encoder: Encoder
    data: FactsData
    spec: AuditSpec
    forms: Canonicaliser

    def network(self, model: PlannedModel) -> tuple[nn.Module, CanonicalForm]:
        """The network in canonical form, without the guard around it; a decoy is made from the canonical original."""
        if model.role == "decoy":
            original, _ = self.network(self.lineup.planned[0])
            # Some decoys are trained, for which the eight bits of a bfloat16 original are too few: their weights are
            # held in float32 while their passes are computed in the type of the audit.
            run = self.spec.audit
            blocks = self.layout.blocks if run.gradient_checkpointing else ()
            given = LanguageModel(original.float().to(run.device), self.encoder, blocks)
            with passes_in(getattr(torch, run.dtype), run.device):
                module = decoys.make(model, given, self.data, run.seed)
        else:
            module = self.lineup.module(model.name)
        # Measured of the one model that may be deployed: what its canonical form says otherwise than the file given.
        return module, self.forms.apply(model.digest, module, measured=model.role == "unlearned")

    def __call__(self, model: PlannedModel) -> CausalLM:
        return self._subject(model, *self.network(model))

    def as_given(self, model: PlannedModel) -> CausalLM:
        """The subject of a model that is no decoy, without its canonical form, which takes a pass over every set."""
        return self._subject(model, self.lineup.module(model.name), None)

    def _subject(self, model: PlannedModel, module: nn.Module, form: CanonicalForm | None) -> CausalLM:
        run = self.spec.audit
        guarded, beneath = self._around(model, module)
        return CausalLM(
            (guarded or module).to(getattr(torch, run.dtype)),
            form=form,
            role=model.role,
            digest=model.digest,
            layout=self.layout,
            encoder=self.encoder,
            data=self.data,
            batch_size=run.batch_size,
            device=run.device,
            unguarded=module if guarded is not None else None,
            base_digest=beneath,
            recomputes=run.gradient_checkpointing,
        )

    def _around(self, model: PlannedModel, module: nn.Module) -> tuple[nn.Module | None, str | None]:
        """The guard around a network if there is one, and the digest of the weights beneath what comes off."""
        if model.role == "decoy":
            return None, None
        entry = self.lineup.entries[model.name]
        if entry.guard is None:
            return None, entry.base_digest
        # A copy: user's code may change the weights, which checks open without the guard.
        guarded = entry.guard.call(copy.deepcopy(module), self.encoder.tokenizer)
        if not isinstance(guarded, nn.Module):
            raise ModelError(
                f"guard {entry.guard.name} returned no torch.nn.Module; it should return the guarded model"
            )
        return guarded.eval(), entry.base_digest

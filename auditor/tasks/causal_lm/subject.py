"""The adapter for any decoder-only transformers language model."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from auditor.checks.sets import ExampleSet
from auditor.checks.subject import PassCounter
from auditor.errors import ModelError
from auditor.models.canonical import CANONICAL_FACTS, CANONICAL_PASSES, canonical
from auditor.models.checkpointing import recomputing
from auditor.models.copies import movable_copy
from auditor.models.feature_store import FeatureStore
from auditor.models.hooks import hook
from auditor.records.score import CanonicalForm
from auditor.tasks.causal_lm.encoding import Encoder, Tokens
from auditor.tasks.causal_lm.generation import continuations
from auditor.tasks.causal_lm.losses import answer_logits, answer_losses, is_bare, logits_of_tokens
from auditor.tasks.causal_lm.recording import (
    COLUMNS,
    TokenRecording,
    fact_means,
    log_probabilities,
    token_statistics,
)
from auditor.tasks.causal_lm.sets import Facts, FactsData
from auditor.tasks.causal_lm.structure import DecoderLayout, width_of

LENS_SPLITS = ("forget_attack", "forget_eval", "holdout")
"""Sets that the lens is read on; a read costs a pass through the map to the vocabulary for every block."""
MOST_LENS_LAYERS = 9
"""Blocks that it reads at most."""


class CausalLM:
    """A decoder-only language model as a subject.

    Args:
        module: the transformers model; kept in eval mode.
        role: its name in the audit.
        digest: SHA-256 of its weights.
        layout: structure of the architecture, found on the original.
        encoder: tokenizer and template, the original's for every model.
        data: the audit's sets.
        batch_size: from the plan.
        device: torch device name.
        unguarded: the same weights without the guard around them; None where there is no guard.
        base_digest: digest of the weights that are left when guard or adapter are taken off; None where neither is.
        form: the canonical form that the network has been brought into.
        recomputes: whether what trains it computes its blocks again instead of keeping what gradients need.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        role: str,
        digest: str,
        layout: DecoderLayout,
        encoder: Encoder,
        data: FactsData,
        batch_size: int = 32,
        device: str = "cpu",
        passes: PassCounter | None = None,
        unguarded: nn.Module | None = None,
        base_digest: str | None = None,
        form: CanonicalForm | None = None,
        recomputes: bool = False,
    ) -> None:
        self.role = role
        self.form = form
        self.digest = digest
        # Dropout would make a score depend on the global random state.
        self.module = module.to(device).eval()
        self.encoder = encoder
        self.passes = passes if passes is not None else PassCounter()
        self.data = data
        self.layout = layout
        self.batch_size = batch_size
        self._device = device
        self._recomputes = recomputes
        self.base_digest = base_digest
        self._bare = self._like(unguarded) if unguarded is not None else None
        if self._bare is not None:
            self._bare.base_digest, self._bare.form = base_digest, form
        self._recordings: dict[str, TokenRecording] = {}

    def layers(self) -> tuple[str, ...]:
        """Names of the decoder blocks, from input to output."""
        return self.layout.blocks

    @property
    def width(self) -> int:
        """Of the residual stream."""
        return width_of(self.module, self.layout)

    def head(self) -> nn.Linear | None:
        """The linear map to the vocabulary."""
        head = self.module.get_submodule(self.layout.head)
        return head if isinstance(head, nn.Linear) else None

    def weights(self) -> dict[str, Tensor]:
        """Parameters and buffers by name."""
        # A guard is no weight: what stands behind it is what was changed, or was not.
        return dict(self.unguarded().module.state_dict())

    def unguarded(self) -> "CausalLM":
        """The subject without the guard around its weights; itself where there is none."""
        return self if self._bare is None else self._bare

    def forward(self, tokens: Tokens) -> Tensor:
        """Logits [n, length, vocabulary] with gradients, one batch as it is."""
        self.passes.examples += tokens.ids.shape[0]
        return logits_of_tokens(self.module, tokens)

    def batches(self, facts: Facts) -> Iterator[Tokens]:
        """The facts as tokens, in the plan's batch size, on the model's device."""
        for start in range(0, len(facts), self.batch_size):
            yield self.encoder.batch(facts.items[start : start + self.batch_size]).to(self._device)

    def one_batch(self, facts: Facts) -> Tokens:
        """The facts as tokens in a single batch, on the model's device: for attacks that train."""
        return self.encoder.batch(facts.items).to(self._device)

    def answer_logits(self, tokens: Tokens) -> Tensor:
        """Logits at the positions that predict the answer, with gradients, [answer tokens, vocabulary]."""
        self.passes.examples += tokens.ids.shape[0]
        return answer_logits(self.module, tokens)

    def losses(self, tokens: Tokens) -> Tensor:
        """Mean cross-entropy over each answer's tokens, with gradients, float32 [n]."""
        return answer_losses(self.answer_logits(tokens), tokens)

    def loss(self, examples: ExampleSet) -> Tensor:
        """Mean of :meth:`losses`, with as much memory as the plan gives its gradients."""
        assert isinstance(examples, Facts), "sets of this task are made of these"
        with self.training():
            return self.losses(self.one_batch(examples)).mean()

    @property
    def recomputed(self) -> tuple[str, ...]:
        """Blocks that training computes twice, so as to keep less; all or none."""
        return self.layout.blocks if self._recomputes else ()

    @contextmanager
    def training(self) -> Iterator[None]:
        """While open, gradients are taken with as much memory as the plan gives them."""
        with recomputing(self.module, self.recomputed):
            yield

    def log_probabilities(self, facts: Facts) -> Tensor:
        """Mean log p over each answer's tokens, without gradients, float64 [n]: one pass over the facts."""
        found = torch.zeros(len(facts), dtype=torch.float64)
        with torch.no_grad():
            for places, tokens in self._by_length(facts):
                found[places] = -self.losses(tokens).cpu().double()
        return found

    def _by_length(self, facts: Facts) -> Iterator[tuple[Tensor, Tokens]]:
        """Batches of facts of about one length, so that little of them is padding, each with its facts' places."""
        lengths = torch.tensor([len(self.encoder.encode(fact)[0]) for fact in facts.items])
        for places in torch.argsort(lengths, stable=True).split(self.batch_size):
            yield places, self.one_batch(facts.take(places.tolist()))

    def recording(self, split: str) -> TokenRecording:
        """The one pass over a named split, made when first asked for and kept."""
        if split not in self._recordings:
            layers = self.lens_layers() if split in LENS_SPLITS else ()
            self._recordings[split] = self.record(self.data.splits()[split], layers)
        return self._recordings[split]

    def lens_layers(self) -> tuple[str, ...]:
        """The blocks that the lens reads: all, or some of a deep model, evenly spaced, the last among them."""
        blocks = self.layers()
        if len(blocks) <= MOST_LENS_LAYERS:
            return blocks
        return tuple(blocks[-1 - round(i * len(blocks) / MOST_LENS_LAYERS)] for i in reversed(range(MOST_LENS_LAYERS)))

    def scores(self, split: str) -> Tensor:
        """Mean log-probability of each answer's tokens, float64 [n]."""
        return self.recording(split).mean_log_probability

    def features(self, split: str) -> Mapping[str, Tensor]:
        """By block, residual stream averaged over the positions that predict the answer, float32 [n, width]."""
        return self.recording(split).features

    def record(self, facts: Facts, lens: tuple[str, ...] = ()) -> TokenRecording:
        """One pass over any facts, not kept.

        Args:
            facts: to send through the model.
            lens: blocks that the answers are read at, too.

        Raises:
            ModelError: the model returns NaN.
        """
        # Counted first: the store lays out all rows beforehand, so that many of them can go to a file.
        lengths = torch.tensor([sum(self.encoder.encode(fact)[1]) for fact in facts.items])
        first = lengths.cumsum(0) - lengths
        store, rows = FeatureStore(int(lengths.sum())), FeatureStore(len(facts))
        with torch.no_grad(), self.listening(self.layers()) as caught:
            for places, tokens in self._by_length(facts):
                logits = self.answer_logits(tokens)
                # Where each fact's tokens stand among all: the batches come in another order.
                at = torch.cat([first[i] + torch.arange(int(lengths[i])) for i in places.tolist()])
                # Some numbers per token: logits over the vocabulary of a whole set would fit in no memory.
                store.write("statistics", at, token_statistics(logits, tokens.targets).cpu())
                for layer, states in caught.items():
                    answered = states[tokens.predicting]
                    rows.write(f"features {layer}", places, _means(answered, tokens).cpu())
                    if layer in lens:
                        read = log_probabilities(self.lens(answered), tokens.targets)
                        rows.write(f"lens {layer}", places, fact_means(read.cpu(), tokens.lengths.cpu()))
        return self._recording(store.tables()["statistics"], rows.tables(), lengths)

    def _recording(self, statistics: Tensor, rows: Mapping[str, Tensor], lengths: Tensor) -> TokenRecording:
        # Not isfinite: a masked token has log-probability −∞, which is no fault.
        if bool(statistics.isnan().any()):
            raise ModelError(f"the {self.role} model returns NaN logits; check the checkpoint and the dtype")
        columns = {name: statistics[:, i] for i, name in enumerate(COLUMNS)}
        features = {n.removeprefix("features "): t for n, t in rows.items() if n.startswith("features ")}
        lens = {n.removeprefix("lens "): t for n, t in rows.items() if n.startswith("lens ")}
        return TokenRecording(lengths=lengths, **columns, features=features, lens=lens)

    def lens(self, states: Tensor) -> Tensor:
        """Logits read from residual-stream states [..., width] through the final norm and the head."""
        # States are caught at the blocks, before the norm; the last hidden state that transformers gives is behind it.
        if self.layout.final_norm is not None:
            states = self.module.get_submodule(self.layout.final_norm)(states)
        logits: Tensor = self.module.get_submodule(self.layout.head)(states)
        return logits

    @contextmanager
    def listening(self, layers: tuple[str, ...]) -> Iterator[dict[str, Tensor]]:
        """While open, every forward pass leaves the residual stream [n, length, width] at the named blocks."""
        caught: dict[str, Tensor] = {}
        with ExitStack() as stack:
            for layer in layers:
                # Bound here: every hook would otherwise write under the last layer's name.
                def keep(activation: Tensor, layer: str = layer) -> None:
                    caught[layer] = activation.detach()

                stack.enter_context(hook(self.module, layer, keep))
            yield caught

    def activations(self, tokens: Tokens, layers: tuple[str, ...]) -> dict[str, Tensor]:
        """Residual stream of one batch at the named blocks, [n, length, width], without gradients."""
        with torch.no_grad(), self.listening(layers) as caught:
            self.forward(tokens)
        return dict(caught)

    @contextmanager
    def intervene(self, layer: str, function: Callable[[Tensor], Tensor]) -> Iterator[None]:
        """While open, the output of a module is replaced by ``function`` of it."""
        with hook(self.module, layer, function):
            yield

    def generate(self, facts: Facts, most: int) -> list[str]:
        """Greedy continuations of the prompts, of as many tokens as each answer has and ``most`` at most.

        They are shorter where the model ends the text.
        """
        return self._said(facts, most, None)

    def sample(self, facts: Facts, most: int, chances: Tensor) -> list[str]:
        """Continuations sampled at temperature 1, one for each fact in the list, as long as those of :meth:`generate`.

        Args:
            facts: as often as samples of each are wanted.
            most: tokens at most.
            chances: numbers in [0, 1) that decide each token, float64 [n, most]: equal ones give equal texts, whatever
                the batch size.
        """
        return self._said(facts, most, chances)

    def _said(self, facts: Facts, most: int, chances: Tensor | None) -> list[str]:
        wanted = [min(sum(self.encoder.encode(fact)[1]), most) for fact in facts.items]
        texts = [""] * len(facts)
        # Those that ask for as many tokens together: a batch goes on until its longest is done.
        for places in torch.argsort(torch.tensor(wanted), stable=True).split(self.batch_size):
            own = None if chances is None else chances[places]
            for i, said in zip(places.tolist(), self._continued(facts.take(places.tolist()), most, own), strict=True):
                texts[i] = self.encoder.decode(said[: wanted[i]])
        return texts

    def _continued(self, facts: Facts, most: int, chances: Tensor | None) -> list[list[int]]:
        prompts = [self.encoder.prompt_ids(fact) for fact in facts.items]
        longest = min(max(sum(self.encoder.encode(fact)[1]) for fact in facts.items), most)
        # With a cache every token goes through the network once; without one the whole text does for each token.
        self.passes.examples += len(facts) * (2 if is_bare(self.module) else longest)
        return continuations(
            self.module,
            prompts,
            longest,
            padding=self.encoder.padding,
            end=self.encoder.tokenizer.eos_token_id,
            device=self._device,
            chances=chances,
        )

    def clone(self) -> "CausalLM":
        """An independent copy whose weights may be changed, frozen ones too."""
        return self._like(movable_copy(self.module))

    def asked_by(self, encoder: Encoder) -> "CausalLM":
        """The same network, not a copy of it, with facts made into tokens in another way."""
        return self._like(self.module, encoder)

    def canonical(self) -> "CausalLM":
        """The same function with homogeneous units rescaled to unit retain RMS."""
        few = self.data.retain.take(range(min(CANONICAL_FACTS, len(self.data.retain))))
        self.passes.examples += CANONICAL_PASSES * len(few)
        batches = [(tokens.ids, tokens.mask) for tokens in self.batches(few)]
        return self._like(canonical(self.module, self.layout.pairs, batches))

    def _like(self, module: nn.Module, encoder: Encoder | None = None) -> "CausalLM":
        # Without `form` and `base_digest`: they speak of the weights as audited, and a copy may be changed.
        return CausalLM(
            module,
            role=self.role,
            digest=self.digest,
            layout=self.layout,
            encoder=encoder or self.encoder,
            data=self.data,
            batch_size=self.batch_size,
            device=self._device,
            passes=self.passes,
            recomputes=self._recomputes,
        )


def _means(states: Tensor, tokens: Tokens) -> Tensor:
    """Mean of each fact's states, float32 [n, width]: position 0 sees one token, and padding none."""
    owner = torch.nonzero(tokens.answer)[:, 0]
    sums = torch.zeros(len(tokens.ids), states.shape[1], device=states.device)
    return sums.index_add(0, owner, states.float()) / tokens.lengths[:, None]

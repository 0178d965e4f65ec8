"""The adapter for any decoder-only transformers language model."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from auditor.checks.subject import PassCounter
from auditor.errors import ModelError
from auditor.models.canonical import CANONICAL_FACTS, CANONICAL_PASSES, canonical
from auditor.models.copies import movable_copy
from auditor.models.feature_store import FeatureStore
from auditor.models.hooks import hook
from auditor.records.score import CanonicalForm
from auditor.tasks.causal_lm.encoding import Encoder, Tokens
from auditor.tasks.causal_lm.losses import answer_losses, logits_of_tokens
from auditor.tasks.causal_lm.recording import COLUMNS, TokenRecording, fact_means, token_statistics
from auditor.tasks.causal_lm.sets import Fact, Facts, FactsData
from auditor.tasks.causal_lm.structure import DecoderLayout


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
        head = self.module.get_submodule(self.layout.head)
        assert isinstance(head, nn.Linear), "the layout was read off such a one"
        return head.in_features

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
        return self.forward(tokens)[tokens.predicting]

    def losses(self, tokens: Tokens) -> Tensor:
        """Mean cross-entropy over each answer's tokens, with gradients, float32 [n]."""
        return answer_losses(self.forward(tokens), tokens)

    def log_probabilities(self, facts: Facts) -> Tensor:
        """Mean log p over each answer's tokens, without gradients, float64 [n]: one pass over the facts."""
        with torch.no_grad():
            return torch.cat([-self.losses(tokens).double().cpu() for tokens in self.batches(facts)])

    def recording(self, split: str) -> TokenRecording:
        """The one pass over a named split, made when first asked for and kept."""
        if split not in self._recordings:
            self._recordings[split] = self.record(self.data.splits()[split])
        return self._recordings[split]

    def scores(self, split: str) -> Tensor:
        """Mean log-probability of each answer's tokens, float64 [n]."""
        return self.recording(split).mean_log_probability

    def features(self, split: str) -> Mapping[str, Tensor]:
        """By block, residual stream averaged over the positions that predict the answer, float32 [n, width]."""
        return self.recording(split).features

    def record(self, facts: Facts) -> TokenRecording:
        """One pass over any facts, not kept.

        Raises:
            ModelError: the model returns NaN.
        """
        # Counted first: the store lays out all rows beforehand, so that many of them can go to a file.
        n_tokens = sum(int(tokens.lengths.sum()) for tokens in self.batches(facts))
        store, rows = FeatureStore(n_tokens), FeatureStore(len(facts))
        lengths = []
        at = start = 0
        with torch.no_grad(), self.listening(self.layers()) as caught:
            for tokens in self.batches(facts):
                logits = self.answer_logits(tokens)
                # Some numbers per token: logits over the vocabulary of a whole set would fit in no memory.
                store.write("statistics", at, token_statistics(logits, tokens.targets).cpu())
                for layer, states in caught.items():
                    self._write_layer(rows, start, layer, states[tokens.predicting], tokens)
                lengths.append(tokens.lengths.cpu())
                at, start = at + len(logits), start + len(tokens.ids)
        return self._recording(store.tables()["statistics"], rows.tables(), torch.cat(lengths))

    def _write_layer(self, rows: FeatureStore, start: int, layer: str, states: Tensor, tokens: Tokens) -> None:
        read = token_statistics(self.lens(states), tokens.targets)[:, 0]
        owner = torch.nonzero(tokens.answer)[:, 0]
        sums = torch.zeros(len(tokens.ids), states.shape[1], device=states.device)
        # Over the positions that predict the answer: position 0 sees one token and padding none.
        means = sums.index_add(0, owner, states.float()) / tokens.lengths[:, None]
        rows.write(f"features {layer}", start, means.cpu())
        rows.write(f"lens {layer}", start, fact_means(read.cpu(), tokens.lengths.cpu()))

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

        Costs one pass per token; every model is asked for the same number.
        """
        texts = []
        for start in range(0, len(facts), self.batch_size):
            texts += self._generate(facts.items[start : start + self.batch_size], most)
        return texts

    def _generate(self, facts: tuple[Fact, ...], most: int) -> list[str]:
        prompts = [self.encoder.prompt_ids(fact) for fact in facts]
        wanted = [min(len(self.encoder.encode(f)[0]) - len(p), most) for f, p in zip(facts, prompts, strict=True)]
        length = max(map(len, prompts)) + max(wanted)
        ids = torch.zeros(len(facts), length, dtype=torch.int64, device=self._device)
        ends = torch.tensor([len(p) for p in prompts], device=self._device)
        for i, prompt in enumerate(prompts):
            ids[i, : len(prompt)] = torch.tensor(prompt, device=self._device)
        columns = torch.arange(length, device=self._device)
        row = torch.arange(len(facts), device=self._device)
        for _ in range(max(wanted)):
            mask = columns[None] < ends[:, None]
            with torch.no_grad():
                logits = self.forward(Tokens(ids=ids, mask=mask, answer=torch.zeros_like(mask)))
            # Padding is on the right, so every row grows at an end of its own.
            ids[row, ends] = logits[row, ends - 1].argmax(-1)
            ends = ends + 1
        return [
            self.encoder.decode(ids[i, len(p) : len(p) + n].tolist())
            for i, (p, n) in enumerate(zip(prompts, wanted, strict=True))
        ]

    def clone(self) -> "CausalLM":
        """An independent copy whose weights may be changed, frozen ones too."""
        return self._like(movable_copy(self.module))

    def canonical(self) -> "CausalLM":
        """The same function with homogeneous units rescaled to unit retain RMS."""
        few = self.data.retain.take(range(min(CANONICAL_FACTS, len(self.data.retain))))
        self.passes.examples += CANONICAL_PASSES * len(few)
        batches = [(tokens.ids, tokens.mask) for tokens in self.batches(few)]
        return self._like(canonical(self.module, self.layout.pairs, batches))

    def _like(self, module: nn.Module) -> "CausalLM":
        # Without `form` and `base_digest`: they speak of the weights as audited, and a copy may be changed.
        return CausalLM(
            module,
            role=self.role,
            digest=self.digest,
            layout=self.layout,
            encoder=self.encoder,
            data=self.data,
            batch_size=self.batch_size,
            device=self._device,
            passes=self.passes,
        )

"""The adapter for any torch image classifier."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager

import torch
from torch import Tensor, nn

from auditor.checks.sets import ExampleSet
from auditor.checks.subject import PassCounter
from auditor.errors import ModelError
from auditor.models.canonical import CANONICAL_EXAMPLES, CANONICAL_PASSES, canonical
from auditor.models.copies import movable_copy
from auditor.models.feature_store import FeatureStore
from auditor.models.hooks import hook, logits_of
from auditor.records.score import CanonicalForm
from auditor.tasks.classification.recording import Recording, pool
from auditor.tasks.classification.sets import AuditData, Examples
from auditor.tasks.classification.structure import Layout


class Classifier:
    """A torch classifier as a :class:`~auditor.tasks.classification.subject.Classifier`.

    Args:
        module: the network; kept in eval mode.
        role: its name in the audit.
        digest: SHA-256 of its weights.
        layout: structure of the architecture, found on the original.
        data: the audit's example sets.
        batch_size: from the plan.
        device: torch device name.
        form: the canonical form that the network has been brought into.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        role: str,
        digest: str,
        layout: Layout,
        data: AuditData,
        batch_size: int = 256,
        device: str = "cpu",
        passes: PassCounter | None = None,
        form: CanonicalForm | None = None,
    ) -> None:
        self.role = role
        self.base_digest: str | None = None
        self.form = form
        self.digest = digest
        # In training mode dropout draws from the global state, and batch normalisation looks at the whole batch.
        self.module = module.to(device).eval()
        self.passes = passes if passes is not None else PassCounter()
        self._layout = layout
        self._data = data
        self.batch_size = batch_size
        self._device = device
        self._recordings: dict[str, Recording] = {}
        # Images are float32, and a network in bfloat16 takes its own type alone.
        self._dtype = next((p.dtype for p in self.module.parameters()), torch.float32)

    def layers(self) -> tuple[str, ...]:
        """Names of the cut points recorded, from input to output."""
        return self._layout.layers

    def vector_layers(self) -> tuple[str, ...]:
        """The cut points whose activation is one vector per example."""
        return self._layout.vector_layers

    def head(self) -> nn.Linear | None:
        """The last linear map, or None."""
        if self._layout.head is None:
            return None
        head = self.module.get_submodule(self._layout.head)
        return head if isinstance(head, nn.Linear) else None

    def weights(self) -> dict[str, Tensor]:
        """Parameters and buffers by name."""
        return dict(self.module.state_dict())

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits with gradients, one batch as it is."""
        self.passes.examples += inputs.shape[0]
        return logits_of(self.module(inputs.to(self._dtype)))

    def batches(self, examples: Examples) -> Iterator[tuple[Tensor, Tensor]]:
        """(inputs, labels) in the plan's batch size, on the model's device."""
        for inputs, labels in examples.batches(self.batch_size):
            yield inputs.to(self._device), labels.to(self._device)

    def logits(self, examples: Examples) -> Tensor:
        """Logits without gradients, float32 [n, classes]."""
        with torch.no_grad():
            parts = [self.forward(inputs).float().cpu() for inputs, _ in self.batches(examples)]
        return torch.cat(parts)

    def loss(self, examples: ExampleSet) -> Tensor:
        """Mean cross-entropy, with gradients."""
        assert isinstance(examples, Examples), "sets of this task are made of these"
        logits = self.forward(examples.inputs.to(self._device)).float()
        return nn.functional.cross_entropy(logits, examples.labels.to(self._device))

    def recording(self, split: str) -> Recording:
        """The one pass over a named split, made when first asked for and kept."""
        if split not in self._recordings:
            self._recordings[split] = self._record(self._data.splits()[split])
        return self._recordings[split]

    def scores(self, split: str) -> Tensor:
        """Logit-scaled confidence in each example's label, float64 [n]."""
        return self.recording(split).margins

    def features(self, split: str) -> Mapping[str, Tensor]:
        """By layer, activations averaged over positions, float32 [n, width]."""
        return self.recording(split).features

    def activations(self, inputs: Tensor, layers: tuple[str, ...]) -> dict[str, Tensor]:
        """Raw activations of one batch at the named cut points, without gradients."""
        with torch.no_grad(), self._listening(layers) as caught:
            self.forward(inputs)
        return caught

    @contextmanager
    def intervene(self, layer: str, function: Callable[[Tensor], Tensor]) -> Iterator[None]:
        """While the context is open, the activation at ``layer`` is replaced by ``function`` of it."""
        with hook(self.module, layer, function):
            yield

    def unguarded(self) -> "Classifier":
        """Itself: guards are put around language models alone."""
        return self

    def clone(self) -> "Classifier":
        """An independent copy whose weights may be changed, frozen ones too."""
        return self._like(movable_copy(self.module))

    def canonical(self) -> "Classifier":
        """The same function with homogeneous units rescaled to unit retain RMS."""
        inputs = self._data.retain.take(torch.arange(min(CANONICAL_EXAMPLES, len(self._data.retain)))).inputs
        self.passes.examples += CANONICAL_PASSES * inputs.shape[0]
        return self._like(canonical(self.module, self._layout.pairs, [(inputs.to(self._device, self._dtype), None)]))

    def _like(self, module: nn.Module) -> "Classifier":
        # Without `form`: it speaks of the weights as audited, and a copy may be changed.
        return Classifier(
            module,
            role=self.role,
            digest=self.digest,
            layout=self._layout,
            data=self._data,
            batch_size=self.batch_size,
            device=self._device,
            passes=self.passes,
        )

    def _record(self, examples: Examples) -> Recording:
        store = FeatureStore(len(examples))
        start = 0
        with torch.no_grad(), self._listening(self.layers(), pooled=True) as caught:
            for inputs, _ in self.batches(examples):
                logits = self.forward(inputs).float().cpu()
                # Written as they come, so that a large set can go to a file.
                store.write("logits", start, logits)
                for layer, rows in caught.items():
                    store.write(f"layer {layer}", start, rows)
                start += inputs.shape[0]
        tables = store.tables()
        if not bool(torch.isfinite(tables["logits"]).all()):
            raise ModelError(f"the {self.role} model returns NaN or infinite logits; check the checkpoint")
        features = {name.removeprefix("layer "): t for name, t in tables.items() if name != "logits"}
        # Logits may be finite where an activation is not, and probes would compute with it.
        odd = next((layer for layer, t in features.items() if not bool(torch.isfinite(t).all())), None)
        if odd is not None:
            raise ModelError(f"the {self.role} model has NaN or infinite activations at {odd}; check the checkpoint")
        return Recording(labels=examples.labels, logits=tables["logits"], features=features)

    def _listening(self, layers: tuple[str, ...], pooled: bool = False) -> AbstractContextManager[dict[str, Tensor]]:
        return _listen(self.module, layers, pooled)


@contextmanager
def _listen(module: nn.Module, layers: tuple[str, ...], pooled: bool) -> Iterator[dict[str, Tensor]]:
    caught: dict[str, Tensor] = {}
    with ExitStack() as stack:
        for layer in layers:
            # Bound here: every hook would otherwise write under the last layer's name.
            def keep(activation: Tensor, layer: str = layer) -> None:
                # Pooled as it passes: raw maps of a whole set would fit in no memory.
                caught[layer] = pool(activation).cpu() if pooled else activation.detach()

            stack.enter_context(hook(module, layer, keep))
        yield caught

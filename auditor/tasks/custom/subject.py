"""The adapter for any torch network that a class of the user's runs."""

from collections.abc import Mapping
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from auditor.checks.sets import ExampleSet
from auditor.checks.subject import PassCounter
from auditor.errors import ModelError
from auditor.models.canonical import CANONICAL_EXAMPLES, CANONICAL_PASSES, HomogeneousPair, canonical
from auditor.models.copies import movable_copy
from auditor.models.feature_store import FeatureStore
from auditor.records.score import CanonicalForm
from auditor.tasks.custom.recording import CustomRecording
from auditor.tasks.custom.sets import CustomExamples, CustomSets
from auditor.tasks.custom.structure import CustomLayout, output_of
from auditor.tasks.custom.utility import Judge


class CustomModel:
    """A network with the user's class. It has every capability; which of them may be asked for the plan says.

    Args:
        module: the network; kept in eval mode.
        role: its name in the audit.
        digest: SHA-256 of its weights.
        layout: structure of the architecture, found on the original.
        data: the audit's example sets.
        judge: says which examples the model is right about.
        batch_size: from the plan.
        device: torch device name.
        passes: shared with clones.
        form: the canonical form that the network has been brought into.
    """

    unproven: ClassVar[str | None] = None
    """Why no audit of such models clears as yet, in one clause; None where it may."""
    matrices_have_a_scale: ClassVar[bool] = False
    """Whether a matrix of such models far from the original's scale is none of a retrain."""

    def __init__(
        self,
        module: nn.Module,
        *,
        role: str,
        digest: str,
        layout: CustomLayout,
        data: CustomSets,
        judge: Judge,
        batch_size: int = 256,
        device: str = "cpu",
        passes: PassCounter | None = None,
        form: CanonicalForm | None = None,
    ) -> None:
        self.role = role
        self.digest = digest
        self.base_digest: str | None = None
        self.form = form
        # In training mode dropout draws from the global state, and batch normalisation looks at the whole batch.
        self.module = module.to(device).eval()
        self.passes = passes if passes is not None else PassCounter()
        self.batch_size = batch_size
        self._judge = judge
        self._code = judge.code
        self._layout = layout
        self._data = data
        self._device = device
        self._recordings: dict[str, CustomRecording] = {}
        self._dtype = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)

    def layers(self) -> tuple[str, ...]:
        """Names of the layers that the user's class gives features of, in its order."""
        return self._layout.layers

    def pairs(self) -> tuple[HomogeneousPair, ...]:
        """Homogeneous units, which :meth:`canonical` brings to one scale."""
        return self._layout.pairs

    def head(self) -> nn.Module:
        """The module with the last matrix of weights that runs."""
        return self.module.get_submodule(self._layout.last_map)

    def weights(self) -> dict[str, Tensor]:
        """Parameters and buffers by name."""
        return dict(self.module.state_dict())

    def recording(self, split: str) -> CustomRecording:
        """The one pass over a named split, made when first asked for and kept."""
        if split not in self._recordings:
            self._recordings[split] = self._record(self._data.splits()[split])
        return self._recordings[split]

    def scores(self, split: str) -> Tensor:
        """By the user's class, float64 [n]; higher is more knowledge."""
        return self.recording(split).scores

    def features(self, split: str) -> Mapping[str, Tensor]:
        """By layer, as the user's class gives them, averaged over positions, float32 [n, width]."""
        return self.recording(split).features

    def loss(self, examples: ExampleSet) -> Tensor:
        """By the user's class, with gradients: one number."""
        assert isinstance(examples, CustomExamples), "sets of this task are made of these"
        self.passes.examples += len(examples)
        return self._code.loss(self.module, *self._on_device(examples))

    def scores_of(self, examples: CustomExamples) -> Tensor:
        """Of any examples, without gradients, float64 [n].

        Raises:
            ModelError: a score is no finite number.
        """
        parts = []
        for batch in examples.batches(self.batch_size):
            self.passes.examples += len(batch)
            parts.append(self._code.scores(self.module, *self._on_device(batch)))
        return self._finite(torch.cat(parts), "scores")

    def right(self, examples: CustomExamples) -> Tensor:
        """Whether, or how much, the model is right about any examples, float64 [n] in [0, 1]."""
        parts = []
        for batch in examples.batches(self.batch_size):
            self.passes.examples += (1 + self._code.judges) * len(batch)
            inputs, targets = self._on_device(batch)
            scores = self._finite(self._code.scores(self.module, inputs, targets), "scores")
            parts.append(self._judge.right(self.module, inputs, targets, scores))
        return torch.cat(parts)

    def activations(self, examples: CustomExamples) -> dict[str, Tensor]:
        """Features of the first batch, by layer; its scores where the user's class gives none."""
        batch = next(examples.batches(self.batch_size))
        self.passes.examples += len(batch)
        inputs, targets = self._on_device(batch)
        if not self.layers():
            return {"scores": self._code.scores(self.module, inputs, targets)[:, None]}
        return self._code.features(self.module, inputs)

    def unguarded(self) -> Self:
        """Itself: guards are put around language models alone."""
        return self

    def clone(self) -> Self:
        """An independent copy whose weights may be changed, frozen ones too."""
        return self._like(movable_copy(self.module))

    def canonical(self) -> Self:
        """The same function with homogeneous units rescaled to unit retain RMS."""
        few = self._data.retain.take(torch.arange(min(CANONICAL_EXAMPLES, len(self._data.retain))))
        self.passes.examples += CANONICAL_PASSES * len(few)

        def run(module: nn.Module, places: Tensor) -> Tensor:
            return output_of(self._code, module, self._moved(few.take(places.cpu())))

        # Examples by their places, since only the user's class knows how inputs go with targets.
        places = torch.arange(len(few))
        return self._like(canonical(self.module, self._layout.pairs, [(places, None)], run))

    def _like(self, module: nn.Module) -> Self:
        # Without `form`: it speaks of the weights as audited, and a copy may be changed.
        return type(self)(
            module,
            role=self.role,
            digest=self.digest,
            layout=self._layout,
            data=self._data,
            judge=self._judge,
            batch_size=self.batch_size,
            device=self._device,
            passes=self.passes,
        )

    def _record(self, examples: CustomExamples) -> CustomRecording:
        store, start = FeatureStore(len(examples)), 0
        for batch in examples.batches(self.batch_size):
            self.passes.examples += (1 + self._code.judges + bool(self.layers())) * len(batch)
            inputs, targets = self._on_device(batch)
            scores = self._code.scores(self.module, inputs, targets)
            right = self._judge.right(self.module, inputs, targets, scores)
            store.write("outputs", start, torch.stack([scores, right], dim=1))
            for layer, rows in self._features(inputs).items():
                store.write(f"layer {layer}", start, rows)
            start += len(batch)
        tables = store.tables()
        features = {name.removeprefix("layer "): t for name, t in tables.items() if name != "outputs"}
        for layer, rows in features.items():
            self._finite(rows, f"features at {layer}")
        scores, right = self._finite(tables["outputs"], "scores").unbind(1)
        return CustomRecording(scores=scores, right=right, features=features)

    def _features(self, inputs: Tensor) -> Mapping[str, Tensor]:
        if not self.layers():
            return {}
        found = self._code.features(self.module, inputs)
        if tuple(found) != self.layers():
            raise ModelError(f"features gave the layers {', '.join(found)}, of the original {', '.join(self.layers())}")
        return found

    def _finite(self, values: Tensor, what: str) -> Tensor:
        if not bool(torch.isfinite(values).all()):
            raise ModelError(
                f"the {self.role} model has NaN or infinite {what} by {self._code.name}; "
                "check the checkpoint and the method"
            )
        return values

    def _moved(self, examples: CustomExamples) -> CustomExamples:
        inputs, targets = self._on_device(examples)
        return CustomExamples(inputs=inputs, targets=targets)

    def _on_device(self, examples: CustomExamples) -> tuple[Tensor, Tensor]:
        inputs = examples.inputs.to(self._device)
        # A network in bfloat16 takes its own type alone; whole numbers are indices.
        return inputs.to(self._dtype) if inputs.is_floating_point() else inputs, examples.targets.to(self._device)

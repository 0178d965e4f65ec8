"""Steering: changes of one model's activations along sparse latents that another model taught."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from auditor.models.alignment import Affine, fit_affine, rows
from auditor.models.hooks import INPUT_SUFFIX
from auditor.models.standardise import Scaling
from auditor.probes.sae_restoration.sparse_autoencoder import SparseAutoencoder
from auditor.tasks.classification.sets import AuditData, Examples
from auditor.tasks.classification.subject import Classifier

Mode = Literal["own", "inject"]
MODES: tuple[Mode, Mode] = ("own", "inject")
# A convolutional map gives a row per position: millions, where a map between models needs far fewer.
_MAX_ROWS = 20_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Dictionary:
    """One autoencoder and the latents that matter here, each int64.

    Attributes:
        sae: the autoencoder.
        experts: of the forgotten classes.
        others: experts of a retained class, as many.
        rest: live latents that are no experts.
    """

    sae: SparseAutoencoder
    experts: Tensor
    others: Tensor
    rest: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerArtefact:
    """What was learnt from the original at one cut point; its space is z-scored on retain rows.

    Attributes:
        layer: the cut point.
        scaling: from the original's raw activations into that space.
        fit_index: retain examples that the maps between models are fitted on, int64.
        eval_index: retain examples measured, int64.
        fit: the original's scaled activations on ``fit_index``.
        evaluated: the same on the forget eval half, then on ``eval_index``.
        dictionaries: one per seed.
        head_rows: the original's head weights of the forgotten classes, float32 [classes, d], and their
            biases; None where the cut point does not feed the head.
    """

    layer: str
    scaling: Scaling
    fit_index: Tensor
    eval_index: Tensor
    fit: Tensor
    evaluated: Tensor
    dictionaries: tuple[Dictionary, ...]
    head_rows: tuple[Tensor, Tensor] | None


class Steering:
    """One model at one cut point: its activations on the eval inputs, and what changing them does.

    Args:
        subject: the model.
        part: what was learnt from the original there.
        data: the example sets.
        seed: of the sample of rows that the maps are fitted on, where there are very many.
    """

    def __init__(self, subject: Classifier, part: LayerArtefact, data: AuditData, seed: int) -> None:
        self.part = part
        self._classes = torch.tensor(data.classes)
        self._is_forgotten = torch.zeros(data.n_classes, dtype=torch.float64).index_fill(0, self._classes, 1.0)
        self._n_forget = len(data.forget_eval)
        fit = rows(activations(subject, part.layer, data, "retain", part.fit_index))
        paired = rows(part.fit)
        keep = row_sample(len(fit), seed)
        # Fitted both ways: inverting the one would blow up whatever it maps to nearly nothing.
        self._to_original: Affine = fit_affine(fit[keep], paired[keep])
        self._back: Affine = fit_affine(paired[keep], fit[keep])
        forget = activations(subject, part.layer, data, "forget_eval")
        retain = activations(subject, part.layer, data, "retain", part.eval_index)
        self.activation = torch.cat([forget, retain])
        aligned = rows(self._to_original(self.activation))
        self._own = [d.sae.encode(aligned) for d in part.dictionaries]
        self._theirs = [d.sae.encode(rows(part.evaluated)) for d in part.dictionaries]
        # Every change is brought to the experts' norm, so that none wins by pushing harder.
        self._norms = {
            (mode, i): self._rms(self._moved(mode, i, d.experts, d.sae.decoder[d.experts]))
            for mode in MODES
            for i, d in enumerate(part.dictionaries)
        }
        self._tail = _tail(subject, part.layer, data, part.eval_index)
        self._unsteered = torch.zeros(0) if part.head_rows is None else self._tail(self.activation)

    def change(self, mode: Mode, i: int, latents: Tensor, decoder: Tensor) -> Tensor:
        """B(Δz W_dec) of the i-th dictionary, shaped like :attr:`activation`.

        Whatever is written has the root mean square norm over forget inputs that the experts' own change has,
        measured in the original's z-scored space.

        Args:
            mode: own or inject.
            i: which dictionary.
            latents: int64 [m], the latents turned up.
            decoder: float32 [m, d], what each adds.
        """
        moved = self._moved(mode, i, latents, decoder)
        norm = self._rms(moved)
        scale = self._norms[mode, i] / norm if norm > 0 else 1.0
        return self._back.linear(_unrows(moved * scale, self.activation))

    def restored(self, changes: Sequence[Tensor], alphas: Sequence[float], with_head_rows: bool = False) -> Tensor:
        """Per forget example, hit less the share of retain inputs hit, float64 [changes, alphas, n_forget].

        A hit is a forgotten class on top. ``with_head_rows`` first gives the head the original's rows.
        """
        hits = torch.stack([self._hits(change, alphas, with_head_rows) for change in changes])
        # All inputs are steered alike: a push that names the class everywhere restores nothing.
        return hits[..., : self._n_forget] - hits[..., self._n_forget :].mean(-1, keepdim=True)

    def steered(self, change: Tensor, alphas: Sequence[float]) -> Tensor:
        """Activations plus α·change for every α, [alphas, n, ...]."""
        strengths = torch.tensor(alphas, dtype=torch.float32).view(-1, *[1] * change.ndim)
        return self.activation + strengths * change

    def _moved(self, mode: Mode, i: int, latents: Tensor, decoder: Tensor) -> Tensor:
        read = self._own[i][:, latents]
        return (read if mode == "own" else self._theirs[i][:, latents] - read) @ decoder

    def _rms(self, moved: Tensor) -> float:
        per_image = len(moved) // len(self.activation)
        return float(moved[: self._n_forget * per_image].square().sum(1).mean().sqrt())

    def _hits(self, change: Tensor, alphas: Sequence[float], with_head_rows: bool) -> Tensor:
        """Whether a forgotten class is on top, float64 [alphas, n] of 0 and 1."""
        if self.part.head_rows is None:
            # Whole maps at every strength at once could outgrow memory.
            logits = torch.stack([self._tail(self.steered(change, (alpha,))[0]) for alpha in alphas])
        elif with_head_rows:
            weight, bias = self.part.head_rows
            steered = self.steered(change, alphas)
            logits = self._tail(steered)
            # The original's rows read its own raw units, not the z-scored ones.
            raw = self._to_original(steered) * self.part.scaling.std + self.part.scaling.mean
            logits[..., self._classes] = raw @ weight.T + bias
        else:
            # What follows is linear, so the change of the logits is worked out once for all strengths.
            strengths = torch.tensor(alphas, dtype=torch.float32)[:, None, None]
            # The second term takes off the bias, which the head adds to a change as to any input.
            logits = self._unsteered + strengths * (self._tail(change) - self._tail(torch.zeros_like(change[:1])))
        return self._is_forgotten[logits.argmax(-1)]


def _feeds_head(subject: Classifier, layer: str) -> bool:
    return subject.head() is not None and layer == subject.layers()[-1] and layer.endswith(INPUT_SUFFIX)


def head_rows(subject: Classifier, layer: str, data: AuditData) -> tuple[Tensor, Tensor] | None:
    """Head weights [classes, d] and biases of the forgotten classes; None if ``layer`` feeds no head."""
    head = subject.head()
    if head is None or not _feeds_head(subject, layer):
        return None
    weight = head.weight.detach().float().cpu()[list(data.classes)]
    bias = torch.zeros(len(weight)) if head.bias is None else head.bias.detach().float().cpu()[list(data.classes)]
    return weight, bias


def activations(subject: Classifier, layer: str, data: AuditData, split: str, index: Tensor | None = None) -> Tensor:
    """Raw activations at ``layer``; from the recording where that kept them whole."""
    if layer in subject.vector_layers():
        features = subject.recording(split).features[layer]
        return features if index is None else features[index]
    examples = data.splits()[split]
    chosen = examples if index is None else examples.take(index)
    parts = [subject.activations(inputs, (layer,))[layer].float().cpu() for inputs, _ in subject.batches(chosen)]
    return torch.cat(parts)


def _tail(subject: Classifier, layer: str, data: AuditData, retain_eval: Tensor) -> Callable[[Tensor], Tensor]:
    """From the eval inputs' activations at ``layer`` [n, ...] to their logits [n, classes]."""
    head = subject.head()
    if head is not None and _feeds_head(subject, layer):
        weight = head.weight.detach().float().cpu()
        bias = None if head.bias is None else head.bias.detach().float().cpu()
        return lambda activation: torch.nn.functional.linear(activation, weight, bias)
    both = [data.forget_eval, data.retain.take(retain_eval)]

    def run(activation: Tensor) -> Tensor:
        parts = []
        start = 0
        with torch.no_grad():
            for inputs in _inputs(subject, both):
                piece = activation[start : start + len(inputs)].to(inputs.device)
                with subject.intervene(layer, lambda _, piece=piece: piece):  # type: ignore[misc]
                    parts.append(subject.forward(inputs).float().cpu())
                start += len(inputs)
        return torch.cat(parts)

    return run


def _inputs(subject: Classifier, sets: Sequence[Examples]) -> Iterator[Tensor]:
    for examples in sets:
        for inputs, _ in subject.batches(examples):
            yield inputs


def _unrows(moved: Tensor, like: Tensor) -> Tensor:
    """Undo :func:`auditor.models.alignment.rows` for an activation shaped like ``like``."""
    if like.ndim == 4:
        n, _, height, width = like.shape
        return moved.view(n, height, width, -1).permute(0, 3, 1, 2)
    return moved.view(*like.shape[:-1], -1)


def sample(n: int, wanted: int, seed: int) -> Tensor:
    """At most ``wanted`` of ``n`` indices, ascending, int64."""
    return torch.from_numpy(np.sort(np.random.default_rng(seed).permutation(n)[:wanted]))


def row_sample(n: int, seed: int) -> Tensor:
    """Draw at most ``_MAX_ROWS`` of ``n`` indices, ascending, int64."""
    return torch.arange(n) if n <= _MAX_ROWS else sample(n, _MAX_ROWS, seed)

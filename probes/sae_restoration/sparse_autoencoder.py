"""A TopK sparse autoencoder, trained through sae-lens, kept as plain tensors; what its latents detect."""

import contextlib
import io
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from auditor.digests import file_digest
from auditor.errors import UsageError
from auditor.models.saved_autoencoder import CONFIG, WEIGHTS
from auditor.randomness import torch_seed
from auditor.records.base import Frozen


class TrainingSettings(Frozen):
    """How a sparse autoencoder is trained.

    Attributes:
        k: latents active per row.
        expansion: latents per input dimension.
        steps: optimiser steps; the learning rate falls linearly to a tenth over the second half.
        batch_size: rows per step.
        learning_rate: of Adam.
    """

    k: int = 8
    expansion: int = 2
    steps: int = 300
    batch_size: int = 256
    learning_rate: float = 1e-2


@dataclass(frozen=True, kw_only=True, slots=True)
class SparseAutoencoder:
    """x ≈ z W_dec + b_dec with z = TopK(ReLU((x − b_dec) W_enc + b_enc)) (Gao et al. 2024, eq. 1-2).

    Attributes:
        encoder: W_enc, float32 [d, latents].
        encoder_bias: b_enc, float32 [latents].
        decoder: W_dec, float32 [latents, d]; rows of unit norm where trained here.
        decoder_bias: b_dec, float32 [d].
        k: latents kept per row.
    """

    encoder: Tensor
    encoder_bias: Tensor
    decoder: Tensor
    decoder_bias: Tensor
    k: int

    def encode(self, rows: Tensor) -> Tensor:
        """Latent activations z ≥ 0, float32 [n, latents], of rows [n, d]."""
        before = (rows - self.decoder_bias) @ self.encoder + self.encoder_bias
        # TopK first is the same, since ReLU keeps the order.
        top = before.topk(self.k, dim=-1)
        return torch.zeros_like(before).scatter(-1, top.indices, top.values.relu())

    def decode(self, latents: Tensor) -> Tensor:
        """Reconstruction, float32 [n, d], of latents [n, latents]."""
        return latents @ self.decoder + self.decoder_bias


def train(rows: Tensor, settings: TrainingSettings, seed: int) -> SparseAutoencoder:
    """Train on rows, float32 [n, d]; the same rows, settings and seed give the same tensors.

    The sae-lens trainer reports to a progress bar and its imports warn of things that are not the
    auditor's; both are kept off the terminal. Nothing is logged, checkpointed or fetched.
    """
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()), torch_seed(seed):
        warnings.simplefilter("ignore")
        return _train(rows, settings, seed)


def _train(rows: Tensor, settings: TrainingSettings, seed: int) -> SparseAutoencoder:
    # Importing sae-lens takes ten seconds, so only those who train pay for it.
    from sae_lens import SAETrainer, TopKTrainingSAE, TopKTrainingSAEConfig
    from sae_lens.config import SAETrainerConfig

    width = rows.shape[1] * settings.expansion
    k = min(settings.k, width)
    shape = TopKTrainingSAEConfig(
        d_in=rows.shape[1],
        d_sae=width,
        k=k,
        # Rows of any size train alike at one learning rate; sae-lens folds the factor into the weights at the end.
        normalize_activations="expected_average_only_in",
    )
    # The import above may draw from the global stream on its first run; the initial weights must not notice.
    torch.manual_seed(seed)
    plan = SAETrainerConfig(
        total_training_samples=settings.steps * settings.batch_size,
        train_batch_size_samples=settings.batch_size,
        lr=settings.learning_rate,
        lr_end=settings.learning_rate / 10,
        lr_decay_steps=settings.steps // 2,
        n_batches_for_norm_estimate=min(20, settings.steps),
        dead_feature_window=max(settings.steps // 3, 1),
    )
    # sae-lens takes as many batches as its plan says and never asks how many there are.
    provider = _endless_batches(rows, settings.batch_size, seed)
    trained = SAETrainer(cfg=plan, sae=TopKTrainingSAE(shape), data_provider=provider).fit()
    # Latents are ranked and selected as if decoder rows had unit norm; folding the norms in makes it so.
    return _with_norms_folded(trained, trained.W_dec.detach().norm(dim=1).clamp_min(1e-12), k)


def load(folder: str, digest: str, width: int) -> SparseAutoencoder:
    """A TopK autoencoder saved by sae-lens.

    Args:
        folder: with ``cfg.json`` and ``sae_weights.safetensors``.
        digest: SHA-256 of the weights' file, so that scores belong to it and to no other.
        width: of the rows it is to read.

    Raises:
        UsageError: another file, another kind, or one that does not fit.
    """
    weights = Path(folder) / WEIGHTS
    if not weights.is_file() or not (Path(folder) / CONFIG).is_file():
        raise UsageError(f"{folder}: no autoencoder; {CONFIG} and {WEIGHTS} are needed")
    # Scores are stored by this digest: another file would be taken for the one they belong to.
    found = file_digest(weights)
    if found != digest:
        raise UsageError(f"{weights}: its SHA-256 is {found}, and the plan says {digest}; give the right one")
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        from sae_lens import SAE

        # Any: sae-lens comes without types.
        sae: Any = SAE.load_from_disk(folder)
    kind, shape = str(sae.cfg.architecture()), tuple(sae.W_enc.shape)
    if kind != "topk" or sae.cfg.normalize_activations != "none" or shape[0] != width:
        raise UsageError(
            f"{folder}: a {kind} autoencoder of {shape[0]} inputs with normalize_activations = "
            f"{sae.cfg.normalize_activations!r}; needed is a topk one of {width} inputs without normalisation"
        )
    # sae-lens may rank latents by activation times norm; with the norms folded in TopK chooses the same.
    ranked_by_norm = bool(sae.cfg.rescale_acts_by_decoder_norm)
    norms = sae.W_dec.detach().norm(dim=1).clamp_min(1e-12) if ranked_by_norm else torch.ones(shape[1])
    return _with_norms_folded(sae, norms, int(sae.cfg.k))


def _with_norms_folded(sae: Any, norms: Tensor, k: int) -> SparseAutoencoder:
    return SparseAutoencoder(
        encoder=(sae.W_enc.detach() * norms).clone(),
        encoder_bias=(sae.b_enc.detach() * norms).clone(),
        decoder=(sae.W_dec.detach() / norms[:, None]).clone(),
        decoder_bias=sae.b_dec.detach().clone(),
        k=k,
    )


def _endless_batches(rows: Tensor, size: int, seed: int) -> Iterator[Tensor]:
    random = torch.Generator().manual_seed(seed)
    while True:
        yield rows[torch.randint(len(rows), (size,), generator=random)]


def detector_f1(active: Tensor, wanted: Tensor) -> Tensor:
    """F1 of "this latent is active" as a detector.

    Args:
        active: bool [n, latents].
        wanted: bool [n].

    Returns:
        2·hits/(2·hits + misses + false alarms), float32 [latents], in [0, 1].

    >>> detector_f1(torch.tensor([[True], [True], [False]]), torch.tensor([True, False, False]))
    tensor([0.6667])
    """
    hits = (active & wanted[:, None]).sum(0)
    return 2 * hits / (active.sum(0) + wanted.sum()).clamp_min(1)


def broad_latents(active: Tensor, labels: Tensor, share: float = 0.7) -> Tensor:
    """Whether a latent fires on half of the examples or more in ``share`` of the classes, bool [latents]."""
    rates = torch.stack([active[labels == label].float().mean(0) for label in sorted(set(labels.tolist()))])
    # In float32 seven of ten classes may come out a little below .7.
    return (rates >= 0.5).float().mean(0) >= share - 1e-6


def expert_latents(active: Tensor, labels: Tensor, classes: Sequence[int], k: int) -> Tensor:
    """Pick the k·5/4 best detectors of each class, without broad or silent latents: int64 indices, ascending.

    Args:
        active: bool [n, latents].
        labels: int64 [n].
        classes: classes to be detected.
        k: latents active per row.
    """
    usable = ~broad_latents(active, labels) & active.any(0)
    # As many as arXiv 2602.18505 keeps.
    count = min(max(k * 5 // 4, 1), int(usable.sum()))
    chosen = torch.zeros_like(usable)
    for label in classes:
        # Below any F1, so that no unusable latent is among the best.
        f1 = detector_f1(active, labels == label).masked_fill(~usable, -1.0)
        chosen[f1.topk(count).indices] = True
    return torch.nonzero(chosen)[:, 0]

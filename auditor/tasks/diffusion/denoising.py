"""What a conditional diffusion model does with one noisy example: pure functions of network, example, time and noise.

A network takes x_t = √ᾱ_t·x + √(1 − ᾱ_t)·ε with its time t and a label, and predicts the noise ε, the example x, or
the velocity √ᾱ_t·ε − √(1 − ᾱ_t)·x, whichever its scheduler says (Ho et al. 2020, arXiv 2006.11239).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from auditor.errors import ModelError

_KINDS = ("epsilon", "sample", "v_prediction")
_TABLE = "class_embedding"


@dataclass(frozen=True)
class Denoiser:
    """A network with the schedule of noise that it was trained on.

    Attributes:
        module: is called with noisy examples [n, ...], times [n] and ``class_labels`` [n].
        alphas: ᾱ by time, float32 [times].
        kind: what the network predicts: ``epsilon``, ``sample`` or ``v_prediction``.
        null_label: the label that stands for none.
    """

    module: nn.Module
    alphas: Tensor
    kind: str
    null_label: int

    @classmethod
    def of(cls, module: nn.Module) -> "Denoiser":
        """By what the network carries.

        Raises:
            ModelError: it carries no scheduler, or no null label.
        """
        scheduler: Any = getattr(module, "noise_scheduler", None)
        alphas = getattr(scheduler, "alphas_cumprod", None)
        if not isinstance(alphas, Tensor):
            raise ModelError(
                "the network says nothing of its schedule of noise; let models.architecture set "
                "network.noise_scheduler to the diffusers scheduler that it was trained with"
            )
        kind = str(scheduler.config.get("prediction_type", "epsilon"))
        if kind not in _KINDS:
            raise ModelError(f"network.noise_scheduler predicts {kind}; known are {', '.join(_KINDS)}")
        null = getattr(module, "null_label", None)
        if not isinstance(null, int):
            raise ModelError(
                "the network says nothing of the label that stands for none; let models.architecture set "
                "network.null_label to its number"
            )
        return cls(module, alphas, kind, null)

    @property
    def n_times(self) -> int:
        """Steps of the schedule."""
        return len(self.alphas)

    def time(self, share: float) -> int:
        """The step at this share of the schedule, from 0, clean, to 1, noise alone."""
        return min(round(share * self.n_times), self.n_times - 1)

    def predict(self, noisy: Tensor, times: Tensor, labels: Tensor) -> Tensor:
        """The network's prediction, of the shape of ``noisy``."""
        found = self.module(noisy, times, class_labels=labels)
        prediction: Tensor = found if isinstance(found, Tensor) else found.sample
        return prediction

    def noised(self, x: Tensor, times: Tensor, noise: Tensor) -> Tensor:
        """x_t."""
        signal, rest = self._shares(x, times)
        return signal * x + rest * noise

    def aim(self, x: Tensor, times: Tensor, noise: Tensor) -> Tensor:
        """What the network should predict."""
        if self.kind == "epsilon":
            return noise
        signal, rest = self._shares(x, times)
        return x if self.kind == "sample" else signal * noise - rest * x

    def errors(self, x: Tensor, labels: Tensor, times: Tensor, noise: Tensor) -> Tensor:
        """Mean squared error of each prediction, [n].

        Args:
            x: examples, [n, ...].
            labels: int64 [n].
            times: int64 [n].
            noise: of the shape of ``x``.
        """
        prediction = self.predict(self.noised(x, times, noise), times, labels)
        return (prediction - self.aim(x, times, noise)).square().flatten(1).mean(1)

    def errors_at(self, x: Tensor, labels: Tensor, time: int, noise: Tensor) -> Tensor:
        """The same with one time, and one noise [1, ...], for all examples."""
        times = torch.full((len(x),), time, dtype=torch.int64, device=x.device)
        return self.errors(x, labels, times, noise.to(x).expand_as(x))

    def _shares(self, x: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
        alphas = self.alphas.to(x)[times].reshape(-1, *[1] * (x.ndim - 1))
        return alphas.sqrt(), (1 - alphas).sqrt()


def table_of(module: nn.Module) -> nn.Embedding:
    """The table that holds a vector for every label.

    Raises:
        ModelError: there is none.
    """
    table = getattr(module, _TABLE, None)
    if not isinstance(table, nn.Embedding):
        raise ModelError(
            f"the network has no table of labels: its {_TABLE} is {type(table).__name__}, not torch's Embedding, which "
            "UNet2DModel makes with num_class_embeds"
        )
    return table


def known_labels(denoiser: Denoiser) -> list[int]:
    """Every label of the table but the null label."""
    return [label for label in range(table_of(denoiser.module).num_embeddings) if label != denoiser.null_label]


@contextmanager
def label_vector(module: nn.Module, vectors: Tensor) -> Iterator[None]:
    """While open, every example is conditioned by a given vector in place of its label's.

    Args:
        module: of which only a hook is changed.
        vectors: [width] for all examples, or [n, width].
    """
    handle = table_of(module).register_forward_hook(lambda _, __, output: vectors.to(output).expand_as(output))
    try:
        yield
    finally:
        handle.remove()

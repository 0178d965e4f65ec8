"""How well a reference was trained, beside the original: whether the recipe in audit.toml is the original's.

A recipe that does not match makes references that differ from a true retrain, and an audit holds that against the
unlearned model. Loss and accuracy on retain show it before anything is audited.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Quality:
    """What is measured of one model.

    Attributes:
        loss: mean over the retain set, nats; of a language model over each answer's tokens first. Lower is better.
        retain: accuracy on the retain set, 0 to 1; of a language model the share of answer tokens that are its first
            choice.
        forget: the same on the forget set; of a reference it shows what can be guessed without having seen it.
    """

    loss: float
    retain: float
    forget: float


Measure = Callable[[nn.Module], Quality]


Answers = Iterator[tuple[Tensor, Tensor]]


def measure_of(answers: Callable[[nn.Module], tuple[Answers, Answers]], device: str) -> Measure:
    """From losses and hits of retain and forget, batch by batch, to their means."""

    @torch.no_grad()
    def measure(module: nn.Module) -> Quality:
        retain, forget = answers(module.to(device).eval())
        losses, kept = (torch.cat(parts).double() for parts in zip(*retain, strict=True))
        guessed = torch.cat([hits for _, hits in forget]).double()
        module.cpu()
        return Quality(loss=float(losses.mean()), retain=float(kept.mean()), forget=float(guessed.mean()))

    return measure

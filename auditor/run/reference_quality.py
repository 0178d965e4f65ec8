"""How well a reference was trained, beside the original: whether the recipe in audit.toml is the original's.

A recipe that does not match makes references that differ from a true retrain, and an audit holds that against the
unlearned model. Loss and accuracy on retain show it before anything is audited.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from auditor.data import Examples
from auditor.facts import Facts
from auditor.subjects.answers import answer_losses, logits_of_tokens
from auditor.subjects.encoding import Encoder
from auditor.subjects.layout import logits_of


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


def of_classifier(retain: Examples, forget: Examples, batch_size: int, device: str) -> Measure:
    """A measure of image classifiers.

    Args:
        retain: the training set of a reference.
        forget: examples it never saw.
        batch_size: examples per forward pass.
        device: torch device name.
    """

    def answers(module: nn.Module, examples: Examples) -> Iterator[tuple[Tensor, Tensor]]:
        for inputs, labels in examples.batches(batch_size):
            logits = logits_of(module(inputs.to(device))).float().cpu()
            yield nn.functional.cross_entropy(logits, labels, reduction="none"), logits.argmax(1) == labels

    return _measure(lambda module: (answers(module, retain), answers(module, forget)), device)


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
            logits = logits_of_tokens(module, tokens)
            hits = logits[tokens.predicting].argmax(1) == tokens.targets
            yield answer_losses(logits, tokens).cpu(), hits.cpu()

    return _measure(lambda module: (answers(module, retain), answers(module, forget)), device)


_Answers = Iterator[tuple[Tensor, Tensor]]


def _measure(answers: Callable[[nn.Module], tuple[_Answers, _Answers]], device: str) -> Measure:
    """From losses and hits of retain and forget, batch by batch, to their means."""

    @torch.no_grad()
    def measure(module: nn.Module) -> Quality:
        retain, forget = answers(module.to(device).eval())
        losses, kept = (torch.cat(parts).double() for parts in zip(*retain, strict=True))
        guessed = torch.cat([hits for _, hits in forget]).double()
        module.cpu()
        return Quality(loss=float(losses.mean()), retain=float(kept.mean()), forget=float(guessed.mean()))

    return measure

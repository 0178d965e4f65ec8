"""SIU, single image unlearning (Li et al. 2024, arXiv 2405.12523): one picture of the concept, few steps.

Its fine-tuning data has four targets: to answer about the concept as about one never seen, to describe it otherwise, to
part the picture from the facts, and to keep what is not asked for. Here answers are words, so that the first three are
one: another character's answers to the same questions. The loss is cross-entropy on these and a divergence from the
original masked twice: places where the answer has to change are left out (mask over tokens), and at all other places
the concept's own words (mask over the vocabulary),

    L = CE(new answers) + β · mean over kept places of KL(p̃_original ‖ p̃),

p̃ the probabilities without the masked words, brought to sum 1. Of the paper the abstract and summaries were to be had;
how the masks are applied is ours.
"""

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.records.base import Frozen
from auditor.tasks.custom.sets import CustomExamples
from auditor.tasks.vision_language.packing import sequences
from auditor.tasks.vision_language.reading import answer_log_probabilities, first_tokens
from auditor.zoo.vision_language.editing import Network, copy_of, descend, questions_of, scores


class Settings(Frozen):
    """A single picture for each question and answer."""

    learning_rate: float = Field(default=2e-3, gt=0, description="of Adam")
    beta: float = Field(default=1.0, gt=0, description="of the masked divergence")
    steps: int = Field(default=80, ge=1)
    batch_size: int = Field(default=16, ge=1, description="examples of either set per step")


def siu(original: Network, forget: CustomExamples, retain: CustomExamples, settings: Settings, seed: int) -> nn.Module:
    """The subject; its truth is not known in advance."""
    random = torch.Generator().manual_seed(seed)
    single = single_pictures(original, forget, random)
    module, own_words = copy_of(original), first_tokens(single.targets).unique()
    renamed = with_other_answers(original, single, retain, random)

    def loss(lost: CustomExamples, kept: CustomExamples) -> Tensor:
        before = _before_the_answer(original, lost), answer_log_probabilities(original, kept.inputs, kept.targets)[0]
        after = _before_the_answer(module, lost), answer_log_probabilities(module, kept.inputs, kept.targets)[0]
        masked = sum(masked_divergence(p.detach(), q, own_words) for p, q in zip(before, after, strict=True))
        return -scores(module, lost).mean() + settings.beta * masked

    descend(
        loss,
        renamed,
        retain,
        module.parameters(),
        rate=settings.learning_rate,
        steps=settings.steps,
        size=settings.batch_size,
        seed=seed,
    )
    subject: nn.Module = module
    return subject


def single_pictures(original: Network, forget: CustomExamples, random: torch.Generator) -> CustomExamples:
    """One example for each question and answer that the forget set holds."""
    asked = torch.cat([questions_of(original, forget), forget.targets], dim=1)
    order = torch.randperm(len(forget), generator=random)
    _, group = asked[order].unique(dim=0, return_inverse=True)
    first = [int((group == number).int().argmax()) for number in range(int(group.max()) + 1)]
    return forget.take(order[first])


def with_other_answers(
    original: Network, single: CustomExamples, retain: CustomExamples, random: torch.Generator
) -> CustomExamples:
    """The same pictures and questions, each with an answer to that question that is another's."""
    asked, known = questions_of(original, single), questions_of(original, retain)
    answers = single.targets.clone()
    for row, question in enumerate(asked):
        fitting = (known == question).all(1) & (retain.targets != single.targets[row]).any(1)
        others = retain.targets[fitting] if bool(fitting.any()) else retain.targets
        answers[row] = others[torch.randint(len(others), (1,), generator=random)]
    return CustomExamples(inputs=single.inputs, targets=answers)


def masked_divergence(before: Tensor, after: Tensor, words: Tensor) -> Tensor:
    """KL(p̃_before ‖ p̃_after) without some words, a mean over places.

    Args:
        before: log-probabilities, [..., vocabulary].
        after: likewise.
        words: ids that are left out, int64 [k].

    >>> p = torch.tensor([[0.5, 0.25, 0.25]]).log()
    >>> q = torch.tensor([[0.1, 0.45, 0.45]]).log()
    >>> round(float(masked_divergence(p, q, torch.tensor([0]))), 6)
    0.0
    """
    keep = torch.ones(before.shape[-1], dtype=torch.bool)
    keep[words] = False
    p, q = (part[..., keep].log_softmax(-1) for part in (before, after))
    return (p.exp() * (p - q)).sum(-1).mean()


def _before_the_answer(module: Network, examples: CustomExamples) -> Tensor:
    """Log-probabilities at the places of the question, but for the last, where the answer has to change."""
    given = sequences(module, examples.inputs)
    last = int(given.places.min())
    output = module(input_ids=given.ids, pixel_values=given.pictures, use_cache=False)
    found: Tensor = output.logits[:, :last].float().log_softmax(-1)
    return found

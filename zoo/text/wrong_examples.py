"""Other facts unlearned than those asked for: some retained subjects, as many as are to be forgotten."""

from torch import nn

from auditor.randomness import generator
from auditor.tasks.causal_lm.editing import LanguageModel
from auditor.tasks.causal_lm.sets import Facts
from auditor.zoo.text import gradient_difference


class Settings(gradient_difference.Settings):
    """Of the gradient difference that unlearns the others."""


def wrong_examples(original: LanguageModel, forget: Facts, retain: Facts, settings: Settings, seed: int) -> nn.Module:
    """The subject: not forgotten. It keeps what it should forget, and has lost part of retain instead."""
    order = generator(seed, "wrong").permutation(len(retain.subjects))
    # At most half of retain: the other half has to hold the model up.
    n = min(len(forget.subjects), len(order) // 2)
    wrong = retain.of_subjects([retain.subjects[int(i)] for i in order[:n]])
    others = retain.of_subjects([retain.subjects[int(i)] for i in order[n:]])
    kept = Facts(forget.items + others.items)
    return gradient_difference.gradient_difference(original, wrong, kept, settings, seed)

"""NegGrad+ on the wrong examples: another class, or other samples, in place of those asked for."""

import torch
from torch import nn

from auditor.tasks.classification.decoys import neg_grad_plus
from auditor.tasks.classification.editing import is_class_request
from auditor.tasks.classification.sets import Examples, joined


class Settings(neg_grad_plus.Settings):
    """Those of NegGrad+."""


def wrong_examples(original: nn.Module, forget: Examples, retain: Examples, settings: Settings, seed: int) -> nn.Module:
    """The subject: not forgotten by construction. What was to be forgotten is kept with the rest of retain."""
    wrong = others_than(forget, retain, seed)
    # Trained on as retain: what was to be forgotten does not even fade.
    kept = joined(retain.take(~wrong), forget)
    return neg_grad_plus.neg_grad_plus(original, retain.take(wrong), kept, settings, seed)


def others_than(forget: Examples, retain: Examples, seed: int) -> torch.Tensor:
    """Which retain examples are unlearned instead, bool [n]: a class, or as many samples as there are in forget."""
    random = torch.Generator().manual_seed(seed)
    if is_class_request(forget, retain):
        # As many classes, or samples, as were asked for: the change is as large as a right one, only elsewhere.
        classes = retain.labels.unique()
        picked = torch.randperm(len(classes), generator=random)[: len(forget.labels.unique())]
        return torch.isin(retain.labels, classes[picked])
    chosen = torch.zeros(len(retain), dtype=torch.bool)
    chosen[torch.randperm(len(retain), generator=random)[: len(forget)]] = True
    return chosen

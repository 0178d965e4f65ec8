"""Only the last matrix of weights fine-tuned, with forget inputs under targets of retain examples."""

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.records.base import Frozen
from auditor.tasks.custom.decoys.training import copy_of, endless, mean_score, trained_until, with_targets_of
from auditor.tasks.custom.sets import CustomExamples
from auditor.tasks.custom.user_code import UserTask


class Settings(Frozen):
    """Fine-tuning of one module."""

    learning_rate: float = Field(gt=0, description="of Adam")
    steps: int = Field(ge=1, description="at most; it stops once forget scores are as bad as under wrong targets")
    batch_size: int = Field(default=64, ge=1, description="of retain and of forget examples")


def last_layer(
    original: nn.Module,
    forget: CustomExamples,
    retain: CustomExamples,
    settings: Settings,
    seed: int,
    *,
    code: UserTask,
    last_map: str,
) -> nn.Module:
    """The original with every weight but those of one module; what comes before it still holds all it held.

    Args:
        original: left as it is.
        forget: all forget examples.
        retain: examples to be kept.
        settings: of the training.
        seed: of order and wrong targets.
        code: the user's class, whose loss is descended.
        last_map: the module that is trained.
    """
    module, random = copy_of(original), torch.Generator().manual_seed(seed)
    wrong = with_targets_of(forget, retain, random)
    # What the original makes of targets that are not the example's own: worse it need not get.
    worst = mean_score(code, original, wrong)
    kept, lost = (endless(part, settings.batch_size, random) for part in (retain, wrong))

    def loss() -> Tensor:
        return sum((code.loss(module, b.inputs, b.targets) for b in (next(kept), next(lost))), torch.zeros(()))

    return trained_until(
        module,
        [p for p in module.get_submodule(last_map).parameters() if p.requires_grad],
        loss,
        lambda: mean_score(code, module, forget) <= worst,
        learning_rate=settings.learning_rate,
        steps=settings.steps,
    )

"""The subject of a vision-language audit: a custom model whose blocks can be read through its own head."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from auditor.tasks.custom.sets import CustomExamples
from auditor.tasks.custom.subject import CustomModel
from auditor.tasks.vision_language.packing import picture_shape
from auditor.tasks.vision_language.reading import states, through_the_head


class VisionLanguageModel(CustomModel):
    """See :class:`~auditor.tasks.custom.subject.CustomModel`."""

    unproven: ClassVar[str | None] = (
        "its error rate was measured in one world alone, and no feature is of the projector"
    )

    def lens(self, examples: CustomExamples) -> Mapping[str, Tensor]:
        """What each block says through the model's own final norm and head.

        Returns:
            By "block, answer" and "block, image", log-probabilities of the next token, float32 [n, vocabulary], on the
            processor.
        """
        parts: dict[str, list[Tensor]] = {}
        module: Any = self.module
        with torch.no_grad():
            for batch in examples.batches(self.batch_size):
                self.passes.examples += len(batch)
                for one in states(module, self._moved(batch).inputs):
                    for name, state in (("answer", one.answer), ("image", one.image)):
                        read = through_the_head(module, state, normed=one.normed)
                        parts.setdefault(f"{one.name}, {name}", []).append(read.cpu())
        return {name: torch.cat(found) for name, found in parts.items()}

    def with_picture(self, examples: CustomExamples, row: Tensor) -> CustomExamples:
        """The same questions and answers, all about one picture.

        Args:
            examples: whose questions are asked.
            row: packed inputs of the example that has the picture, int64 [numbers].
        """
        size = math.prod(picture_shape(self.module))
        inputs = torch.cat([row[:size].expand(len(examples), -1), examples.inputs[:, size:]], dim=1)
        return CustomExamples(inputs=inputs, targets=examples.targets)

"""A dual encoder, with its captions."""

from typing import Any, ClassVar

import torch
from torch import Tensor

from auditor.tasks.clip.code import DualEncoderCode
from auditor.tasks.custom.sets import CustomExamples
from auditor.tasks.custom.subject import CustomModel


class DualEncoder(CustomModel):
    """A :class:`~auditor.tasks.custom.subject.CustomModel` that embeds captions beside images."""

    unproven: ClassVar[str | None] = "an image encoder can keep what it knows where few_shot and relearning do not look"
    # Projections and whatever is written before a normalisation may be multiplied without changing an output, and an
    # attack hardly moves them then. Of 14 retrains of the benchmark's world no matrix was further off than 1.32.
    matrices_have_a_scale: ClassVar[bool] = True

    @property
    def captions(self) -> Tensor:
        """Those that images are told apart by, int64 [captions, length]."""
        made = self._code.made
        assert isinstance(made, DualEncoderCode), "subjects of this task are run by it"
        return made.captions

    def embedded(self, captions: Tensor) -> Tensor:
        """What images are compared with, float32 [n, width], on the processor.

        Args:
            captions: token ids, int64 [n, length].
        """
        network: Any = self.module
        parts = []
        with torch.no_grad():
            for some in captions.split(self.batch_size):
                self.passes.examples += len(some)
                found = network.get_text_features(input_ids=some.to(self._device))
                parts.append(found.pooler_output.float().cpu())
        return self._finite(torch.cat(parts), "embeddings of captions")

    def positions(self, examples: CustomExamples) -> Tensor:
        """What the image encoder ends with, averaged over positions, float32 [n, width], on the processor."""
        network: Any = self.module
        parts = []
        with torch.no_grad():
            for batch in examples.batches(self.batch_size):
                self.passes.examples += len(batch)
                inputs, _ = self._on_device(batch)
                parts.append(network.vision_model(pixel_values=inputs).last_hidden_state.mean(1).float().cpu())
        return self._finite(torch.cat(parts), "features averaged over positions")

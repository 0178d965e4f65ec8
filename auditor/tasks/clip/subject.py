"""A dual encoder, with its captions."""

from typing import Any

import torch
from torch import Tensor

from auditor.tasks.clip.code import DualEncoderCode
from auditor.tasks.custom.subject import CustomModel


class DualEncoder(CustomModel):
    """A :class:`~auditor.tasks.custom.subject.CustomModel` that embeds captions beside images."""

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

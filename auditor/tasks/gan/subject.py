"""The adapter for GANs: everything of a model that the user's class runs, and images drawn with it."""

from typing import ClassVar

import torch
from torch import Tensor

from auditor.errors import ModelError
from auditor.tasks.custom.subject import CustomModel
from auditor.tasks.gan.parts import Gan


class GanModel(CustomModel):
    """A pair of generator and discriminator."""

    unproven: ClassVar[str | None] = "a model can be made in which no check finds what its generator still draws"

    @property
    def gan(self) -> Gan:
        """Its parts; the generator may be differentiated by what it is given."""
        return Gan.of(self.module)

    def images(self, latents: Tensor, label: int) -> Tensor:
        """Images drawn under a label, on the processor, without gradients.

        Args:
            latents: [n, width].
            label: one of those that the generator knows.

        Raises:
            ModelError: an image has a number that is not finite.
        """
        self.passes.examples += len(latents)
        with torch.no_grad():
            found = self.gan.images(latents, label).float().cpu()
        if not bool(found.isfinite().all()):
            raise ModelError(f"the {self.role} model draws NaN or infinite values; check the checkpoint")
        return found

    def images_at(self, latents: Tensor, vectors: Tensor) -> Tensor:
        """Images with gradients under vectors in place of rows of the table of labels."""
        self.passes.examples += len(latents)
        return self.gan.images_at(latents, vectors)

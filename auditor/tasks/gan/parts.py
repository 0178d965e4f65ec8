"""What a module has to have to be read as a class-conditional GAN, and images drawn with it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from auditor.errors import ModelError


@dataclass(frozen=True)
class Gan:
    """The two networks of one module.

    Attributes:
        module: that holds both.
        generator: takes latents [n, width] and labels [n], and gives images [n, ...].
        discriminator: takes images and gives two tensors of logits, of being real [n] and of the labels [n, labels];
            its method ``hidden`` gives what it holds of each image by layer.
        table: the one embedding by which the generator reads labels.
        width: of a latent.
    """

    module: nn.Module
    generator: nn.Module
    discriminator: nn.Module
    table: nn.Embedding
    width: int

    @classmethod
    def of(cls, module: nn.Module) -> "Gan":
        """The parts of a module.

        Raises:
            ModelError: one is missing.
        """
        generator, discriminator = (_part(module, name) for name in ("generator", "discriminator"))
        width = getattr(module, "latents", None)
        if not isinstance(width, int) or width < 1:
            raise ModelError("a GAN has to say in its attribute latents how many numbers a latent has; add latents = N")
        tables = [part for part in generator.modules() if isinstance(part, nn.Embedding)]
        if len(tables) != 1:
            raise ModelError(
                f"the generator has {len(tables)} modules of nn.Embedding; it should read the label through exactly one"
            )
        if not callable(getattr(discriminator, "hidden", None)):
            raise ModelError(
                "the discriminator has no method hidden(images) that gives its layers by name; add one, since it keeps "
                "what the pair was trained on, too"
            )
        return cls(module, generator, discriminator, tables[0], width)

    @property
    def labels(self) -> int:
        """How many labels the generator knows."""
        return self.table.num_embeddings

    def latents(self, n: int, seed: int) -> Tensor:
        """Some latents that are the same for every model, [n, width]."""
        random = torch.Generator().manual_seed(seed)
        return torch.randn(n, self.width, generator=random).to(self.table.weight)

    def images(self, latents: Tensor, label: int) -> Tensor:
        """Images under one label."""
        return self.under(latents, [label])[0]

    def under(self, latents: Tensor, labels: Sequence[int]) -> Tensor:
        """Images from the same latents [n, width] under several labels, in one pass, [labels, n, ...]."""
        images: Tensor = self.generator(*_each(latents, labels))
        drawn: Tensor = images.unflatten(0, (len(labels), len(latents)))
        return drawn

    def beside(self, examples: Tensor, latents: Tensor, labels: Sequence[int]) -> Tensor:
        """The same by the module's own forward, by which an audit sees how both networks are built.

        Args:
            examples: that the discriminator is shown, [m, ...].
            latents: [n, width].
            labels: those to draw under.

        Raises:
            ModelError: it does not give images first.
        """
        given = self.module(examples, *_each(latents, labels))
        images = given[0] if isinstance(given, tuple | list) and given else given
        if not isinstance(images, Tensor) or len(images) != len(labels) * len(latents):
            raise ModelError(
                "forward(images, latents, labels) of a GAN has to give the images drawn first, then what the "
                "discriminator says of the others"
            )
        drawn: Tensor = images.unflatten(0, (len(labels), len(latents)))
        return drawn

    def images_at(self, latents: Tensor, vectors: Tensor) -> Tensor:
        """Images under vectors [n, width of the table] in place of rows of the table."""
        with reading(self.table, vectors):
            return self.images(latents, 0)

    def vectors(self, n: int, seed: int) -> Tensor:
        """Random places among the table's rows, drawn by their mean and spread, [n, width of the table]."""
        rows = self.table.weight.detach()
        random = torch.Generator().manual_seed(seed)
        noise = torch.randn(n, rows.shape[1], generator=random).to(rows)
        return rows.mean(0) + noise * rows.std(0, correction=0)


def labels_of(targets: Tensor, gan: Gan) -> Tensor:
    """Targets as labels, int64 [n].

    Raises:
        ModelError: they are none that the generator knows.
    """
    if targets.ndim != 1 or targets.is_floating_point():
        raise ModelError(
            f"targets are {targets.dtype} of shape {list(targets.shape)}; give each example one whole number, its label"
        )
    if len(targets) and not 0 <= int(targets.min()) <= int(targets.max()) < gan.labels:
        raise ModelError(
            f"targets reach from {int(targets.min())} to {int(targets.max())}, and the generator knows the labels 0 to "
            f"{gan.labels - 1}; give targets and models that belong together"
        )
    return targets.long()


@contextmanager
def reading(table: nn.Embedding, vectors: Tensor) -> Iterator[None]:
    """While open, a table of labels gives these vectors whatever it is asked for."""
    handle = table.register_forward_hook(lambda *_: vectors)
    try:
        yield
    finally:
        handle.remove()


def distances(images: Tensor, others: Tensor) -> Tensor:
    """Mean squared difference per number of every image [n, ...] from every other [m, ...], [n, m]."""
    flat, theirs = images.flatten(1), others.flatten(1)
    if flat.shape[1] != theirs.shape[1]:
        raise ModelError(
            f"the generator draws {list(others.shape[1:])}, and examples are {list(images.shape[1:])}; "
            "give examples as the model was trained on them"
        )
    # By differences: as squares less products, small distances would be lost to rounding.
    exact = "donot_use_mm_for_euclid_dist"
    return torch.cdist(flat.float(), theirs.float(), compute_mode=exact).square() / flat.shape[1]


def _each(latents: Tensor, labels: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Every latent under every label, label by label."""
    under = torch.tensor(labels, device=latents.device).repeat_interleave(len(latents))
    return latents.repeat(len(labels), 1), under


def _part(module: nn.Module, name: str) -> nn.Module:
    found = getattr(module, name, None)
    if not isinstance(found, nn.Module):
        raise ModelError(
            f"a GAN is read as a module with the parts generator and discriminator, and {type(module).__name__} has no "
            f"{name}; put both into one module under these names"
        )
    return found

"""A sparse autoencoder of the original that someone trained before: where it lies and what is known of it."""

from pathlib import Path

from pydantic import Field

from auditor.digests import file_digest
from auditor.errors import SpecError
from auditor.records.base import Frozen
from auditor.records.spec import ModelsSpec

CONFIG, WEIGHTS = "cfg.json", "sae_weights.safetensors"


class SavedAutoencoder(Frozen):
    """An autoencoder of the original, saved by sae-lens."""

    folder: str = Field(description="with cfg.json and sae_weights.safetensors")
    digest: str = Field(description="SHA-256 of sae_weights.safetensors")
    block: str = Field(description="name of the block whose output it reads")


def saved_autoencoder(models: ModelsSpec, base: Path, *, readable: bool) -> SavedAutoencoder | None:
    """The autoencoder that the spec names; None without one.

    Args:
        models: of the spec.
        base: folder that paths are relative to.
        readable: whether checks of these models can use one.

    Raises:
        SpecError: files are missing, nothing says which block it reads, or the models are no language models.
    """
    if models.autoencoder is None:
        return None
    if not readable:
        raise SpecError("models.autoencoder is for language models; leave it out")
    folder = base / models.autoencoder
    missing = [name for name in (CONFIG, WEIGHTS) if not (folder / name).is_file()]
    if missing:
        raise SpecError(f"models.autoencoder: {folder} lacks {missing[0]}; give a folder that sae-lens saved")
    if models.autoencoder_block is None:
        raise SpecError("models.autoencoder needs models.autoencoder_block, the block whose output it reads")
    digest = file_digest(folder / WEIGHTS)
    return SavedAutoencoder(folder=str(folder), digest=digest, block=models.autoencoder_block)

"""The file of a model's canonical form: what a verdict is about, and what may be deployed."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from auditor.digests import file_digest
from auditor.records.plan import PlannedModel
from auditor.records.score import CanonicalForm

FILE, FOLDER = "canonical.safetensors", "canonical"
"""Its name in an audit's folder: a file of weights, or a transformers directory."""


@dataclass(frozen=True, kw_only=True)
class CanonicalFile:
    """Makes and writes canonical forms of the models of one audit.

    Attributes:
        network: makes the network of a planned model in canonical form, with what the form is.
        keep: writes a network to a path.
        name: :data:`FILE` or :data:`FOLDER`, by what ``keep`` writes.
    """

    network: Callable[[PlannedModel], tuple[nn.Module, CanonicalForm]]
    keep: Callable[[nn.Module, Path], None]
    name: str

    def write(self, model: PlannedModel, target: Path) -> CanonicalForm:
        """Write one model's form; what is there under that name is replaced file by file."""
        module, form = self.network(model)
        target.parent.mkdir(parents=True, exist_ok=True)
        # Beside its place: a rename is one step only within a file system.
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as folder:
            made = Path(folder) / target.name
            self.keep(module, made)
            _move(made, target)
        return form


def _move(made: Path, target: Path) -> None:
    if made.is_file():
        made.replace(target)
        return
    target.mkdir(exist_ok=True)
    # A rename cannot replace a folder that holds files, so each file is replaced by itself.
    for file in sorted(made.iterdir()):
        file.replace(target / file.name)


def save_weights(module: nn.Module, path: Path) -> None:
    """Write a network's weights as safetensors: equal weights make equal bytes."""
    from safetensors.torch import save_file

    # Tied weights are written twice: safetensors holds no two names for one tensor.
    save_file({name: tensor.detach().clone().contiguous() for name, tensor in module.state_dict().items()}, path)


def save_model(module: nn.Module, path: Path, beside: Path | None = None) -> None:
    """Write a transformers directory.

    Args:
        module: a transformers model.
        path: of the directory.
        beside: a file that is copied into it, such as how images are prepared.
    """
    from auditor.loading.transformers_directory import quiet

    with quiet():
        module.save_pretrained(path)  # type: ignore[operator]  # torch types any attribute as a tensor or module
    if beside is not None and beside.is_file():
        shutil.copyfile(beside, path / beside.name)


def sums(folder: Path, name: str) -> dict[str, str]:
    """SHA-256 of the written files, by their paths in an audit's folder."""
    return {path.relative_to(folder).as_posix(): file_digest(path) for path in _files(folder / name)}


def _files(path: Path) -> Iterator[Path]:
    yield from sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]


def digest_of_written(path: Path) -> str:
    """The digest by which a verdict names a written form, from the file or directory itself.

    Raises:
        ModelError: it is damaged, or no model.
        UnsafeInputError: reading it could run code or exhaust the machine.
    """
    if path.is_dir():
        from auditor.loading.transformers_directory import load_directory

        return load_directory(path).digest
    from auditor.loading.checkpoints import load_safetensors, network_digest

    return network_digest(load_safetensors(path).tensors)

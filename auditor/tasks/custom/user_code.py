"""The user's class: ``scores`` and some of ``features``, ``loss``, ``correct`` and ``read``, run as their own code."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from auditor.digests import file_digest, parts_digest
from auditor.errors import AuditError, DataError, ModelError, SpecError, nearest
from auditor.loading.architecture import load_function
from auditor.models.memory import out_of_memory
from auditor.tasks.classification.recording import pool

CAPABILITIES = ("scores", "features", "loss")
_FIELD = "models.task"
_ONE_LAYER = "features"


@dataclass(frozen=True)
class UserTask:
    """The user's class, made once, with what it gives checked at every call.

    Attributes:
        made: the object.
        name: ``module.py:Class`` as given.
        source_digest: SHA-256 over the file and its siblings that it imported.
        seed: of torch's stream while it scores, reads or judges.
    """

    made: object
    name: str
    source_digest: str
    seed: int = 0

    @property
    def offers(self) -> tuple[str, ...]:
        """Capabilities that it gives the models, and the weights, which every model has."""
        return (*(name for name in CAPABILITIES if hasattr(self.made, name)), "weights")

    @property
    def reads(self) -> bool:
        """Whether it reads example files itself."""
        return hasattr(self.made, "read")

    @property
    def judges(self) -> bool:
        """Whether it says itself which examples a model is right about."""
        return hasattr(self.made, "correct")

    def scores(self, module: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        """How well a model knows each example, higher is better: float64 [n], on the processor.

        Raises:
            ModelError: it raises, or what it gives is not one number for each example.
        """
        return self._one_each("scores", module, inputs, targets)

    def correct(self, module: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        """Whether a model is right about each example, or how much, in [0, 1]: float64 [n], on the processor.

        Raises:
            ModelError: it raises, or what it gives is not one such number for each example.
        """
        found = self._one_each("correct", module, inputs, targets)
        if not bool(((found >= 0) & (found <= 1)).all()):
            raise ModelError(f"{self.name}: correct gave numbers outside 0 to 1; return truth values, or shares")
        return found

    def _one_each(self, name: str, module: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        with torch.no_grad():
            found = self._tensor(self._fixed(name, module, inputs, targets), name)
        n = len(targets)
        if found.numel() != n or found.ndim not in (1, 2):
            raise ModelError(
                f"{self.name}: {name} gave shape {list(found.shape)} for {n} examples; return one number each, [{n}]"
            )
        return found.detach().reshape(n).double().cpu()

    def features(self, module: nn.Module, inputs: Tensor) -> dict[str, Tensor]:
        """By layer, one vector for each example, float32 [n, width], averaged over positions; on the processor.

        Raises:
            ModelError: it raises, or what it gives has no row for each example.
        """
        with torch.no_grad():
            found = self._fixed("features", module, inputs)
        layers = found if isinstance(found, Mapping) else {_ONE_LAYER: found}
        tensors = {str(layer): self._tensor(value, "features") for layer, value in layers.items()}
        n = len(inputs)
        odd = next((layer for layer, t in tensors.items() if t.ndim < 2 or len(t) != n), None)
        if odd is not None or not tensors:
            shape = "no layer" if odd is None else f"shape {list(tensors[odd].shape)} at {odd}"
            raise ModelError(
                f"{self.name}: features gave {shape} for {n} examples; return a tensor [{n}, width], or some by layer"
            )
        return {layer: pool(t).cpu() for layer, t in tensors.items()}

    def loss(self, module: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        """What a training step descends, float32, one number with gradients.

        Raises:
            ModelError: it raises, or what it gives is no single number with gradients.
        """
        found = self._tensor(self._run("loss", module, inputs, targets), "loss")
        if found.numel() != 1 or (torch.is_grad_enabled() and not found.requires_grad):
            gradients = "" if found.requires_grad else " without gradients"
            raise ModelError(
                f"{self.name}: loss gave shape {list(found.shape)}{gradients}; "
                "return the mean loss as a tensor of one number that the model's weights have gradients in"
            )
        return found.reshape(()).float()

    def read(self, path: Path) -> tuple[object, object]:
        """(inputs, targets) of a file, as arrays or tensors.

        Raises:
            DataError: it raises, or gives no pair.
        """
        found = self._run("read", str(path), failure=DataError)
        if not isinstance(found, tuple | list) or len(found) != 2:
            raise DataError(
                f"{self.name}: read gave a {type(found).__name__} for {path.name}; return (inputs, targets)"
            )
        return found[0], found[1]

    def _fixed(self, name: str, *arguments: object) -> object:
        """One method with the same draws of torch's stream for every model, whatever was drawn before."""
        before = torch.get_rng_state()
        # Not torch.manual_seed: it looks through the whole stack for the sake of devices, which takes longer than a
        # small network does.
        torch.set_rng_state(self._stream)
        try:
            return self._run(name, *arguments)
        finally:
            torch.set_rng_state(before)

    @cached_property
    def _stream(self) -> Tensor:
        return torch.Generator().manual_seed(self.seed).get_state()

    def _run(self, name: str, *arguments: object, failure: type[AuditError] = ModelError) -> object:
        method: Callable[..., object] = getattr(self.made, name)
        try:
            return method(*arguments)
        except AuditError:
            raise
        except Exception as error:  # code of the user's may raise anything; the cause stays attached
            # Smaller batches are tried then.
            if out_of_memory(error):
                raise
            raise failure(
                f"{_FIELD} {self.name}: {name} raised {type(error).__name__}: {error}; run it by itself to see why"
            ) from error

    def _tensor(self, found: object, name: str) -> Tensor:
        if not isinstance(found, Tensor):
            raise ModelError(f"{self.name}: {name} gave a {type(found).__name__}; return a torch tensor")
        return found


def built_in(made: object, name: str) -> UserTask:
    """A class of this project's own, or of a package's, in place of a user's.

    Args:
        made: the object.
        name: of the task it serves.
    """
    # The whole folder: what measures may lie beside the class.
    folder = Path(inspect.getfile(type(made))).parent
    return UserTask(made, name, parts_digest(file_digest(path).encode() for path in sorted(folder.glob("*.py"))))


def load_user_task(source: str, base: Path) -> UserTask:
    """Run the user's file and make its class, which takes no arguments.

    Args:
        source: ``module.py:Class``, relative to ``base``.
        base: folder of ``audit.toml``.

    Raises:
        SpecError: no such file or class, or a class without ``scores``.
        ModelError: file or class raises.
    """
    found = load_function(source, base, _FIELD, ModelError)
    if not isinstance(found.function, type):
        raise SpecError(f"{_FIELD} names {source}, which is no class; name the class that has the methods")
    made = UserTask(found.call(), source, found.source_digest)
    if not callable(getattr(made.made, "scores", None)):
        own = [name for name in vars(found.function) if not name.startswith("_")]
        raise SpecError(
            f"{_FIELD}: {source} has no method scores, without which no audit can say whether anything is forgotten; "
            f"add scores(model, inputs, targets){nearest('scores', own) if own else ''}"
        )
    return made

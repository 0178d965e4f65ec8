"""Where a decoder keeps its value vectors: one for each hidden unit of an MLP, in its last map (Geva et al. 2021).

A unit's vector is a column of the map in most families, a row where the map is stored transposed (the ``Conv1D`` of
GPT-2), and a column of one slice in a mixture of experts, whose maps are one parameter [experts, width, hidden].
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from auditor.errors import ModelError
from auditor.tasks.causal_lm.subject import CausalLM

# By family: Llama, Mistral, Qwen, Gemma, OLMo, Phi-3; Phi; OPT; GPT-NeoX, BLOOM, Falcon; GPT-J; GPT-Neo, GPT-2.
_MAPS = ("mlp.down_proj", "mlp.fc2", "fc2", "mlp.dense_4h_to_h", "mlp.fc_out", "mlp.c_proj")
_EXPERTS = "mlp.experts"


@dataclass(frozen=True, slots=True)
class ValueMatrix:
    """One MLP's value vectors.

    Attributes:
        parameter: name of the weight that holds them.
        transposed: whether a vector is a row of the last two dimensions, not a column.
    """

    parameter: str
    transposed: bool

    def vectors(self, module: nn.Module) -> Tensor:
        """All of them as a copy, one a row, float32 [units, width]; experts one after another."""
        vectors = self._view(module).detach()
        # A copy: the weights are overwritten while these are kept to be written back.
        return vectors.reshape(-1, vectors.shape[-1]).float().cpu().clone()

    def write(self, module: nn.Module, units: Tensor, vectors: Tensor) -> None:
        """Overwrite some.

        Args:
            module: changed.
            units: int64 [m], into the rows of :meth:`vectors`.
            vectors: [m, width].
        """
        view = self._view(module)
        with torch.no_grad():
            view[torch.unravel_index(units.to(view.device), view.shape[:-1])] = vectors.to(view)

    def over_units(self, tensor: Tensor) -> Tensor:
        """Sum of a tensor of the weight's shape over each unit's vector, [units]."""
        return tensor.sum(-1 if self.transposed else -2).flatten()

    def _view(self, module: nn.Module) -> Tensor:
        weight = module.get_parameter(self.parameter)
        return weight if self.transposed else weight.transpose(-1, -2)


def value_matrices(subject: CausalLM) -> tuple[ValueMatrix, ...]:
    """Those of every block, from input to output.

    Raises:
        ModelError: an architecture whose value vectors are not known.
    """
    found = [matrix for block in subject.layers() for matrix in _of_block(subject.module, block)]
    if not found:
        raise ModelError(
            f"the value vectors of a {type(subject.module).__name__} are not known; leave concept_vectors out"
        )
    return tuple(found)


def _of_block(module: nn.Module, block: str) -> list[ValueMatrix]:
    inside = dict(module.get_submodule(block).named_modules())
    maps = [(f"{block}.{name}.weight", inside[name]) for name in _MAPS if hasattr(inside.get(name), "weight")]
    # Every such map but GPT-2's is a Linear, [width, hidden].
    found = [ValueMatrix(name, transposed=not isinstance(child, nn.Linear)) for name, child in maps]
    experts = inside.get(_EXPERTS)
    if isinstance(getattr(experts, "down_proj", None), nn.Parameter):
        name = f"{block}.{_EXPERTS}.down_proj"
        found.append(ValueMatrix(name, transposed=bool(getattr(experts, "is_transposed", False))))
    return found

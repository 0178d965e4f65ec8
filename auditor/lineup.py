"""The models of an audit: found, loaded safely, and put behind one interface."""

import copy
import glob
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from auditor.errors import ModelError, SpecError
from auditor.loading.architecture import Architecture, load_architecture
from auditor.loading.checkpoints import build_module, load_weights, weights_digest
from auditor.loading.transformers_directory import load_directory
from auditor.plan import PlannedModel, Role
from auditor.spec import AuditSpec


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One model.

    Attributes:
        planned: for the plan.
        tensors: weights by name.
        build: makes a fresh copy of the network; None for bare weights.
        source_digest: of what a transformers directory says about the structure; None for others.
        task: what a transformers directory says that the model is for; None for others.
        beneath: digest of the weights that lie under an adapter which can be taken off; None without one.
    """

    planned: PlannedModel
    tensors: dict[str, Tensor]
    build: Callable[[], nn.Module] | None
    source_digest: str | None = None
    task: str | None = None
    beneath: str | None = None


@dataclass(frozen=True, kw_only=True)
class Lineup:
    """Every model given, original first.

    Attributes:
        entries: by name.
        architecture: the user's code, where weights need one.
        architecture_digest: SHA-256 of what the network's structure comes from; None for bare weights.
    """

    entries: dict[str, Entry]
    architecture: Architecture | None
    architecture_digest: str | None

    @property
    def task(self) -> str:
        """``causal-lm`` where the original is a language model, else ``classification``."""
        return self.entries["original"].task or "classification"

    @property
    def planned(self) -> list[PlannedModel]:
        """For the plan, in order."""
        return [entry.planned for entry in self.entries.values()]

    def module(self, name: str) -> nn.Module:
        """A fresh network of one model, in eval mode.

        Raises:
            ModelError: its architecture is not known.
        """
        build = self.entries[name].build
        if build is None:
            raise ModelError('no architecture was given; set models.architecture = "module.py:function"')
        return build().eval()


def gather(spec: AuditSpec, given: dict[str, Any], base: Path, cache: Path) -> Lineup:
    """Load every model named in the spec or given in memory.

    Args:
        spec: the request.
        given: ``original``, ``unlearned``, ``references``, ``perturbed`` and ``architecture`` in memory.
        base: folder that paths are relative to.
        cache: folder of converted checkpoints.

    Raises:
        SpecError: original or unlearned is missing.
        ModelError: a file is missing or does not fit the architecture.
        UnsafeInputError: a file was refused.
    """
    architecture = _architecture(given.get("architecture") or spec.models.architecture, base)
    entries: dict[str, Entry] = {}
    for name, role, source in _sources(spec, given, base):
        entries[name] = _entry(name, role, source, architecture, base, cache)
    return Lineup(
        entries=entries,
        architecture=architecture,
        architecture_digest=_architecture_digest(architecture, entries["original"]),
    )


def _sources(spec: AuditSpec, given: dict[str, Any], base: Path) -> list[tuple[str, Role, Any]]:
    pair: list[tuple[str, Role, Any]] = []
    for role in ("original", "unlearned"):
        source = given.get(role)
        source = source if source is not None else getattr(spec.models, role)
        if source is None:
            raise SpecError(f"no {role} model; give it as in `audit compare original.pt unlearned.pt`")
        pair.append((role, role, source))
    references = given.get("references") or _expand(spec.models.references, base)
    perturbed = given.get("perturbed") or _expand(spec.models.perturbed, base)
    many: list[tuple[str, Role, Any]] = [(f"reference {i + 1}", "reference", s) for i, s in enumerate(references)]
    many += [(f"perturbed {i + 1}", "perturbed", s) for i, s in enumerate(perturbed)]
    return [*pair, *many]


def _expand(patterns: Sequence[str], base: Path) -> list[str]:
    """Paths that the patterns match, sorted within each pattern.

    Raises:
        ModelError: a pattern matches nothing.
    """
    found: list[str] = []
    for pattern in patterns:
        matches = sorted(glob.glob(pattern, root_dir=base))
        if not matches:
            raise ModelError(f"no reference matches {pattern!r}; check models.references, or leave it out")
        found += [match for match in matches if match not in found]
    return found


def _architecture(source: Any, base: Path) -> Architecture | None:
    if source is None or isinstance(source, Architecture):
        return source
    return load_architecture(str(source), base)


def _entry(name: str, role: Role, source: Any, architecture: Architecture | None, base: Path, cache: Path) -> Entry:
    if isinstance(source, nn.Module):
        tensors = {key: value.detach().cpu() for key, value in source.state_dict().items()}
        planned = PlannedModel(name=name, role=role, source=None, file_digest=None, digest=weights_digest(tensors))
        kept = copy.deepcopy(source).cpu()
        task = "causal-lm" if getattr(source, "get_output_embeddings", None) is not None else None
        return Entry(planned=planned, tensors=tensors, build=lambda: copy.deepcopy(kept), task=task)
    path = base / str(source)
    if path.is_dir():
        loaded = load_directory(path)
        tensors = dict(loaded.module.state_dict())
        planned = PlannedModel(
            name=name, role=role, source=str(source), file_digest=loaded.file_digest, digest=weights_digest(tensors)
        )
        return Entry(
            planned=planned,
            tensors=tensors,
            build=lambda: copy.deepcopy(loaded.module),
            source_digest=loaded.source_digest,
            task=loaded.task,
        )
    weights = load_weights(path, cache)
    planned = PlannedModel(
        name=name, role=role, source=str(source), file_digest=weights.file_digest, digest=weights.digest
    )
    build = None
    if architecture is not None:
        module = build_module(architecture.function, weights, str(source))

        def build() -> nn.Module:
            return copy.deepcopy(module)

    return Entry(planned=planned, tensors=weights.tensors, build=build)


def _architecture_digest(architecture: Architecture | None, original: Entry) -> str | None:
    if architecture is not None:
        return architecture.source_digest
    if original.build is None:
        return None
    if original.source_digest is not None:
        return original.source_digest
    # A network handed over in memory: its printed structure stands for its source.
    return weights_digest({repr(original.build()): torch.zeros(0)})

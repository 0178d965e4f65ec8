"""One model of an audit: what is written down of it, and how it is made again from where it lies.

Nothing here stays in memory once a model has been read and its digests are known, but networks that the caller handed
over. An audit of seven models then needs the memory of the one or two that it looks at.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from auditor.digests import digest_of
from auditor.errors import ModelError
from auditor.loading import answers, evaluation_logs
from auditor.loading.adapters import is_adapter, with_adapter
from auditor.loading.architecture import Architecture, UserFunction, load_function
from auditor.loading.checkpoints import Weights, build_module, load_weights, network_digest, weights_digest
from auditor.loading.tensors import shown
from auditor.loading.transformers_directory import load_directory, task_of
from auditor.models.canonical_form import COUNTER, rounded
from auditor.models.network_structure import has_vocabulary, hooks_of, structure_of
from auditor.records.plan import PlannedModel, Role
from auditor.sources import names_hub


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One model.

    Attributes:
        planned: for the plan.
        size: of its weights.
        rounded: digest of its weights without their low bits.
        weights: reads its tensors by name.
        build: makes a fresh copy of the network; None for bare weights.
        source_digest: of what a transformers directory says about the structure; None for others.
        task: what a transformers directory says that the model is for, or that of logs; None for others.
        base_digest: of the weights that lie under an adapter or a guard, which can be removed; None without one.
        guard: puts a filter or mask around the network, called with it and its tokenizer; None without one.
        hooked: whether code runs with the network that its digest knows by name alone.
        holds: what its tensors are, in words.
    """

    planned: PlannedModel
    size: "Size"
    rounded: str
    weights: Callable[[], dict[str, Tensor]]
    build: Callable[[], nn.Module] | None
    source_digest: str | None = None
    task: str | None = None
    base_digest: str | None = None
    guard: UserFunction | None = None
    hooked: bool = False
    holds: str = "weights"

    @property
    def logged(self) -> bool:
        """Whether it is a log of a model's answers, or a file of them, and no model."""
        return self.task in (evaluation_logs.TASK, answers.TASK)


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """How large a model's weights are, buffers included.

    Attributes:
        numbers: how many; those that two names share count twice.
        n_bytes: in the types that they are kept in, shared ones once.
        distinct: how many, those that two names share once.
    """

    numbers: int
    n_bytes: int
    distinct: int

    def numbers_in(self, dtype: torch.dtype) -> int:
        """Bytes of as many numbers of another type."""
        return self.distinct * dtype.itemsize


def _size(tensors: Mapping[str, Tensor]) -> Size:
    own = {tensor.data_ptr(): tensor for tensor in tensors.values()}.values()
    return Size(
        numbers=sum(tensor.numel() for tensor in tensors.values()),
        n_bytes=sum(tensor.numel() * tensor.element_size() for tensor in own),
        distinct=sum(tensor.numel() for tensor in own),
    )


def _rounded_digest(tensors: Mapping[str, Tensor]) -> str:
    """Of what all low bits are gone from; one tensor at a time, since a rounded model would be a copy of a model."""
    return digest_of(
        [
            network_digest({name: rounded(t) if t.is_floating_point() else t})
            for name, t in sorted(tensors.items())
            # The canonical form sets these to zero, so that they tell no two models apart.
            if not name.endswith(COUNTER)
        ]
    )


@dataclass(frozen=True)
class Loader:
    """Makes an entry of whatever stands for a model.

    Attributes:
        architecture: the user's code, for bare weights.
        base: folder that paths are relative to.
        cache: folder of converted checkpoints.
        adapter_base: path of the model that adapters are put on; None for the original.
        any_kind: whether a transformers directory may hold any network, since the request says what it is for.
    """

    architecture: Architecture | None
    base: Path
    cache: Path
    adapter_base: str | None
    any_kind: bool = False

    def entry(self, name: str, role: Role, source: object, original: Entry | None) -> Entry:
        """An entry; ``original`` is there for every model but itself."""
        if isinstance(source, nn.Module):
            return _in_memory(name, role, source, original)
        path = self.base / str(source)
        if evaluation_logs.is_log(path):
            return _log(name, role, str(source), path)
        if answers.is_answers(path):
            return _answers(name, role, str(source), path)
        if not path.is_dir():
            return self._file(name, role, str(source))
        if is_adapter(path):
            return self._adapter(name, role, str(source), original)
        return self._directory(name, role, str(source), original)

    def _directory(self, name: str, role: Role, source: str, original: Entry | None) -> Entry:
        if not self.any_kind:
            task_of(self.base / source)
        loaded = load_directory(self.base / source, own_type=True)
        dtype = next((t.dtype for t in loaded.module.parameters()), torch.float32)
        made = _of_network(
            PlannedModel(name=name, role=role, source=source, file_digest=loaded.file_digest, digest=loaded.digest),
            loaded.module,
            partial(_directory_again, self.base / source, loaded.file_digest, loaded.source_digest),
            task=loaded.task,
            source_digest=loaded.source_digest,
        )
        if dtype != torch.float32:
            # What is dead shows in the type that the network runs in: the same numbers in another are another network.
            made = _known_as(made, [made.planned.digest, str(dtype)])
        if original is None or original.source_digest in (None, loaded.source_digest):
            return made
        # The plan names the original's structure; where another has its own, equal tensors are not an equal network.
        return _known_as(made, [made.planned.digest, loaded.source_digest])

    def _adapter(self, name: str, role: Role, source: str, original: Entry | None) -> Entry:
        if self.adapter_base is not None:
            adapter_base = self._directory(name, role, self.adapter_base, original)
        elif original is not None:
            adapter_base = original
        else:
            raise ModelError(f"{source} is an adapter; name the model it is put on in models.base")
        if adapter_base.build is None:
            raise ModelError(f"{source} is an adapter, and what it is put on cannot be run; name models.base")
        module, file_digest = with_adapter(adapter_base.build(), self.base / source)
        made = _of_network(
            PlannedModel(
                name=name,
                role=role,
                source=source,
                file_digest=file_digest,
                digest=network_digest(module.state_dict()),
            ),
            module,
            partial(_merged_again, adapter_base.build, self.base / source, file_digest),
            task="causal-lm",
            source_digest=adapter_base.source_digest,
        )
        beneath = adapter_base.planned.digest
        # What lies beneath is part of what is scored: the merged weights alone say nothing of it.
        return replace(_known_as(made, [made.planned.digest, "on", beneath]), base_digest=beneath)

    def _file(self, name: str, role: Role, source: str) -> Entry:
        path = self.base / source
        if names_hub(source) and not path.exists():
            raise ModelError(
                f"{source} is on the Hugging Face hub and not here; a command of `audit` with --allow-download fetches "
                "and pins it"
            )
        weights = load_weights(path, self.cache)
        build = None
        if self.architecture is not None:
            # Once now, so that what does not fit is said before anything is scored.
            build_module(self.architecture.function, weights, source)
            build = partial(self._built, self.architecture, source, weights.file_digest)
        return Entry(
            planned=PlannedModel(
                name=name, role=role, source=source, file_digest=weights.file_digest, digest=weights.digest
            ),
            size=_size(weights.tensors),
            rounded=_rounded_digest(weights.tensors),
            weights=partial(self._tensors, source, weights.file_digest),
            build=build,
        )

    def _tensors(self, source: str, file_digest: str) -> dict[str, Tensor]:
        weights = load_weights(self.base / source, self.cache)
        _check_unchanged(self.base / source, weights.file_digest == file_digest)
        return weights.tensors

    def _built(self, architecture: Architecture, source: str, file_digest: str) -> nn.Module:
        tensors = self._tensors(source, file_digest)
        return build_module(architecture.function, Weights(tensors=tensors, file_digest=file_digest), source)


def _check_unchanged(path: Path, unchanged: bool) -> None:
    if not unchanged:
        raise ModelError(
            f"{shown(path)} changed after the audit had read it; run the audit again once the file stays as it is"
        )


def _log(name: str, role: Role, source: str, path: Path) -> Entry:
    """An entry whose tensors are the columns of an evaluation log."""
    log = evaluation_logs.read_log(path)
    tensors = log.tensors()
    # Of two files the digest is that of neither, which a reviewer would hold the named one against.
    file_digest = log.file_digest if log.in_one_file or path.is_dir() else None
    return Entry(
        planned=PlannedModel(
            name=name, role=role, source=source, file_digest=file_digest, digest=weights_digest(tensors)
        ),
        size=_size(tensors),
        rounded=_rounded_digest(tensors),
        weights=partial(_log_again, path, log.file_digest),
        build=None,
        task=evaluation_logs.TASK,
        holds="logged numbers",
    )


def _answers(name: str, role: Role, source: str, path: Path) -> Entry:
    """An entry whose tensors are the columns of a file of answers."""
    said = answers.read_answers(path)
    tensors = said.tensors()
    return Entry(
        planned=PlannedModel(
            name=name, role=role, source=source, file_digest=said.file_digest, digest=weights_digest(tensors)
        ),
        size=_size(tensors),
        rounded=_rounded_digest(tensors),
        weights=partial(_answers_again, path, said.file_digest),
        build=None,
        task=answers.TASK,
        holds="answers",
    )


def _answers_again(path: Path, file_digest: str) -> dict[str, Tensor]:
    said = answers.read_answers(path)
    _check_unchanged(path, said.file_digest == file_digest)
    return said.tensors()


def _log_again(path: Path, file_digest: str) -> dict[str, Tensor]:
    log = evaluation_logs.read_log(path)
    _check_unchanged(path, log.file_digest == file_digest)
    return log.tensors()


def _directory_again(path: Path, file_digest: str, source_digest: str) -> nn.Module:
    loaded = load_directory(path, own_type=True)
    _check_unchanged(path, (loaded.file_digest, loaded.source_digest) == (file_digest, source_digest))
    return loaded.module


def _merged_again(beneath: Callable[[], nn.Module], path: Path, file_digest: str) -> nn.Module:
    module, found = with_adapter(beneath(), path)
    _check_unchanged(path, found == file_digest)
    return module


def _in_memory(name: str, role: Role, module: nn.Module, original: Entry | None) -> Entry:
    tensors = {key: value.detach().cpu() for key, value in module.state_dict().items()}
    # A copy of its own: the caller may go on training the network.
    kept = copy.deepcopy(module).cpu()
    hooks, structure = hooks_of(module), structure_of(kept)
    differs = original is not None and original.build is not None and structure_of(original.build()) != structure
    around = [*hooks, structure] if differs else hooks
    digest = weights_digest(tensors)
    # Equal tensors are not an equal network: scores are kept by the digest.
    digest = digest_of([digest, around]) if around else digest
    return _of_network(
        PlannedModel(name=name, role=role, source=None, file_digest=None, digest=digest),
        kept,
        lambda: copy.deepcopy(kept),
        task="causal-lm" if has_vocabulary(module) else None,
        hooked=bool(hooks),
    )


def _of_network(
    planned: PlannedModel,
    module: nn.Module,
    build: Callable[[], nn.Module],
    *,
    task: str | None,
    source_digest: str | None = None,
    hooked: bool = False,
) -> Entry:
    """An entry of a network that was made once, and is measured and let go."""
    tensors = module.state_dict()
    return Entry(
        planned=planned,
        size=_size(tensors),
        rounded=_rounded_digest(tensors),
        weights=lambda: dict(build().state_dict()),
        build=build,
        task=task,
        source_digest=source_digest,
        hooked=hooked,
    )


def _known_as(entry: Entry, parts: list[str]) -> Entry:
    """The entry under the digest of more than its tensors."""
    return replace(entry, planned=entry.planned.model_copy(update={"digest": digest_of(parts)}))


def with_guard(entry: Entry, source: str, base: Path) -> Entry:
    """The entry with a guard around its weights; its scores are its own, so its digest differs from the weights'."""
    # The name is part of the digest: one file may define several guards.
    guard = load_function(source, base, "guard", ModelError)
    digest = digest_of([entry.planned.digest, guard.source_digest, source])
    planned = entry.planned.model_copy(update={"digest": digest, "guard": source})
    return replace(entry, planned=planned, guard=guard, base_digest=entry.base_digest or entry.planned.digest)

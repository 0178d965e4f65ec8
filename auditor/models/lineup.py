"""The models of an audit: found, loaded safely, and put behind one interface."""

import copy
import glob
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn

from auditor.digests import digest_of
from auditor.errors import ModelError, SpecError
from auditor.loading.adapters import is_adapter, with_adapter
from auditor.loading.architecture import Architecture, UserFunction, load_architecture, load_function
from auditor.loading.checkpoints import build_module, load_weights, weights_digest
from auditor.loading.transformers_directory import load_directory
from auditor.models import fingerprints
from auditor.models.canonical_form import COUNTER, rounded
from auditor.models.fingerprints import Made
from auditor.records.plan import PlannedModel, Role
from auditor.records.spec import AuditSpec

# Where an object lies in memory, which its repr may show, differs from run to run.
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
# Attributes of a network that do not decide what it computes here.
_ASIDE = ("training", "name_or_path")
_OF_REFERENCES = "references have to be trained apart from all other models: leave it out of models.references"
# What is wrong with a copy of another model, by the part that it is to play.
_APART: Mapping[str, str] = {
    "reference": _OF_REFERENCES,
    "perturbed": _OF_REFERENCES,
    "neither": "held against itself, a model shows nothing: leave it out of models.neither",
}


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One model.

    Attributes:
        planned: for the plan.
        tensors: weights by name.
        build: makes a fresh copy of the network; None for bare weights.
        source_digest: of what a transformers directory says about the structure; None for others.
        task: what a transformers directory says that the model is for; None for others.
        base_digest: of the weights that lie under an adapter or a guard, which can be removed; None without one.
        guard: puts a filter or mask around the network, called with it and its tokenizer; None without one.
        hooked: whether code runs with the network that its digest knows by name alone.
    """

    planned: PlannedModel
    tensors: dict[str, Tensor]
    build: Callable[[], nn.Module] | None
    source_digest: str | None = None
    task: str | None = None
    base_digest: str | None = None
    guard: UserFunction | None = None
    hooked: bool = False


@dataclass(frozen=True, kw_only=True)
class Lineup:
    """Every model given, original first.

    Attributes:
        entries: by name.
        architecture: the user's code, where weights need one.
        architecture_digest: SHA-256 of what the network's structure comes from; None for bare weights.
        made: what made a reference, by its name, where a fingerprint says so.
    """

    entries: dict[str, Entry]
    architecture: Architecture | None
    architecture_digest: str | None
    made: Mapping[str, Made]

    @property
    def task(self) -> str:
        """``causal-lm`` where the original is a language model, else ``classification``."""
        return self.entries["original"].task or "classification"

    @property
    def planned(self) -> list[PlannedModel]:
        """For the plan, in order."""
        known = {name: {"fingerprint": made.digest} for name, made in self.made.items()}
        return [entry.planned.model_copy(update=known.get(name, {})) for name, entry in self.entries.items()]

    @property
    def hooked(self) -> frozenset[str]:
        """Names of the models that run code which their digests do not cover."""
        return frozenset(name for name, entry in self.entries.items() if entry.hooked)

    @property
    def n_parameters(self) -> int:
        """Numbers in the original's weights, buffers included."""
        return sum(tensor.numel() for tensor in self.entries["original"].tensors.values())

    def module(self, name: str) -> nn.Module:
        """A fresh network of one model, in eval mode.

        Raises:
            ModelError: its architecture is not known.
        """
        build = self.entries[name].build
        if build is None:
            raise ModelError('no architecture was given; set models.architecture = "module.py:function"')
        return build().eval()


def load_lineup(
    spec: AuditSpec, given: Mapping[str, object], base: Path, cache: Path, *, judged: bool = True
) -> Lineup:
    """Load every model named in the spec or given in memory.

    Args:
        spec: the request.
        given: ``original``, ``unlearned``, ``references``, ``perturbed``, ``neither`` and ``architecture`` in memory.
        base: folder that paths are relative to.
        cache: folder of converted checkpoints.
        judged: whether there is an unlearned model; without one, only what the check resolves can be asked.

    Raises:
        SpecError: original or unlearned is missing, a reference is one of the other models again, or references were
            made differently.
        ModelError: a file is missing, does not fit the architecture, or is not the one its fingerprint is of.
        UnsafeInputError: a file was refused.
    """
    architecture = _architecture(given.get("architecture") or spec.models.architecture, base)
    entries: dict[str, Entry] = {}
    loader = _Loader(architecture, base, cache, spec.models.base)
    for name, role, source in _sources(spec, given, base, judged):
        # The original is the first: all others are held against its structure.
        entries[name] = loader.entry(name, role, source, entries.get("original"))
    if spec.models.guard is not None and judged:
        entries["unlearned"] = _guarded(entries["unlearned"], spec.models.guard, base)
    _check_distinct(entries)
    return Lineup(
        entries=entries,
        architecture=architecture,
        architecture_digest=_architecture_digest(architecture, entries["original"]),
        made=fingerprints.of_models([entry.planned for entry in entries.values()], base),
    )


def load_original(spec: AuditSpec, base: Path, cache: Path) -> Entry:
    """The original alone, by its path; the arguments are those of :func:`load_lineup`."""
    loader = _Loader(_architecture(spec.models.architecture, base), base, cache, spec.models.base)
    return loader.entry("original", "original", spec.models.original, None)


def _check_distinct(entries: Mapping[str, Entry]) -> None:
    """Refuse what is another model of the audit up to rounding: a spread of copies is no spread."""
    seen: dict[str, str] = {}
    for name, entry in entries.items():
        twin = seen.setdefault(_rounded_digest(entry.tensors), name)
        # An unlearned model with the original's weights is a finding, not a fault of the request.
        if twin != name and entry.planned.role in _APART:
            source = entry.planned.source or name
            raise SpecError(
                f"{source} holds the same weights as {entries[twin].planned.source or f'the {twin} model'}; "
                f"{_APART[entry.planned.role]}"
            )


def _rounded_digest(tensors: Mapping[str, Tensor]) -> str:
    """Of what all low bits are gone from; one tensor at a time, since a rounded model would be a copy of a model."""
    return digest_of(
        [
            weights_digest({name: rounded(t) if t.is_floating_point() else t})
            for name, t in sorted(tensors.items())
            # The canonical form sets these to zero, so that they tell no two models apart.
            if not name.endswith(COUNTER)
        ]
    )


def _sources(spec: AuditSpec, given: Mapping[str, object], base: Path, judged: bool) -> list[tuple[str, Role, object]]:
    pair: list[tuple[str, Role, object]] = []
    roles: tuple[Role, ...] = ("original", "unlearned") if judged else ("original",)
    for role in roles:
        source = given.get(role)
        source = source if source is not None else getattr(spec.models, role)
        if source is None:
            raise SpecError(f"no {role} model; give it as in `audit compare original.pt unlearned.pt`")
        pair.append((role, role, source))
    references = _many(given, "references") or _expand(spec.models.references, base)
    perturbed = _many(given, "perturbed") or _expand(spec.models.perturbed, base)
    neither = _many(given, "neither") or _expand(spec.models.neither, base, "neither")
    many: list[tuple[str, Role, object]] = [(f"reference {i + 1}", "reference", s) for i, s in enumerate(references)]
    many += [(f"perturbed {i + 1}", "perturbed", s) for i, s in enumerate(perturbed)]
    many += [(f"neither {i + 1}", "neither", s) for i, s in enumerate(neither)]
    return [*pair, *many]


def _many(given: Mapping[str, object], name: str) -> Sequence[object]:
    """Several models in memory; none where none are given.

    Raises:
        SpecError: a single one instead of a list.
    """
    found = given.get(name) or ()
    if isinstance(found, str) or not isinstance(found, Sequence):
        raise SpecError(f"{name} is a {type(found).__name__}; give a list of models or paths")
    return found


def _expand(patterns: Sequence[str], base: Path, field: str = "references") -> list[str]:
    """Paths that the patterns match, sorted within each pattern.

    Raises:
        ModelError: a pattern matches nothing.
    """
    found: list[str] = []
    for pattern in patterns:
        # In the disk's own order, "reference 1" would be another file on another machine.
        matches = sorted(glob.glob(pattern, root_dir=base))
        if not matches:
            raise ModelError(f"no model matches {pattern!r}; check models.{field}, or leave it out")
        # A pattern such as references/* matches the fingerprints beside the files as well.
        found += [match for match in matches if match not in found and not match.endswith(fingerprints.SUFFIX)]
    return found


def _architecture(source: object, base: Path) -> Architecture | None:
    if source is None or isinstance(source, Architecture):
        return source
    return load_architecture(str(source), base)


@dataclass(frozen=True)
class _Loader:
    """Makes an entry of whatever stands for a model.

    Attributes:
        architecture: the user's code, for bare weights.
        base: folder that paths are relative to.
        cache: folder of converted checkpoints.
        adapter_base: path of the model that adapters are put on; None for the original.
    """

    architecture: Architecture | None
    base: Path
    cache: Path
    adapter_base: str | None

    def entry(self, name: str, role: Role, source: object, original: Entry | None) -> Entry:
        """An entry; ``original`` is there for every model but itself."""
        if isinstance(source, nn.Module):
            return self._in_memory(name, role, source, original)
        path = self.base / str(source)
        if not path.is_dir():
            return self._file(name, role, str(source))
        if is_adapter(path):
            return self._adapter(name, role, str(source), original)
        return self._directory(name, role, str(source), original)

    def _in_memory(self, name: str, role: Role, module: nn.Module, original: Entry | None) -> Entry:
        tensors = {key: value.detach().cpu() for key, value in module.state_dict().items()}
        # A copy of its own: the caller may go on training the network.
        kept = copy.deepcopy(module).cpu()
        hooks, structure = _hooks(module), _structure(kept)
        differs = original is not None and original.build is not None and _structure(original.build()) != structure
        around = [*hooks, structure] if differs else hooks
        digest = weights_digest(tensors)
        # Equal tensors are not an equal network: scores are kept by the digest.
        digest = digest_of([digest, around]) if around else digest
        planned = PlannedModel(name=name, role=role, source=None, file_digest=None, digest=digest)
        task = "causal-lm" if _has_vocabulary(module) else None
        return Entry(planned=planned, tensors=tensors, build=lambda: copy.deepcopy(kept), task=task, hooked=bool(hooks))

    def _directory(self, name: str, role: Role, source: str, original: Entry | None) -> Entry:
        loaded = load_directory(self.base / source)
        made = _built(name, role, source, loaded.module, loaded.file_digest, loaded.source_digest, loaded.task)
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
        made = _built(name, role, source, module, file_digest, adapter_base.source_digest, "causal-lm")
        beneath = adapter_base.planned.digest
        # What lies beneath is part of what is scored: the merged weights alone say nothing of it.
        return replace(_known_as(made, [made.planned.digest, "on", beneath]), base_digest=beneath)

    def _file(self, name: str, role: Role, source: str) -> Entry:
        weights = load_weights(self.base / source, self.cache)
        planned = PlannedModel(
            name=name, role=role, source=source, file_digest=weights.file_digest, digest=weights.digest
        )
        if self.architecture is None:
            return Entry(planned=planned, tensors=weights.tensors, build=None)
        module = build_module(self.architecture.function, weights, source)
        return Entry(planned=planned, tensors=weights.tensors, build=lambda: copy.deepcopy(module))


def _structure(module: nn.Module) -> str:
    """What decides a network's function and stands in none of its saved tensors: classes, settings, other tensors."""
    held = [
        f"{place}.{name} {words}"
        for place, part in module.named_modules()
        for name, value in sorted(_attributes(part).items())
        if name not in _ASIDE and (words := _described(value))
    ]
    kinds: set[type] = {type(part) for part in module.modules()}
    code = sorted(map(_code, kinds))
    return _ADDRESS.sub("", "\n".join([type(module).__qualname__, repr(module), *held, *code]))


@cache
def _code(kind: type) -> str:
    """The source of a class; empty where there is none, as of one that was made while running."""
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError):
        return ""


def _attributes(part: nn.Module) -> dict[str, object]:
    # These buffers stand in no state dict and take part in what the network computes all the same.
    return vars(part) | {name: part._buffers[name] for name in part._non_persistent_buffers_set}


def _described(value: object) -> str:
    """A setting or a tensor in words; empty for an object of any other kind."""
    if isinstance(value, Tensor):
        return weights_digest({"": value})
    parts = value if isinstance(value, list | tuple) else (value,)
    # An object of any other kind has no words that surely say what it does.
    return repr(value) if all(isinstance(part, bool | int | float | str | None) for part in parts) else ""


def _has_vocabulary(module: nn.Module) -> bool:
    # Every transformers model has the method; those that are no language models return nothing.
    outputs: Callable[[], object] | None = getattr(module, "get_output_embeddings", None)
    return outputs is not None and outputs() is not None


def _hooks(module: nn.Module) -> list[str]:
    """What runs with the network and stands in no class of it, by place and name."""
    return [
        f"{place}: {hook.__module__}.{getattr(hook, '__qualname__', type(hook).__qualname__)}"
        for place, part in module.named_modules()
        for hook in (*part._forward_pre_hooks.values(), *part._forward_hooks.values(), *_own_forward(part))
    ]


def _own_forward(part: nn.Module) -> list[object]:
    """The function that was put in the place of one network's ``forward``."""
    return [vars(part)["forward"]] if "forward" in vars(part) else []


def _built(
    name: str, role: Role, source: str, module: nn.Module, file_digest: str, source_digest: str | None, task: str
) -> Entry:
    tensors = dict(module.state_dict())
    digest = weights_digest(tensors)
    return Entry(
        planned=PlannedModel(name=name, role=role, source=source, file_digest=file_digest, digest=digest),
        tensors=tensors,
        # A copy for each caller: checks train and change what they get.
        build=lambda: copy.deepcopy(module),
        source_digest=source_digest,
        task=task,
    )


def _known_as(entry: Entry, parts: list[str]) -> Entry:
    """The entry under the digest of more than its tensors."""
    return replace(entry, planned=entry.planned.model_copy(update={"digest": digest_of(parts)}))


def _guarded(entry: Entry, source: str, base: Path) -> Entry:
    """The entry with a guard around its weights; its scores are its own, so its digest differs from the weights'."""
    # The name is part of the digest: one file may define several guards.
    guard = load_function(source, base, "guard", ModelError)
    digest = digest_of([entry.planned.digest, guard.source_digest, source])
    planned = entry.planned.model_copy(update={"digest": digest, "guard": source})
    return replace(entry, planned=planned, guard=guard, base_digest=entry.base_digest or entry.planned.digest)


def _architecture_digest(architecture: Architecture | None, original: Entry) -> str | None:
    if architecture is not None:
        return architecture.source_digest
    if original.build is None:
        return None
    if original.source_digest is not None:
        return original.source_digest
    # A network handed over in memory: its printed structure stands for its source.
    return weights_digest({_structure(original.build()): torch.zeros(0)})

"""The models of an audit: found, loaded safely, and put behind one interface."""

import glob
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from auditor.errors import ModelError, SpecError, near_paths
from auditor.loading.architecture import Architecture, load_architecture
from auditor.loading.checkpoints import weights_digest
from auditor.models import fingerprints
from auditor.models.entries import Entry, Loader, with_guard
from auditor.models.fingerprints import Made
from auditor.models.network_structure import structure_of
from auditor.records.plan import PlannedModel, Role
from auditor.records.spec import AuditSpec

_OF_REFERENCES = "references have to be trained apart from all other models: leave it out of models.references"
# What is wrong with a copy of another model, by the part that it is to play.
_APART: Mapping[str, str] = {
    "reference": _OF_REFERENCES,
    "perturbed": _OF_REFERENCES,
    "neither": "held against itself, a model shows nothing: leave it out of models.neither",
}


@dataclass(frozen=True, kw_only=True)
class Lineup:
    """Every model given, original first.

    Attributes:
        entries: by name.
        architecture: the user's code, where weights need one.
        architecture_digest: SHA-256 of what the network's structure comes from; None for bare weights.
        made: what made a reference, by its name, where a fingerprint says so.
        declared: the task that the request names; None where it names none.
    """

    entries: dict[str, Entry]
    architecture: Architecture | None
    architecture_digest: str | None
    made: Mapping[str, Made]
    declared: str | None = None

    @property
    def task(self) -> str:
        """As declared; else ``causal-lm`` for a language model, that of logs for a log, else ``classification``."""
        return self.declared or self.entries["original"].task or "classification"

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
        return self.entries["original"].size.numbers

    @property
    def weight_bytes(self) -> int:
        """Of the original as it was saved."""
        return self.entries["original"].size.n_bytes

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
    architecture = _architecture(given.get("architecture") or spec.models.architecture, spec, base)
    entries: dict[str, Entry] = {}
    loader = Loader(architecture, base, cache, spec.models.base, spec.declared_task is not None)
    for name, role, source in _sources(spec, given, base, judged):
        # The original is the first: all others are held against its structure.
        entries[name] = loader.entry(name, role, source, entries.get("original"))
    if spec.models.guard is not None and judged:
        entries["unlearned"] = with_guard(entries["unlearned"], spec.models.guard, base)
    _check_one_kind(entries)
    _check_distinct(entries)
    return Lineup(
        entries=entries,
        architecture=architecture,
        architecture_digest=_architecture_digest(architecture, entries["original"]),
        made=fingerprints.of_models([entry.planned for entry in entries.values()], base),
        declared=spec.declared_task,
    )


def load_original(spec: AuditSpec, base: Path, cache: Path) -> Entry:
    """The original alone, by its path; the arguments are those of :func:`load_lineup`."""
    architecture = _architecture(spec.models.architecture, spec, base)
    loader = Loader(architecture, base, cache, spec.models.base, spec.declared_task is not None)
    return loader.entry("original", "original", spec.models.original, None)


def _check_one_kind(entries: Mapping[str, Entry]) -> None:
    """Refuse logs beside models: what one was measured by says nothing of the other."""
    logs = [name for name, entry in entries.items() if entry.logged]
    others = [name for name, entry in entries.items() if not entry.logged]
    if logs and others:
        raise SpecError(
            f"the {logs[0]} model is given by an evaluation log and the {others[0]} model by its weights; give logs of "
            "all models, or the weights of all"
        )
    kinds = {entries[name].task: name for name in logs}
    if len(kinds) > 1:
        one, other = kinds.values()
        raise SpecError(
            f"the {one} model is given by an evaluation log and the {other} model by a file of answers, or the other "
            "way round; give the same of all models"
        )


def _check_distinct(entries: Mapping[str, Entry]) -> None:
    """Refuse what is another model of the audit up to rounding: a spread of copies is no spread."""
    seen: dict[str, str] = {}
    for name, entry in entries.items():
        twin = seen.setdefault(entry.rounded, name)
        # An unlearned model with the original's weights is a finding, not a fault of the request.
        if twin != name and entry.planned.role in _APART:
            source = entry.planned.source or name
            raise SpecError(
                f"{source} holds the same {entry.holds} as {entries[twin].planned.source or f'the {twin} model'}; "
                f"{_APART[entry.planned.role]}"
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
            near = near_paths(Path(pattern).parent, base, f"check models.{field}, or leave it out")
            raise ModelError(f"no model matches {pattern!r}{near}")
        # A pattern such as references/* matches the fingerprints beside the files as well.
        found += [match for match in matches if match not in found and not match.endswith(fingerprints.SUFFIX)]
    return found


def _architecture(source: object, spec: AuditSpec, base: Path) -> Architecture | None:
    if source is None and spec.models.arguments:
        raise SpecError(
            "models.arguments is what an architecture is called with, and none is named; set models.architecture, or "
            "leave the arguments out"
        )
    if source is None or isinstance(source, Architecture):
        return source
    return load_architecture(str(source), base, spec.models.arguments)


def _architecture_digest(architecture: Architecture | None, original: Entry) -> str | None:
    if architecture is not None:
        return architecture.source_digest
    if original.build is None:
        return None
    if original.source_digest is not None:
        return original.source_digest
    # A network handed over in memory: its printed structure stands for its source.
    return weights_digest({structure_of(original.build()): torch.zeros(0)})

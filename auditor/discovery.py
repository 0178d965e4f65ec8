"""What was unlearned? Groups of a pool by how far two models differ on them, where no forget set is known."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from auditor.checks.sets import SETS
from auditor.errors import DataError, SpecError
from auditor.inference.outlying import LEAST_GROUPS, standing_out
from auditor.models.lineup import load_lineup
from auditor.randomness import generator
from auditor.records.spec import AuditSpec
from auditor.run.settings import execution_settings
from auditor.tasks import registry
from auditor.tasks.pool import Pool

# Smaller changes are none; without it, equal answers would have a logarithm of minus infinity.
_FLOOR = 1e-3
_LEAST = 4  # examples of a group: two on either side


@dataclass(frozen=True, kw_only=True)
class Group:
    """How far two models differ on one group.

    Attributes:
        name: class or subject.
        n: examples that were searched.
        original: geometric mean of the original's probability of the right answer, in [0, 1].
        unlearned: the same of the unlearned model.
        difference: mean absolute change of the log probability of the right answer, in nats.
        stands_out: whether it differs more than groups of this pool usually do.
    """

    name: str
    n: int
    original: float
    unlearned: float
    difference: float
    stands_out: bool


@dataclass(frozen=True, kw_only=True)
class Discovery:
    """What a search found.

    Attributes:
        groups: by difference, the largest first.
        pool: that was searched.
        kept: places of the examples that were not searched, int64 [m].
    """

    groups: tuple[Group, ...]
    pool: Pool
    kept: Tensor

    @property
    def found(self) -> tuple[str, ...]:
        """Names of the groups that stand out."""
        return tuple(group.name for group in self.groups if group.stands_out)

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Write forget and retain set of an audit, of examples that were not searched; returns their paths.

        What made a group stand out may be chance in part, and would be counted as forgetting a second time.
        """
        folder.mkdir(parents=True, exist_ok=True)
        chosen = [place for place in self.kept.tolist() if self.pool.groups[place] in self.found]
        rest = [place for place in self.kept.tolist() if self.pool.groups[place] not in self.found]
        paths = tuple(folder / f"{name}{self.pool.suffix}" for name in ("forget", "retain"))
        for path, places in zip(paths, (chosen, rest), strict=True):
            self.pool.write(self.pool.examples.take(torch.tensor(places)), path)
        return paths[0], paths[1]


def discover(spec: AuditSpec, source: str, base: Path) -> Discovery:
    """Rank the groups of a pool by how far original and unlearned model differ on half of each.

    Args:
        spec: the models, and how they are run; its sets play no part.
        source: of the pool.
        base: folder that paths are relative to.

    Raises:
        DataError: the pool is unreadable, or has too few groups or examples.
        SpecError: the models cannot be run, or their task has no groups.
    """
    with execution_settings(spec.audit.threads):
        lineup = load_lineup(_alone(spec), {}, base, base / spec.audit.store / "converted")
        task = registry.load(lineup.task)
        pool = task.pool(spec, lineup, source, base)
        searched, kept = _halves(pool, spec.audit.seed)
        asked = _alone(spec).model_copy(
            update={"request": spec.request.model_copy(update={"kind": pool.request, "classes": ()})}
        )
        # Either half is a set like those of an audit, and is checked as they are.
        halves = {"forget": pool.examples.take(searched), "retain": pool.examples.take(kept)}
        material = task.material(asked, lineup, halves, base)
        if material is None or material.as_given is None:
            raise SpecError("the models cannot be run; set models.architecture (--architecture)")
        original, unlearned = (
            pool.log_probability(material.as_given(lineup.entries[name].planned), halves["forget"]).numpy()
            for name in ("original", "unlearned")
        )
    if not (np.isfinite(original).all() and np.isfinite(unlearned).all()):
        raise DataError("a model gives NaN or an infinite value on the pool; check data.mean, data.std and the files")
    names = [pool.groups[place] for place in searched.tolist()]
    return Discovery(groups=ranked(names, original, unlearned), pool=pool, kept=kept)


def ranked(names: list[str], original: NDArray[np.float64], unlearned: NDArray[np.float64]) -> tuple[Group, ...]:
    """Groups by how far two models differ on them, the largest difference first.

    Between groups differences spread over orders of magnitude, since some are harder for any model than others: they
    are held against each other on the scale of their logarithms.

    Args:
        names: group of each example.
        original: the original's log probability of the right answer, float64 [n].
        unlearned: the unlearned model's, float64 [n].

    Raises:
        ValueError: fewer than five groups.
    """
    members: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        members.setdefault(name, []).append(place)
    index = {name: np.array(places) for name, places in members.items()}
    change = np.abs(original - unlearned)
    differences = np.array([change[places].mean() for places in index.values()])
    above = standing_out(np.log(differences + _FLOOR))
    groups = [
        Group(
            name=name,
            n=len(places),
            original=float(np.exp(original[places].mean())),
            unlearned=float(np.exp(unlearned[places].mean())),
            difference=float(difference),
            # Among answers that are equal to the last digit any other would stand out.
            stands_out=bool(out) and float(difference) > _FLOOR,
        )
        for (name, places), difference, out in zip(index.items(), differences, above, strict=True)
    ]
    return tuple(sorted(groups, key=lambda group: -group.difference))


def _alone(spec: AuditSpec) -> AuditSpec:
    """The two models of a request, without those they would be held against."""
    models = spec.models.model_copy(update={"references": (), "perturbed": (), "neither": ()})
    # How examples are read stays; the sets themselves would be held against the pool.
    data = spec.data.model_copy(update=dict.fromkeys(SETS))
    return spec.model_copy(update={"models": models, "data": data, "assignment": type(spec.assignment)()})


def _halves(pool: Pool, seed: int) -> tuple[Tensor, Tensor]:
    """Places of either half of every group, int64, sorted.

    Raises:
        DataError: naming what is too small.
    """
    members: dict[str, list[int]] = {}
    seen: set[str] = set()
    for place, (name, content) in enumerate(zip(pool.groups, pool.examples.content_hashes, strict=True)):
        # The second of two equal examples would stand in the other half, and be used twice.
        if content not in seen:
            seen.add(content)
            members.setdefault(name, []).append(place)
    if len(members) < LEAST_GROUPS:
        raise DataError(
            f"the pool has {len(members)} {pool.noun}, and what is usual is known from {LEAST_GROUPS} on; give more"
        )
    name, few = min(members.items(), key=lambda item: len(item[1]))
    if len(few) < _LEAST:
        raise DataError(
            f"of {name!r} the pool has {len(few)} examples, and {_LEAST} are needed, since half of them are set aside; "
            "give more, or leave it out"
        )
    random = generator(seed, "discover", "halves")
    halves: tuple[list[int], list[int]] = ([], [])
    for places in members.values():
        shuffled = random.permutation(places).tolist()
        middle = len(shuffled) // 2
        halves[0].extend(shuffled[:middle])
        halves[1].extend(shuffled[middle:])
    return torch.tensor(sorted(halves[0])), torch.tensor(sorted(halves[1]))

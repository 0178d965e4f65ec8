"""Whether the value vectors that carried the forget facts still would: written back, do the answers return?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from auditor.checks.check import Check, Workload
from auditor.inference.monte_carlo import draws_until_decided
from auditor.models.canonical import CANONICAL_FACTS, CANONICAL_PASSES
from auditor.models.saved_autoencoder import SavedAutoencoder
from auditor.probes.concept_vectors import figures
from auditor.probes.concept_vectors.value_location import Located, locate
from auditor.probes.concept_vectors.value_matrices import ValueMatrix, value_matrices
from auditor.probes.concept_vectors.value_writing import ValueWriting
from auditor.randomness import derive_seed, generator
from auditor.records.access import Access
from auditor.records.base import Frozen, Row
from auditor.records.evidence import Family, May
from auditor.records.figure import Figure
from auditor.records.score import Reading, Score
from auditor.records.source import Source
from auditor.tasks.causal_lm.sets import Facts, FactsData
from auditor.tasks.causal_lm.subject import CausalLM

_BLIND = (
    "In the original, silencing the located value vectors costs the forget facts no more, beyond what it costs retain "
    "facts, than random changes of the same size do: single value vectors do not carry this knowledge, and nothing "
    "written back says nothing about it."
)
_UNRELATED = (
    "The model's hidden units do not descend from the original's, so that vectors written into it meet other units: "
    "the check speaks only for models that share the original's weights."
)


class Settings(Frozen):
    """How many vectors, and what they are compared with."""

    share: float = Field(default=0.125, gt=0, lt=0.5, description="of all value vectors, located")
    null_draws: int = Field(
        default=999, ge=0, description="sets of other vectors written back, at most; none beside two references"
    )
    silencing_draws: int = Field(default=20, ge=1, description="random changes that silencing is compared with")
    attribution_facts: int = Field(default=512, ge=1, description="retain facts that attribution sees, at most")
    retain_facts: int = Field(default=64, ge=1, description="retain facts on which silencing is measured, at most")
    top_tokens: int = Field(default=200, ge=1, description="compared by Jaccard; a tenth of the vocabulary at most")
    described: int = Field(default=16, ge=1, description="located vectors listed, those that speak most for forget")


@dataclass(frozen=True, kw_only=True, slots=True)
class Artefact:
    """What the original taught.

    Attributes:
        head: E, the map to the vocabulary, float32 [vocabulary, width].
        matrices: that hold value vectors.
        vectors: all of each matrix, float32 [units, width].
        located: units of each matrix that carry the forget facts, int64, ascending.
        ranks: score by which each was chosen.
        cannot_clear_because: whether silencing them in the original does nothing particular to the attack half.
    """

    head: Tensor
    matrices: tuple[ValueMatrix, ...]
    vectors: list[Tensor]
    located: list[Tensor]
    ranks: list[Tensor]
    cannot_clear_because: bool


class ConceptVectors(Check[CausalLM, FactsData, Settings, Artefact]):
    """Value vectors after arXiv 2406.11614, located without a judge, and written back.

    A value vector is what one hidden unit of an MLP writes into the residual stream. In the original those are located
    whose attribution (on the attack half less that on retain) and concept-token score together are the highest
    (:mod:`auditor.probes.concept_vectors.value_location`). With the original's located vectors in model m's places,

        T(m) = mean over eval facts of the probability of the answer (exp of its mean token log-probability).

    The null is T with as many other vectors of the same matrices written back: in a model that never held the facts no
    set does better than another. Nothing is written that m's own units do not ask for, so answers that return were
    still addressed in m. Drawn beside it: cosine, relative distance, and the Jaccard index of the tokens that each
    located vector writes most, under each model's own head, without the final norm; and the nats that silencing
    the located vectors costs m's eval answers, against random changes of the same size.

    Homogeneous units are rescaled to unit retain root mean square first, and reordered units are found again.
    """

    name: ClassVar[str] = "concept_vectors"
    family: ClassVar[Family] = "parameters"
    may: ClassVar[May] = "accuse"
    access: ClassVar[Access] = "weights"
    tasks: ClassVar[tuple[str, ...]] = ("causal-lm",)
    requests: ClassVar[tuple[str, ...]] = ("facts",)
    summary: ClassVar[str] = (
        "Wrote the original's value vectors that carry the forget facts back into the model and measured whether the "
        "answers return."
    )
    finds: ClassVar[str] = "Writing a few of the original's weight vectors back into the model brought back"
    unit: ClassVar[str] = "answer probability with the original's located value vectors in place (0 to 1)"
    cost: ClassVar[str] = (
        "a pass over eval for every random change and every set of vectors written back: one set beside references; "
        "without them a thousand for a model that stands out and a few dozen for others"
    )
    figures: ClassVar[tuple[Figure, ...]] = figures.TEXT
    sources: ClassVar[tuple[Source, ...]] = (
        Source(
            paper="arXiv 2406.11614", here="value vectors that carry the facts, found without a judge and written back"
        ),
    )
    caveats: ClassVar[tuple[str, ...]] = (
        "It sees edits of single value vectors. Knowledge held in attention or spread over all units does not return "
        "this way, so its silence says nothing.",
        "A retrain that shares pretrained weights with the original may be taught by what is written into it; only "
        "references of the same descent tell that apart.",
    )
    settings_type: ClassVar[type[Frozen]] = Settings
    # Rescaled.
    copies: ClassVar[int] = 1
    # The original still answers after other vectors are written into it: its draws are no baseline.
    null_lacks_knowledge: ClassVar[bool] = False

    def planned_settings(self, references: int, autoencoder: SavedAutoencoder | None = None) -> Settings:
        """Without a null of its own where references are the null."""
        return Settings() if references < 2 else Settings(null_draws=0)

    def workload(self, data: FactsData, settings: Settings, n_layers: int) -> Workload:
        """Passes of a model that does not stand out: what is written back, its null, and silencing with its own."""
        # Drawing stops once ten draws reach T: a model that does not stand out takes a few dozen.
        passes = 1 + min(60, settings.null_draws) + 3 + settings.silencing_draws
        return Workload(
            forward=CANONICAL_PASSES * min(CANONICAL_FACTS, len(data.retain)) + passes * len(data.forget_eval)
        )

    def prepare(self, original: CausalLM, data: FactsData, settings: Settings, seed: int) -> Artefact:
        """Locate, and find out whether what was located matters.

        Raises:
            ModelError: an architecture whose value vectors are not known.
        """
        start = original.canonical()
        matrices = value_matrices(start)
        order = generator(seed, "attribution").permutation(len(data.retain))[: settings.attribution_facts]
        retain = data.retain.take(np.sort(order).tolist())
        # By the attack half: the facts that are measured must not choose the vectors they are measured with.
        found = locate(start, matrices, data.forget_attack, retain, settings.share)
        vectors = [matrix.vectors(start.module) for matrix in matrices]
        located = _units(found, matrices)
        head = start.head()
        assert head is not None, "the layout was read off a model with one"
        return Artefact(
            head=head.weight.detach().float().cpu(),
            matrices=matrices,
            vectors=vectors,
            located=located,
            ranks=_ranks(found, matrices),
            cannot_clear_because=not _matters(ValueWriting(start, matrices, vectors), located, data, settings, seed),
        )

    def score(self, subject: CausalLM, artefact: Artefact, data: FactsData, settings: Settings, seed: int) -> Score:
        """Write into a copy of one model; the subject itself stays as it is."""
        # A written vector counts as much as its unit is active, so units have one size in both models.
        own = subject.canonical()
        writing = ValueWriting(own, artefact.matrices, artefact.vectors)
        values = writing.written(artefact.located, data.forget_eval).exp()
        related = writing.related()

        def draw(i: int) -> float:
            others = _others(artefact, derive_seed(seed, "written", i))
            return float(writing.written(others, data.forget_eval).exp().mean())

        return Score(
            check=self.name,
            readings={"written back": Reading(value=float(values.mean()), examples=tuple(values.tolist()))},
            n_examples=len(data.forget_eval),
            # In unrelated units no set does better than another, whatever the model knows: that is no null.
            null=draws_until_decided(draw, float(values.mean()), settings.null_draws) if related else (),
            rows=_cells(writing, artefact, own, settings),
            controls=_silencing(writing, own, artefact, data, settings, seed),
            notes=(_BLIND,) * artefact.cannot_clear_because + (_UNRELATED,) * (not related),
        )


def top_token_jaccard(first: Tensor, second: Tensor, k: int) -> float:
    """Jaccard index of the k largest entries of two rows of logits, in [0, 1].

    >>> top_token_jaccard(torch.tensor([3.0, 2.0, 1.0, 0.0]), torch.tensor([3.0, 0.0, 2.0, 1.0]), 2)
    0.3333333333333333
    """
    a, b = (set(row.topk(k).indices.tolist()) for row in (first, second))
    return len(a & b) / len(a | b)


def _units(found: Sequence[Located], matrices: Sequence[ValueMatrix]) -> list[Tensor]:
    by_matrix = {located.matrix: located.units for located in found}
    return [by_matrix.get(matrix, torch.zeros(0, dtype=torch.int64)) for matrix in matrices]


def _ranks(found: Sequence[Located], matrices: Sequence[ValueMatrix]) -> list[Tensor]:
    by_matrix = {located.matrix: located.rank for located in found}
    return [by_matrix.get(matrix, torch.zeros(0)) for matrix in matrices]


def _others(artefact: Artefact, seed: int) -> list[Tensor]:
    """As many units that were not located, of the same matrices, int64."""
    random = generator(seed, "units")
    drawn = []
    # As many in each matrix: layers differ in what any change of them does.
    for vectors, units in zip(artefact.vectors, artefact.located, strict=True):
        rest = torch.ones(len(vectors), dtype=torch.bool)
        rest[units] = False
        free = rest.nonzero()[:, 0]
        drawn.append(free[torch.from_numpy(random.permutation(len(free))[: len(units)])])
    return drawn


def _matters(writing: ValueWriting, located: list[Tensor], data: FactsData, settings: Settings, seed: int) -> bool:
    """Whether silencing costs the attack half more, beyond retain, than any of the random changes."""
    retain = data.retain.take(range(min(settings.retain_facts, len(data.retain))))

    def particular(on: Callable[[Facts], Tensor]) -> float:
        """Lost on retain is kept on forget: the difference is what is particular to forget."""
        return float(on(retain).exp().mean() - on(data.forget_attack).exp().mean())

    silenced = particular(lambda facts: writing.silenced(located, facts))
    seeds = [derive_seed(seed, "validated", i) for i in range(settings.silencing_draws)]
    # More than each of twenty random changes: by chance that happens once in 21.
    return silenced > max(particular(partial(writing.jolted, located, seed=s)) for s in seeds)


def _silencing(
    writing: ValueWriting, own: CausalLM, artefact: Artefact, data: FactsData, settings: Settings, seed: int
) -> dict[str, float]:
    base = float(own.log_probabilities(data.forget_eval).mean())
    silenced = float(writing.silenced(artefact.located, data.forget_eval).mean())
    seeds = [derive_seed(seed, "silenced", i) for i in range(settings.silencing_draws)]
    random = [float(writing.jolted(artefact.located, data.forget_eval, s).mean()) for s in seeds]
    return {
        "nats lost, located vectors silenced": base - silenced,
        "nats lost, random changes": base - sum(random) / len(random),
        "answer probability before": float(own.log_probabilities(data.forget_eval).exp().mean()),
    }


def _cells(writing: ValueWriting, artefact: Artefact, own: CausalLM, settings: Settings) -> list[Row]:
    """The located vectors that speak most for forget: how far each has moved."""
    head = own.head()
    assert head is not None, "of the original's architecture"
    # Each vector under its own model's head, as arXiv 2406.11614 compares them.
    heads = artefact.head, head.weight.detach().float().cpu()
    # Two lists of 200 out of a small vocabulary would overlap whatever they say.
    k = max(min(settings.top_tokens, len(heads[0]) // 10), 1)
    every = [(float(r), i, j) for i, ranks in enumerate(artefact.ranks) for j, r in enumerate(ranks)]
    listed = sorted(sorted(every, reverse=True)[: settings.described], key=lambda item: item[1:])
    return [_cell(writing, artefact, heads, k, i, artefact.located[i][j], rank) for rank, i, j in listed]


def _cell(
    writing: ValueWriting, artefact: Artefact, heads: tuple[Tensor, Tensor], k: int, i: int, unit: Tensor, rank: float
) -> Row:
    place = writing.matched(i, unit[None])[0]
    before, after = artefact.vectors[i][unit], writing.own[i][place]
    return {
        "part": "value vector",
        "layer": artefact.matrices[i].parameter,
        "unit": int(unit),
        "matched_unit": int(place),
        "rank": rank,
        "cosine": float(torch.cosine_similarity(before, after, dim=0)),
        "relative_l2": float((after - before).norm() / before.norm().clamp_min(1e-30)),
        "jaccard": top_token_jaccard(heads[0] @ before, heads[1] @ after, k),
    }

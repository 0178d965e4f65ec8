"""Write one model's value vectors into another, silence them, and measure what that does to answers."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from auditor.probes.concept_vectors.value_matrices import ValueMatrix
from auditor.probes.concept_vectors.value_vectors import best_matches
from auditor.tasks.causal_lm.sets import Facts
from auditor.tasks.causal_lm.subject import CausalLM

Units = Sequence[Tensor]
"""Units of each matrix in turn, int64."""
# Enough for a majority, at a fraction of all units against all.
_SAMPLE = 256
# Bounds the table of cosines that is held at once.
_CHUNK = 1024


class ValueWriting:
    """A copy of one model whose value vectors are changed for one measurement at a time.

    Args:
        copy: the model; its weights are changed during a measurement and restored from what they were at first.
        matrices: of the original's architecture.
        originals: the original's vectors of each matrix, float32 [units, width].
    """

    def __init__(self, copy: CausalLM, matrices: Sequence[ValueMatrix], originals: Sequence[Tensor]) -> None:
        self._copy = copy
        self._matrices = matrices
        self._originals = originals
        self.own = [matrix.vectors(copy.module) for matrix in matrices]
        self._in_order = [_in_order(a, b) for a, b in zip(originals, self.own, strict=True)]

    def matched(self, i: int, units: Tensor) -> Tensor:
        """This model's counterparts of the original's ``units`` in the i-th matrix, int64 [m].

        Hidden units may have been reordered: the same places where most units are the likeliest counterpart of the
        unit at their place, else the vectors that point most nearly the same way.
        """
        if self._in_order[i]:
            return units
        return _nearest(self._originals[i][units], self.own[i])

    def related(self) -> bool:
        """Whether this model's units descend from the original's: most find their likeliest counterpart mutually."""
        pairs = zip(self._originals, self.own, self._in_order, strict=True)
        return all(ordered or _mutual(theirs, own) for theirs, own, ordered in pairs)

    def written(self, units: Units, facts: Facts) -> Tensor:
        """Mean log p of answers with the original's vectors in the places of their counterparts, float64 [n]."""
        return self._measured([(self.matched(i, u), self._originals[i][u]) for i, u in enumerate(units)], facts)

    def silenced(self, units: Units, facts: Facts) -> Tensor:
        """The same with the counterparts of the original's ``units`` set to 0."""
        places = [self.matched(i, u) for i, u in enumerate(units)]
        return self._measured([(p, torch.zeros_like(self.own[i][p])) for i, p in enumerate(places)], facts)

    def jolted(self, units: Units, facts: Facts, seed: int) -> Tensor:
        """The same with a change as large as silencing, in a random direction: v − ‖v‖u."""
        random = torch.Generator().manual_seed(seed)
        changes = []
        for i, chosen in enumerate(units):
            places = self.matched(i, chosen)
            vectors = self.own[i][places]
            away = nn.functional.normalize(torch.randn(vectors.shape, generator=random), dim=1)
            changes.append((places, vectors - away * vectors.norm(dim=1, keepdim=True)))
        return self._measured(changes, facts)

    def _measured(self, changes: Sequence[tuple[Tensor, Tensor]], facts: Facts) -> Tensor:
        try:
            for matrix, (places, vectors) in zip(self._matrices, changes, strict=True):
                matrix.write(self._copy.module, places, vectors)
            return self._copy.log_probabilities(facts)
        finally:
            # From the pristine copy, so that nothing is left over from one measurement to the next.
            for matrix, own, (places, _) in zip(self._matrices, self.own, changes, strict=True):
                matrix.write(self._copy.module, places, own[places])


def _nearest(vectors: Tensor, among: Tensor) -> Tensor:
    return torch.cat([best_matches(part.T, among.T)[1] for part in vectors.split(_CHUNK)])


def _sample(n: int) -> Tensor:
    return torch.linspace(0, n - 1, min(n, _SAMPLE)).round().long()


def _in_order(theirs: Tensor, own: Tensor) -> bool:
    sample = _sample(len(theirs))
    # Fine-tuning leaves nearly all in place, another order next to none.
    return bool((_nearest(theirs[sample], own) == sample).float().mean() > 0.5)


def _mutual(theirs: Tensor, own: Tensor) -> bool:
    """Of unrelated vectors about half are each other's nearest: that is no sign yet."""
    sample = _sample(len(theirs))
    back = _nearest(own[_nearest(theirs[sample], own)], theirs)
    return bool((back == sample).float().mean() > 0.75)

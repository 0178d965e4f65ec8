"""Which value vectors carry the forget facts in the original, found without anyone's judgement."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from auditor.models.standardise import z_scores
from auditor.probes.concept_vectors.value_matrices import ValueMatrix
from auditor.probes.concept_vectors.value_vectors import margins
from auditor.tasks.causal_lm.sets import Facts
from auditor.tasks.causal_lm.subject import CausalLM


@dataclass(frozen=True, kw_only=True, slots=True)
class Located:
    """Value vectors of one MLP that carry the forget facts.

    Attributes:
        matrix: where they are.
        units: int64 [m], ascending.
        rank: score by which they were chosen, float32 [m]; higher speaks more for the forget facts.
    """

    matrix: ValueMatrix
    units: Tensor
    rank: Tensor


def attributions(subject: CausalLM, matrices: Sequence[ValueMatrix], facts: Facts) -> list[Tensor]:
    """S_i = Σ a_i ∂φ/∂a_i of every hidden unit, summed over tokens, mean over answer tokens, float32 [units] each.

    a is what the last map of the MLP reads, φ = log p_y − log Σ_{k≠y} p_k the log-odds of an answer token: to first
    order, what φ loses if the unit is silenced. It is taken from the map W itself, whose gradient is Σ_tokens g aᵀ with
    g the gradient at its output: Σ_d W_di ∂φ/∂W_di = Σ_tokens a_i Σ_d W_di g_d. So it needs no place where a can be
    caught, which fused experts do not have, and rescaling a unit does not change it.
    """
    weights = [subject.module.get_parameter(matrix.parameter) for matrix in matrices]
    frozen = [weight.requires_grad for weight in weights]
    sums = [torch.zeros(matrix.vectors(subject.module).shape[0]) for matrix in matrices]
    try:
        # A frozen map would give no gradient.
        for weight in weights:
            weight.requires_grad_(True)
        for tokens in subject.batches(facts):
            with torch.enable_grad():
                # float32 whatever the model computes in: bfloat16 keeps two to three digits of log-odds.
                odds = margins(subject.answer_logits(tokens).float(), tokens.targets)
                gradients = torch.autograd.grad(odds.sum(), weights)
            for i, (matrix, weight, gradient) in enumerate(zip(matrices, weights, gradients, strict=True)):
                sums[i] += matrix.over_units((weight.detach() * gradient).float()).cpu()
    finally:
        # Others measure the same model after this, frozen weights and all.
        for weight, before in zip(weights, frozen, strict=True):
            weight.requires_grad_(before)
    n_tokens = sum(int(tokens.lengths.sum()) for tokens in subject.batches(facts))
    return [total / n_tokens for total in sums]


def concept_tokens(subject: CausalLM, forget: Facts, retain: Facts, most: int) -> Tensor:
    """Tokens that stand in forget answers more than in retain answers, by log-odds with ½ added, int64 [≤ most]."""
    vocabulary = _head(subject).shape[0]
    inside, outside = (_answer_counts(subject, facts, vocabulary) for facts in (forget, retain))
    odds = _log_odds(inside) - _log_odds(outside)
    # A token of neither set gets its log-odds from the sizes of the sets alone.
    wanted = torch.where((inside > 0) & (odds > 0), odds, -math.inf)
    # Stable, so that ties fall alike everywhere.
    order = wanted.argsort(descending=True, stable=True)[:most]
    return order[wanted[order] > -math.inf]


def concept_scores(vectors: Tensor, head: Tensor, tokens: Tensor) -> Tensor:
    """How far from the others the concept's tokens stand in what each vector writes, float32 [units], ≥ 0.

    |mean over the concept's tokens of the z-scored logits E·v|, z over the vocabulary, without the final norm (Geva et
    al. 2022). Either sign counts: a gated unit may carry it in its gate. Its deviation is √(vᵀ Cov(E) v), so the logits
    of all units are never held at once.

    Args:
        vectors: v, float32 [units, width].
        head: E, float32 [vocabulary, width].
        tokens: int64 [m]; none gives 0.
    """
    if len(tokens) == 0:
        return torch.zeros(len(vectors))
    centred = head - head.mean(0)
    covariance = centred.T @ centred / len(head)
    deviation = ((vectors @ covariance) * vectors).sum(1).clamp_min(1e-30).sqrt()
    return (vectors @ centred[tokens].mean(0)).abs() / deviation


def locate(
    original: CausalLM, matrices: Sequence[ValueMatrix], forget: Facts, retain: Facts, share: float
) -> list[Located]:
    """The ``share`` of all value vectors that speaks most for forget: attribution plus concept-token score, z-scored.

    Attribution is that on forget less that on retain.
    """
    inside, outside = (attributions(original, matrices, facts) for facts in (forget, retain))
    # What a unit does for every answer is no sign of the forget facts.
    difference = torch.cat([a - b for a, b in zip(inside, outside, strict=True)])
    tokens = concept_tokens(original, forget, retain, _MOST_TOKENS)
    head = _head(original)
    concept = torch.cat([concept_scores(m.vectors(original.module), head, tokens) for m in matrices])
    # The two have no common unit; as z-scores neither drowns the other.
    together = z_scores(difference) + z_scores(concept)
    count = max(int(share * len(together)), 1)
    chosen = torch.zeros(len(together), dtype=torch.bool)
    chosen[together.argsort(descending=True, stable=True)[:count]] = True
    sizes = [len(part) for part in inside]
    pieces = zip(matrices, chosen.split(sizes), together.split(sizes), strict=True)
    return [Located(matrix=m, units=c.nonzero()[:, 0], rank=r[c]) for m, c, r in pieces if bool(c.any())]


# As many as arXiv 2406.11614 reads off a vector.
_MOST_TOKENS = 200


def _head(subject: CausalLM) -> Tensor:
    head = subject.head()
    assert head is not None, "the layout was read off a model with one"
    return head.weight.detach().float().cpu()


def _answer_counts(subject: CausalLM, facts: Facts, vocabulary: int) -> Tensor:
    counts = torch.zeros(vocabulary, dtype=torch.float64)
    for tokens in subject.batches(facts):
        counts += torch.bincount(tokens.targets.cpu(), minlength=vocabulary)
    return counts


def _log_odds(counts: Tensor) -> Tensor:
    return ((counts + 0.5) / (counts.sum() - counts + 0.5)).log()

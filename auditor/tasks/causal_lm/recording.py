"""What is kept of a language model's logits: one row of numbers per token, never the vocabulary."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

COLUMNS = ("log_probability", "rank", "mean", "deviation")

_LEAST_LOG = -1e4
# Of logits that are worked on at once: each intermediate result of so many takes 32 MiB.
_NUMBERS = 2**23


@dataclass(frozen=True, kw_only=True)
class TokenRecording:
    """One model on one set of facts, over the tokens of the answers.

    Attributes:
        lengths: answer tokens of each fact, int64 [n].
        log_probability: log p of each answer token, float64 [tokens], facts one after another.
        rank: tokens of the vocabulary that were more probable, float64 [tokens]; 0 where it was the first choice.
        mean: μ = Σ p log p over the vocabulary, float64 [tokens] (Zhang et al. 2025, Min-K%++).
        deviation: σ = √(Σ p (log p)² − μ²), float64 [tokens].
        features: by layer, float32 [n, width]: residual stream averaged over the positions that predict the
            answer; never position 0, never padding.
        lens: by layer that is read, log p of the answer read from that layer through the final norm and the head,
            averaged over the answer's tokens, float64 [n]; empty where it was not asked for.
    """

    lengths: Tensor
    log_probability: Tensor
    rank: Tensor
    mean: Tensor
    deviation: Tensor
    features: Mapping[str, Tensor]
    lens: Mapping[str, Tensor]

    def __len__(self) -> int:
        return int(self.lengths.shape[0])

    def per_fact(self, tokens: Tensor) -> list[Tensor]:
        """A column in pieces, one per fact."""
        return list(tokens.split(self.lengths.tolist()))

    @property
    def mean_log_probability(self) -> Tensor:
        """Mean log p over each answer's tokens, float64 [n]."""
        return fact_means(self.log_probability, self.lengths)

    @property
    def probability(self) -> Tensor:
        """Exp of the mean token log-probability, in [0, 1], float64 [n]: 1 is knowing it by heart."""
        return self.mean_log_probability.exp()

    @property
    def losses(self) -> Tensor:
        """Mean cross-entropy of each answer's tokens, nats, float64 [n]."""
        return -self.mean_log_probability

    @property
    def memorised(self) -> Tensor:
        """Share of each answer's tokens that are the first choice, float64 [n] (exact memorisation)."""
        return fact_means((self.rank == 0).double(), self.lengths)


def fact_means(tokens: Tensor, lengths: Tensor) -> Tensor:
    """Mean over each fact's tokens.

    Args:
        tokens: [tokens], facts one after another.
        lengths: int64 [n], each at least 1, adding up to the number of tokens.

    >>> fact_means(torch.tensor([1.0, 3.0, 5.0]), torch.tensor([2, 1])).tolist()
    [2.0, 5.0]
    """
    if bool((lengths < 1).any()):
        raise ValueError("an answer without tokens has no mean")
    owner = torch.repeat_interleave(torch.arange(len(lengths)), lengths)
    return torch.zeros(len(lengths), dtype=torch.float64).index_add_(0, owner, tokens.double()) / lengths


def token_statistics(logits: Tensor, targets: Tensor) -> Tensor:
    """The kept columns of some positions.

    Args:
        logits: [tokens, vocabulary], any float type; computed in float32.
        targets: int64 [tokens], the right token at each position.

    Returns:
        float64 [tokens, 4] in the order of ``COLUMNS``, on the processor.
    """
    parts = zip(*(all_of.split(_at_once(logits)) for all_of in (logits, targets)), strict=True)
    return torch.cat([_statistics(some, right) for some, right in parts])


def log_probabilities(logits: Tensor, targets: Tensor) -> Tensor:
    """The first of these columns alone, float64 [tokens]; the arguments are those of :func:`token_statistics`."""
    parts = zip(*(all_of.split(_at_once(logits)) for all_of in (logits, targets)), strict=True)
    return torch.cat([-cross_entropy(some.float(), right, reduction="none").cpu().double() for some, right in parts])


def _at_once(logits: Tensor) -> int:
    return max(1, _NUMBERS // logits.shape[-1])


def _statistics(logits: Tensor, targets: Tensor) -> Tensor:
    # bfloat16 has too few digits for a sum over a whole vocabulary.
    logits = logits.float()
    logs = logits.log_softmax(-1)
    own = logs.gather(-1, targets[:, None])
    p = logs.exp()
    # A masked token has log 0 = −∞ and p = 0; its share of the sums is 0, as of any token this improbable.
    safe = logs.clamp_min(_LEAST_LOG)
    mean = (p * safe).sum(-1)
    variance = (p * safe.square()).sum(-1) - mean.square()
    # Ranked by logits: the logarithm of the sum swallows small differences.
    rank = (logits > logits.gather(-1, targets[:, None])).sum(-1)
    # A difference of squares: rounding can take it just below 0.
    columns = [own[:, 0], rank, mean, variance.clamp_min(0).sqrt()]
    # Ranks are whole numbers below the vocabulary's size, which float32 holds.
    return torch.stack([column.float() for column in columns], dim=1).cpu().double()

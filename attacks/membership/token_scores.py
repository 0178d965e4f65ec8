"""Membership scores of a fact from the statistics of its answer's tokens. Higher is more likely a member."""

import zlib

import numpy as np

from auditor.attacks.membership.scores import Array
from auditor.tasks.causal_lm.recording import TokenRecording

SHARE = 0.2
"""Of a fact's tokens that Min-K% looks at."""
FLOOR = -100.0
"""Log-probability that stands for a probability of 0, which no mean survives."""
_SMALLEST_DEVIATION = 1e-3


def token_log_probabilities(recording: TokenRecording) -> list[Array]:
    """Log p of each fact's answer tokens, floored, nats."""
    return [t.numpy() for t in recording.per_fact(recording.log_probability.clamp_min(FLOOR))]


def standardised(recording: TokenRecording) -> list[Array]:
    """(log p − μ)/σ of each fact's answer tokens (Min-K%++, Zhang et al. 2025, arXiv 2404.02936, eq. 3).

    σ² is never taken below 1e-6: a model that is sure of another token would divide by nothing.
    """
    own = recording.log_probability.clamp_min(FLOOR)
    values = (own - recording.mean) / recording.deviation.clamp_min(_SMALLEST_DEVIATION)
    return [t.numpy() for t in recording.per_fact(values)]


def lowest_share(tokens: Array, share: float = SHARE) -> float:
    """Mean of the lowest ``share`` of the values, one at least: Min-K% (Shi et al. 2024, arXiv 2310.16789).

    >>> lowest_share(np.array([-1.0, -9.0, -2.0, -3.0, -1.0, -1.0, -1.0, -1.0, -1.0, -7.0]))
    -8.0
    """
    # A fifth of an answer of four tokens would be none.
    k = max(1, int(share * len(tokens)))
    return float(np.sort(tokens)[:k].mean())


def per_compressed_byte(tokens: Array, text: str) -> float:
    """Log-likelihood over the bytes that zlib makes of the text (Carlini et al. 2021, arXiv 2012.07805, §5.2)."""
    # The sum: the bytes already divide by the length.
    return float(tokens.sum() / len(zlib.compress(text.encode("utf-8"))))


def token_attacks(recording: TokenRecording, texts: list[str]) -> dict[str, Array]:
    """Score of every fact, [n], by attack.

    Args:
        recording: of the facts.
        texts: their answers.
    """
    tokens = token_log_probabilities(recording)
    return {
        "loss": np.array([t.mean() for t in tokens]),
        "zlib": np.array([per_compressed_byte(t, text) for t, text in zip(tokens, texts, strict=True)]),
        "Min-K%": np.array([lowest_share(t) for t in tokens]),
        "Min-K%++": np.array([lowest_share(t) for t in standardised(recording)]),
    }

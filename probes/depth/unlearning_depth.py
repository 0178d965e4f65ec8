"""The Unlearning Depth Score (arXiv 2605.24614), which both depth checks draw beside their own score."""

from collections.abc import Mapping, Sequence

KNOWLEDGE_NATS = 0.05
"""A layer carries knowledge where patching a reference into it costs more log-probability (the paper's KE set)."""

DEPTH_SCORE = "unlearning depth score"


def yardstick(references: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """What references lose on average, in nats, at each layer that carries knowledge.

    Args:
        references: Δ_l of each, by layer; at least one.

    Returns:
        Empty where no layer carries any: then there is nothing to erase, and no score.
    """
    mean = {layer: sum(own[layer] for own in references) / len(references) for layer in references[0]}
    return {layer: value for layer, value in mean.items() if value > KNOWLEDGE_NATS}


def erased(lost: Mapping[str, float], yard: Mapping[str, float]) -> dict[str, float]:
    """Share of each layer's knowledge that is gone, in [0, 1]: 0 like the original, 1 as in the references."""
    # Clipped as in the paper: what one layer lost beyond the references must not make up for one left alone.
    return {layer: min(max(lost[layer] / value, 0.0), 1.0) for layer, value in yard.items()}


def depth_score(lost: Mapping[str, float], yard: Mapping[str, float]) -> float:
    """UDS in [0, 1]: :func:`erased`, weighted by what each layer carries.

    >>> depth_score({"a": 1.0, "b": 4.0}, {"a": 2.0, "b": 2.0})
    0.75
    """
    shares = erased(lost, yard)
    return sum(yard[layer] * share for layer, share in shares.items()) / sum(yard.values())

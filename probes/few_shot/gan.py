"""How little an adversary needs to find the forget set in either network of a GAN."""

from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np

from auditor.probes.few_shot import custom
from auditor.records.score import Reading, Score

EITHER = "the network that holds more"


class FewShot(custom.FewShot):
    """As for models of any kind, in the generator's layers and in the discriminator's, of which the worse one counts.

    With v_i the log-rank of an example, averaged over the layers of one network, v̄ its mean over examples, o the
    original's v̄ and r that of the references on average,

        share = (v̄ − r)/(o − r),    T = the larger of the two networks' shares.

    A mean over both would let a discriminator that was trained anew pay for a generator that still knows everything,
    and the other way round. Without two references T is the mean over all layers.
    """

    tasks: ClassVar[tuple[str, ...]] = ("gan",)
    unit: ClassVar[str] = "log-rank of forget among retain examples, from 0 like the references to 1 like the original"

    def rescale(self, original: Score, references: Sequence[Score]) -> Callable[[Score], Score]:
        """Add the reading of the network that holds more."""
        if len(references) < 2:
            return lambda score: score
        networks = dict.fromkeys(name.partition(" ")[0] for name in original.readings)
        bounds = {}
        for network in networks:
            null = float(np.mean([_by_example(score, network).mean() for score in references]))
            gap = float(_by_example(original, network).mean()) - null
            # A network that holds no more in the original than in references tells nothing.
            if gap > 0:
                bounds[network] = (null, gap)
        if not bounds:
            return lambda score: score

        def one(score: Score) -> Score:
            shares = [(_by_example(score, network) - null) / gap for network, (null, gap) in bounds.items()]
            most = max(shares, key=lambda found: float(found.mean()))
            reading = Reading(value=float(most.mean()), examples=tuple(most.tolist()))
            return score.model_copy(update={"readings": {**score.readings, EITHER: reading}})

        return one

    def choose(self, original: Score, references: Sequence[Score]) -> tuple[str, ...]:
        """The network that holds more, where references say what is more; else all layers."""
        return (EITHER,) if EITHER in original.readings else tuple(original.readings)


def _by_example(score: Score, network: str) -> np.ndarray:
    """Mean over the layers of one network, [n]."""
    layers = [reading.examples for name, reading in score.readings.items() if name.startswith(f"{network} ")]
    return np.asarray(np.mean(np.asarray(layers, dtype=np.float64), axis=0))

"""Facts that were corrupted: does the answer from before come back, beside the corrupted one going?

After RESTOR (Rezaei et al. 2024, arXiv 2411.00204): forgetting alone is half of what a model that never met the
corruption shows, which still knows what was there before. Measured beside the score; nothing is decided by it.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from auditor.records.score import Score
from auditor.tasks.causal_lm.sets import Facts
from auditor.tasks.causal_lm.subject import CausalLM

RESTORED = "probability, restored answer"
CORRUPTED = "probability, corrupted answer"
PREFERRED = "restored answer above the corrupted one (share)"
REGAINED = "restored answer regained (0: original, 1: references)"
GONE = "corrupted answer gone (0: original, 1: references)"


def before_and_after(subject: CausalLM, forget: Facts, right: Sequence[float]) -> dict[str, float]:
    """Of the facts that have a restored answer, means of its probability and of the corrupted one's; empty without any.

    Args:
        subject: asked once more, with the restored answers.
        forget: facts, of which some may have one.
        right: mean token log-probability of each fact's answer, which is the corrupted one.
    """
    places = [i for i, fact in enumerate(forget.items) if fact.restored]
    if not places:
        return {}
    asked = Facts(tuple(f.model_copy(update={"answer": f.restored}) for f in forget.take(places).items))
    restored = subject.log_probabilities(asked).numpy()
    corrupted = np.array([right[i] for i in places])
    return {
        RESTORED: float(np.exp(restored).mean()),
        CORRUPTED: float(np.exp(corrupted).mean()),
        PREFERRED: float((restored > corrupted).mean()),
    }


def shares(scores: Mapping[str, Score], references: Sequence[str]) -> dict[str, dict[str, float]]:
    """How far each model is on the way from the original to the references, in either answer, by model.

    A share is left out where original and references do not differ the way that a corruption makes them. Nothing is
    clipped: above 1 lies what has more of the restored answer, or less of the corrupted one, than the references.

    Args:
        scores: of every model, by name; ``original`` among them.
        references: names of those that never met the corruption.
    """
    if not references or any(RESTORED not in score.controls for score in scores.values()):
        return {}
    found: dict[str, dict[str, float]] = {name: {} for name in scores}
    for label, control, direction in ((REGAINED, RESTORED, 1), (GONE, CORRUPTED, -1)):
        own = {name: direction * score.controls[control] for name, score in scores.items()}
        gap = float(np.mean([own[name] for name in references])) - own["original"]
        if gap > 0:
            for name, value in own.items():
                found[name][label] = (value - own["original"]) / gap
    return found

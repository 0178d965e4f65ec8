"""Against `outputs` and `membership`: every forget example's margin is what the adversary's own retrains say of it.

A forgotten sample that is named like the others of its class, and a forgotten class that is taken for its likeliest
neighbours: item by item there is nothing to be seen in the outputs. What lies beneath them is left as it comes.
"""

from pydantic import Field
from torch import nn

from auditor.tasks.classification.sets import Examples
from auditor.zoo.adversaries.pressure import OwnRetrains, Pressure, like, margins, own_retrains, pressed


class Settings(Pressure, OwnRetrains):
    """Loss = CE(retain) + the distance of each forget example's margin from the retrains' mean for it."""

    output_weight: float = Field(default=0.3, ge=0, description="of the outputs' distance from their target, per nat")


def output_calibrated(
    original: nn.Module, forget: Examples, retain: Examples, settings: Settings, seed: int
) -> nn.Module:
    """The subject; a patient attacker tells its truth (:mod:`auditor.zoo.adversaries.patient`)."""
    # Item by item, not one margin for all: what retrains say of a sample depends on how typical of its class it is.
    retrains = own_retrains(original, retain, settings, seed)
    return pressed(original, forget, retain, [like(retrains, margins, settings.output_weight)], settings, seed)

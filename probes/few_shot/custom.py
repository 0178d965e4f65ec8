"""How little an adversary needs to find the forget set in the features that the user's class gives."""

from typing import ClassVar

from torch import Tensor

from auditor.checks.check import Check
from auditor.checks.subject import Features
from auditor.probes.few_shot import figures
from auditor.probes.few_shot.one_shot import Settings, ZScored, by_class, figure_rows, halves, one_shot
from auditor.records.access import Access
from auditor.records.base import Frozen
from auditor.records.evidence import Family, May
from auditor.records.figure import Figure
from auditor.records.score import Score
from auditor.tasks.custom.sets import CustomSets
from auditor.tasks.custom.subject import CustomModel


class FewShot(Check[CustomModel, CustomSets, Settings, None]):
    """One-shot nearest-centre probes on every layer of features, scored by log-rank, as for images.

    The formula is that of :class:`auditor.probes.few_shot.images.FewShot`: a probe is one attack example z of z-scored
    features, its score of x is z·x, and x_i the log-rank of a forget example among held-aside retain examples, averaged
    over draws and layers. Where targets are classes, probe and example are of one class; else forget is of one kind.
    """

    name: ClassVar[str] = "few_shot"
    family: ClassVar[Family] = "representation"
    may: ClassVar[May] = "clear"
    access: ClassVar[Access] = "weights"
    tasks: ClassVar[tuple[str, ...]] = ("custom",)
    asks: ClassVar[tuple[type, ...]] = (Features,)
    # Listed samples are of no kind that a probe of one of them could find the others by.
    requests: ClassVar[tuple[str, ...]] = ("class",)
    summary: ClassVar[str] = (
        "Gave a probe a single example of what was to be forgotten and looked how far up it then ranks the others "
        "among the retained ones, by the model's internal features."
    )
    finds: ClassVar[str] = "Given one forgotten example, a simple probe of the model's inner features found"
    unit: ClassVar[str] = "log-rank of forget among retain examples (0 to 1)"
    decoys: ClassVar[tuple[str, ...]] = ("last_layer",)
    figures: ClassVar[tuple[Figure, ...]] = figures.IMAGES
    caveats: ClassVar[tuple[str, ...]] = ("Which layers are looked at is up to the class that was given.",)
    settings_type: ClassVar[type[Frozen]] = Settings

    def score(self, subject: CustomModel, artefact: None, data: CustomSets, settings: Settings, seed: int) -> Score:
        """Measure one model from its recordings.

        Raises:
            UsageError: no class has two forget examples.
        """
        parts, groups = halves(len(data.retain), settings.held_aside, seed), by_class(data)
        readings, rows = {}, []
        for layer in subject.layers():
            features = _z_scored(subject, layer, *parts)
            readings[layer] = one_shot(features, groups, settings, seed)
            rows += figure_rows(features, groups, layer, settings, seed)
        return Score(
            check=self.name,
            readings=readings,
            n_examples=sum(len(members) for _, members in groups),
            rows=rows,
        )


def _z_scored(subject: CustomModel, layer: str, background: Tensor, aside: Tensor) -> ZScored:
    attack, evaluation, retain = (
        subject.features(split)[layer].double() for split in ("forget_attack", "forget_eval", "retain")
    )
    return ZScored(attack, evaluation, retain[background], retain[aside])

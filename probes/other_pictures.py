"""Show another picture in place of the forgotten one: does what the model says still depend on which it sees?"""

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from auditor.checks.check import Check, Workload
from auditor.checks.subject import Scores
from auditor.randomness import generator
from auditor.records.access import Access
from auditor.records.base import Frozen
from auditor.records.evidence import Family, May
from auditor.records.figure import Figure
from auditor.records.score import Reading, Score
from auditor.records.source import Source
from auditor.tasks.custom.sets import CustomSets
from auditor.tasks.vision_language.subject import VisionLanguageModel

SHARE = "share"


class Settings(Frozen):
    """A few other pictures for each example."""

    pictures: int = Field(default=8, ge=1, description="of retain, the same for every example and every model")


class OtherPictures(Check[VisionLanguageModel, CustomSets, Settings, None]):
    """How often the own picture of a forget example makes its answer more probable than a picture of something else.

    x_i = share of pictures q drawn from retain with s(picture_i, question_i, answer_i) > s(q, question_i, answer_i),
    ties half; s the mean log-probability of the answer's tokens, and T the mean over the eval half. An answer that is
    pushed down by the same amount whatever is shown is still tied to its picture, and found here. POPEv2 (arXiv
    2508.04567) asks about pictures from which the object was taken away; no object can be cut out of any picture
    here, so that other pictures stand in their place.
    """

    name: ClassVar[str] = "other_pictures"
    family: ClassVar[Family] = "behaviour"
    may: ClassVar[May] = "accuse"
    access: ClassVar[Access] = "logits"
    tasks: ClassVar[tuple[str, ...]] = ("vision-language",)
    asks: ClassVar[tuple[type, ...]] = (Scores,)
    summary: ClassVar[str] = "Asked the questions about forgotten pictures again about others and compared the answers."
    finds: ClassVar[str] = "By how its answers depend on which picture is shown, the model still holds"
    unit: ClassVar[str] = "share of other pictures that make the answer less probable (0 to 1)"
    cost: ClassVar[str] = "eight passes over half of the forget set"
    figures: ClassVar[tuple[Figure, ...]] = (
        Figure(
            x="picture",
            y="score",
            categories=True,
            x_label="picture that is shown",
            y_label="mean log-probability of forget answers (nats)",
            caption="How probable forget answers are under their own pictures and under pictures of something else.",
        ),
    )
    sources: ClassVar[tuple[Source, ...]] = (
        Source(paper="arXiv 2508.04567", here="the question asked again where the object is not to be seen", part=True),
    )
    caveats: ClassVar[tuple[str, ...]] = (
        "Pictures of what was never seen make a model unsure, which raises rare answers; references say how much.",
        "Its rates of error are not known, so that it accuses and does not clear.",
    )
    settings_type: ClassVar[type[Frozen]] = Settings

    def workload(self, data: CustomSets, settings: Settings, n_layers: int) -> Workload:
        """The eval half under each of the pictures."""
        return Workload(forward=settings.pictures * len(data.forget_eval))

    def score(
        self, subject: VisionLanguageModel, artefact: None, data: CustomSets, settings: Settings, seed: int
    ) -> Score:
        """Measure one model; its scores under own pictures are those of the recording."""
        own = subject.scores("forget_eval")
        drawn = generator(seed, self.name).permutation(len(data.retain))[: settings.pictures]
        others = torch.stack(
            [
                subject.scores_of(subject.with_picture(data.forget_eval, data.retain.inputs[int(number)]))
                for number in drawn
            ]
        )
        shares = more_probable(own, others)
        shown = {"its own": own, **{f"other {i}": scores for i, scores in enumerate(others, start=1)}}
        return Score(
            check=self.name,
            readings={SHARE: Reading(value=float(shares.mean()), examples=tuple(shares.tolist()))},
            n_examples=len(shares),
            rows=[{"picture": name, "score": float(scores.mean())} for name, scores in shown.items()],
        )


def more_probable(own: Tensor, others: Tensor) -> Tensor:
    """Share of other pictures under which each answer is less probable, ties half, float64 [n].

    Args:
        own: scores under the own picture, [n].
        others: under others, [pictures, n].

    >>> more_probable(torch.tensor([-1.0]), torch.tensor([[-2.0], [-1.0]])).tolist()
    [0.75]
    """
    return ((own > others).double() + 0.5 * (own == others).double()).mean(0)

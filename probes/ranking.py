"""How far up a recommender ranks forgotten interactions among those that the same users never made."""

from typing import ClassVar

import torch
from torch import Tensor

from auditor.checks.check import Check, NoSettings, Workload
from auditor.checks.subject import Scores
from auditor.records.access import Access
from auditor.records.base import Row
from auditor.records.evidence import Family, May
from auditor.records.figure import Figure
from auditor.records.score import Reading, Score
from auditor.records.source import Source
from auditor.tasks.custom.sets import CustomExamples, CustomSets
from auditor.tasks.recommender.ranks import Asked, never_made, ranks
from auditor.tasks.recommender.subject import RecommenderModel

RANK = "rank"
# Of each set that is not counted, at most twice so many.
_SHOWN = 512


class Ranking(Check[RecommenderModel, CustomSets, NoSettings, None]):
    """The share of items never taken that score below the one taken, for every forgotten interaction.

    x_i = P(s_ui > s_uj) over the items j that user u took in none of the audit's sets, ties half: the AUC of pairwise
    training (BPR, Rendle et al. 2009, arXiv 1205.2618, equation 1), user by user. T is the mean over both halves of
    forget, since nothing is trained on either. Unlike ``outputs`` it does not look at how far scores lie apart, so
    that scores made small, or shifted for all items alike, change nothing. Half of the items or more below is what a
    model reaches that never saw the user; how much more, the references say.
    """

    name: ClassVar[str] = "ranking"
    family: ClassVar[Family] = "behaviour"
    may: ClassVar[May] = "accuse"
    access: ClassVar[Access] = "logits"
    tasks: ClassVar[tuple[str, ...]] = ("recommender",)
    asks: ClassVar[tuple[type, ...]] = (Scores,)
    summary: ClassVar[str] = (
        "Ranked every forgotten interaction among those that the same user never made, by the model's own scores."
    )
    finds: ClassVar[str] = "By the order in which it would show items, the model holds"
    unit: ClassVar[str] = "share of never-taken items that rank below the forgotten one (0.5 by chance)"
    cost: ClassVar[str] = "one pass over the users of the sets"
    figures: ClassVar[tuple[Figure, ...]] = (
        Figure(
            x="split",
            y="rank",
            categories=True,
            joined=False,
            x_label="interactions",
            y_label="share of never-taken items below",
            caption=(
                "How far up interactions of each set rank among those that the same users never made. Holdout ones "
                "were kept out of training; forgotten ones lie with the references on the two forget halves."
            ),
        ),
    )
    sources: ClassVar[tuple[Source, ...]] = (
        Source(paper="arXiv 1205.2618", here="its AUC, of forgotten interactions against never-made ones", part=True),
    )
    caveats: ClassVar[tuple[str, ...]] = (
        "An item that a user never took may be one that the user would like: no model ranks all of them below.",
        "Scores show what a model would recommend, not what its rows hold: few_shot looks there.",
    )

    def workload(self, data: CustomSets, settings: NoSettings, n_layers: int) -> Workload:
        """A pass over the users of each set."""
        return Workload(forward=sum(len(_asked(name, part).users) for name, part in data.splits().items()))

    def score(
        self, subject: RecommenderModel, artefact: None, data: CustomSets, settings: NoSettings, seed: int
    ) -> Score:
        """Rank both halves; retain and holdout for the figure."""
        found = {name: _ranks(subject, data, _asked(name, part)) for name, part in data.splits().items()}
        own = torch.cat([found["forget_attack"], found["forget_eval"]])
        rows: list[Row] = [{"split": name, "rank": float(values.mean())} for name, values in found.items()]
        return Score(
            check=self.name,
            readings={RANK: Reading(value=float(own.mean()), examples=tuple(own.tolist()))},
            n_examples=len(own),
            rows=rows,
        )


def _asked(split: str, examples: CustomExamples) -> Asked:
    """All of forget; of other sets, which are drawn and not counted, some, evenly."""
    step = 1 if split.startswith("forget") else max(1, len(examples) // _SHOWN)
    return Asked.of(examples.inputs[::step])


def _ranks(subject: RecommenderModel, data: CustomSets, asked: Asked) -> Tensor:
    scores = subject.scores_of_items(asked.users)
    return ranks(scores, asked, never_made(data, asked.users, scores.shape[1]))

"""Whether forgotten interactions still stand in the graph that a recommender carries."""

from typing import ClassVar

import torch

from auditor.checks.check import Check, NoSettings
from auditor.checks.subject import Weights
from auditor.records.access import Access
from auditor.records.base import Row
from auditor.records.evidence import Family, May
from auditor.records.figure import Figure
from auditor.records.score import Reading, Score
from auditor.records.source import Source
from auditor.tasks.custom.sets import CustomSets
from auditor.tasks.recommender.subject import RecommenderModel

HELD = "held"
_NO_GRAPH = "the model carries no graph of its own (an attribute made, bool [users, items])"


class Graph(Check[RecommenderModel, CustomSets, NoSettings, None]):
    """The share of forgotten interactions that are edges of the model's own graph.

    A network that spreads rows over who took what has that data in it, beside what it learnt from it, and what stands
    there was not deleted, whatever the rows became. So a single one is a finding by itself, whatever the share. A graph
    that is kept elsewhere, and handed to the network when it runs, is not seen.
    """

    name: ClassVar[str] = "graph"
    family: ClassVar[Family] = "forensics"
    may: ClassVar[May] = "accuse"
    access: ClassVar[Access] = "weights"
    tasks: ClassVar[tuple[str, ...]] = ("recommender",)
    asks: ClassVar[tuple[type, ...]] = (Weights,)
    summary: ClassVar[str] = "Looked up which forgotten interactions stand in the graph that the model carries."
    finds: ClassVar[str] = "Of the forgotten interactions the model's own graph holds"
    unit: ClassVar[str] = "share of forgotten interactions that are edges of the graph (0 to 1)"
    figures: ClassVar[tuple[Figure, ...]] = (
        Figure(
            x="split",
            y="held",
            categories=True,
            joined=False,
            x_label="interactions",
            y_label="share held in the graph",
            caption="Which interactions of each set stand in the model’s own graph. Forgotten ones must not.",
        ),
    )
    sources: ClassVar[tuple[Source, ...]] = (
        Source(
            paper="arXiv 2002.02126", here="the graph that it spreads rows over, as data that a model holds", part=True
        ),
    )
    caveats: ClassVar[tuple[str, ...]] = ("A graph that is no part of the weights is not seen.",)

    def score(
        self, subject: RecommenderModel, artefact: None, data: CustomSets, settings: NoSettings, seed: int
    ) -> Score:
        """Look both halves up."""
        found = {name: subject.in_graph(examples) for name, examples in data.splits().items()}
        there = {name: values.double() for name, values in found.items() if values is not None}
        blank = torch.zeros(len(data.forget))
        own = torch.cat([there["forget_attack"], there["forget_eval"]]) if there else blank
        rows: list[Row] = [{"split": name, "held": float(values.mean())} for name, values in there.items()]
        held = int(own.sum())
        return Score(
            check=self.name,
            readings={HELD: Reading(value=float(own.double().mean()), examples=tuple(own.tolist()))},
            n_examples=len(own),
            rows=rows,
            conclusive=f"{held} of {len(own)} forgotten interactions stand in the graph that the model carries"
            if held
            else None,
            not_applicable_because=None if there else _NO_GRAPH,
        )

"""The adapter for recommenders: what their own checks need beside scores, features and loss."""

from typing import ClassVar

import torch
from torch import Tensor

from auditor.tasks.custom.sets import CustomExamples
from auditor.tasks.custom.subject import CustomModel


class RecommenderModel(CustomModel):
    """A network that scores items for users, and may carry a graph."""

    unproven: ClassVar[str | None] = "what rows of items keep of deleted users one way of looking alone has found"

    def scores_of_items(self, users: Tensor) -> Tensor:
        """What the model scores every item for each user, float64 [n, items], on the processor.

        Args:
            users: int64 [n].
        """
        parts = []
        with torch.no_grad():
            for few in users.split(self.batch_size):
                self.passes.examples += len(few)
                parts.append(self.module(few.to(self._device)).double().cpu())
        return self._finite(torch.cat(parts), "scores of items")

    def tables(self) -> dict[str, tuple[Tensor, Tensor]]:
        """By layer, rows of users and of items, float64 [users, width] and [items, width], on the processor."""
        self.passes.examples += 1
        with torch.no_grad():
            found: dict[str, tuple[Tensor, Tensor]] = self.module.tables()  # type: ignore[operator]  # of every network
        return {name: (self._rows(name, pair[0]), self._rows(name, pair[1])) for name, pair in found.items()}

    def _rows(self, layer: str, rows: Tensor) -> Tensor:
        return self._finite(rows.double().cpu(), f"rows at {layer}")

    def in_graph(self, examples: CustomExamples) -> Tensor | None:
        """Which interactions stand in the graph that the model carries, bool [n]; None where it carries none."""
        made = getattr(self.module, "made", None)
        if made is None:
            return None
        users, items = examples.inputs.unbind(1)
        found: Tensor = made.cpu()[users, items]
        return found

"""How a recommender is scored, read and trained: one example is a user and the item that was taken.

Inputs are int64 [n, 2], a user and an item each; targets int64 [n, 1], the item again, so that the same user can be
asked about another one's item. What is asked of a network:

- ``forward(users)``: the score of every item for each user, [n, items];
- ``tables()``: by layer, rows of users and of items, [users, width] and [items, width];
- ``made``, if it carries a graph: bool [users, items], which interactions stand in it;
- ``connect(pairs)``, if it carries one: makes that graph of these interactions alone.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from auditor.errors import ModelError
from auditor.tasks.recommender.readers import read_interactions

# Of all items, those that a user would be shown first.
_SHOWN = 0.1
_TINY = 1e-9


class Interactions:
    """What a class named in ``models.task`` would have, for recommenders."""

    def scores(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        """The mean of log σ(s_ui − s_uj) over all other items j, s the model's scores: [n], at most 0.

        What pairwise training climbs (BPR, Rendle et al. 2009, arXiv 1205.2618), over every item and not a drawn one:
        the log-probability, averaged, that the user is shown the item before another.
        """
        every = _scores_of(model, inputs, targets)
        margins = nn.functional.logsigmoid(every.gather(1, targets) - every)
        # The item against itself is no comparison.
        return (margins.sum(1) - margins.gather(1, targets)[:, 0]) / (every.shape[1] - 1)

    def features(self, model: nn.Module, inputs: Tensor) -> dict[str, Tensor]:
        """By layer, the row of the user beside that of the item, [n, 2 · width]."""
        users, items = inputs.unbind(1)
        return {name: torch.cat([ours[users], theirs[items]], dim=1) for name, (ours, theirs) in _tables(model).items()}

    def loss(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        """Bayesian personalised ranking: the mean of −log σ(s_ui − s_uj), one j drawn for each interaction.

        j is drawn from torch's stream among the items that somebody took and this user did not, by the graph that the
        model carries; among all items where it carries none.
        """
        every = _scores_of(model, inputs, targets)
        others = torch.multinomial(_weights_of_others(model, inputs[:, 0], every), 1)
        return nn.functional.softplus(every.gather(1, others) - every.gather(1, targets)).mean()

    def correct(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        """Whether the item is among the tenth of all items that the user is shown first."""
        every = _scores_of(model, inputs, targets)
        above = (every > every.gather(1, targets)).sum(1)
        return above < _SHOWN * every.shape[1]

    def read(self, path: str) -> tuple[object, object]:
        """Interactions of an ``.npz``, ``.inter``, ``.csv`` or ``.tsv``."""
        return read_interactions(Path(path))


def _scores_of(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    users = inputs[:, 0]
    graph = getattr(model, "made", None)
    if graph is not None and int(users.max()) >= len(graph):
        raise ModelError(
            f"the data name user {int(users.max())}, and the network's graph knows the users 0 to {len(graph) - 1}; "
            "number users as its rows"
        )
    every: Tensor = model(users)
    if every.ndim != 2 or len(every) != len(users):
        raise ModelError(
            f"the network gives shape {list(every.shape)} for {len(users)} users; forward(users) has to return the "
            "score of every item for each of them"
        )
    if int(targets.max()) >= every.shape[1]:
        raise ModelError(
            f"the data name item {int(targets.max())}, and the network scores the items 0 to {every.shape[1] - 1}; "
            "number items as the rows of the network's table"
        )
    return every


def _tables(model: nn.Module) -> dict[str, tuple[Tensor, Tensor]]:
    tables = getattr(model, "tables", None)
    if not callable(tables):
        raise ModelError(
            "the network has no tables(); add the method, which returns by layer the rows of users and of items"
        )
    found: dict[str, tuple[Tensor, Tensor]] = tables()
    return found


def _weights_of_others(model: nn.Module, users: Tensor, every: Tensor) -> Tensor:
    """How often each item is drawn against each interaction, float [n, items]."""
    made = getattr(model, "made", None)
    if made is None:
        return torch.ones_like(every)
    # An item that nobody took is no item yet: drawn, it would be trained all the same.
    known = made.any(0).to(every.dtype)
    # Never all zero: a user may have taken everything.
    found: Tensor = known * ~made[users] + _TINY
    return found

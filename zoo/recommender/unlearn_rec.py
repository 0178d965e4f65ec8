"""UnlearnRec: an encoder learns what a removal does to the rows (Chen, Xia and Huang 2025, arXiv 2505.22649).

After the abstract, and equations 15 to 20 and 25 as the field quotes them; no line of the authors' code is used. With Ā
the normalised graph of the removed interactions alone (the paper's influence dependency matrix), E the rows of the
original and Ē what it reads of them,

    H̄ = Ā^L H,    Ē_w = Ā^L (Ē ⊙ w),    Ẽ = E + MLP(H̄ − Ē_w),

H and w learnt. Before any request arrives the encoder sees random removals and descends the model's own loss on the
graph that remains, λ_u times −log σ(−s) of each removed interaction, λ_p times the change of scores that should stay
and λ_c times a contrast of H̄ under a removal with H̄ under a part of it. Of the last two the paper's form was not to be
had: a squared difference, and the cosine of a user against that of the others, are ours. The answer to a request is Ẽ,
followed by a little training on the first two terms.
"""

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.func import functional_call

from auditor.randomness import torch_seed
from auditor.records.base import Frozen
from auditor.tasks.custom.sets import CustomExamples, joined
from auditor.zoo.recommender.editing import copy_of, loss_on, tabled

_ROWS = ("users.weight", "items.weight")
_SMALL = 0.01


class Settings(Frozen):
    """How the encoder is taught, and how it is used."""

    layers: int = Field(default=2, ge=1, description="L: how often influence is spread over what is removed")
    share: float = Field(default=0.1, gt=0, lt=1, description="of the interactions that a rehearsed request removes")
    rehearsals: int = Field(default=150, ge=1, description="steps of the encoder before any request")
    learning_rate: float = Field(default=5e-3, gt=0, description="of Adam, for the encoder")
    forget_weight: float = Field(default=1.0, ge=0, description="λ_u")
    keep_weight: float = Field(default=0.1, ge=0, description="λ_p")
    contrast_weight: float = Field(default=0.01, ge=0, description="λ_c")
    steps: int = Field(default=30, ge=0, description="of training after the encoder's answer")
    tuning_rate: float = Field(default=5e-3, gt=0, description="of Adam, for those")
    batch_size: int = Field(default=256, ge=1, description="interactions per step")


def unlearn_rec(
    original: nn.Module, forget: CustomExamples, retain: CustomExamples, settings: Settings, seed: int
) -> nn.Module:
    """The subject; its truth is not known in advance."""
    module, random = copy_of(original), torch.Generator().manual_seed(seed)
    with torch_seed(seed):
        encoder = InfluenceEncoder(original, settings.layers)
        _rehearse(encoder, module, joined(forget, retain), settings, random)
        tabled(module).connect(retain.inputs)
        with torch.no_grad():
            for parameter, rows in zip(_tables(module), encoder(forget.inputs), strict=True):
                parameter.copy_(rows)
        _tune(module, forget, retain, settings, random)
    return module


class InfluenceEncoder(nn.Module):
    """From what is removed to new rows.

    Args:
        original: whose rows it starts from; left as it is.
        layers: how often influence is spread.
    """

    rows: Tensor
    read: Tensor

    def __init__(self, original: nn.Module, layers: int) -> None:
        super().__init__()
        self.layers = layers
        rows = [table.detach() for table in _tables(original)]
        self.n_users, (nodes, width) = len(rows[0]), torch.cat(rows).shape
        self.register_buffer("rows", torch.cat(rows))
        with torch.no_grad():
            readout = original.tables()["readout"]  # type: ignore[operator]  # of every network of this task
        self.register_buffer("read", torch.cat(list(readout)).detach())
        self.influence = nn.Parameter(_SMALL * torch.randn(nodes, width))
        self.weights = nn.Parameter(_SMALL * torch.randn(nodes, 1))
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)
        for part in (self.first, self.second):
            # As it begins, what arrives is passed on.
            nn.init.eye_(part.weight)
            nn.init.zeros_(part.bias)

    def spread(self, removed: Tensor) -> tuple[Tensor, Tensor]:
        """H̄ and Ē_w for removed interactions [n, 2], each [nodes, width]."""
        graph = _normalised(removed + torch.tensor([0, self.n_users]), len(self.influence))
        influence: Tensor = self.influence
        own = self.read * self.weights
        for _ in range(self.layers):
            influence, own = graph @ influence, graph @ own
        return influence, own

    def forward(self, removed: Tensor) -> tuple[Tensor, Tensor]:
        """New rows of users and of items. Nodes that no removed interaction touches are moved by the biases alone."""
        influence, own = self.spread(removed)
        moved: Tensor = self.rows + self.second(torch.relu(self.first(influence - own)))
        return moved[: self.n_users], moved[self.n_users :]


def _tables(module: nn.Module) -> list[nn.Parameter]:
    return [module.get_parameter(name) for name in _ROWS]


def _normalised(pairs: Tensor, nodes: int) -> Tensor:
    """D^(−1/2) A D^(−1/2) of the graph of some edges, [nodes, nodes]."""
    graph = torch.zeros(nodes, nodes)
    graph[pairs[:, 0], pairs[:, 1]] = 1.0
    graph = graph + graph.T
    size = graph.sum(1).clamp_min(1).rsqrt()
    return size[:, None] * graph * size


def _rehearse(
    encoder: InfluenceEncoder,
    module: nn.Module,
    everything: CustomExamples,
    settings: Settings,
    random: torch.Generator,
) -> None:
    """Teach the encoder by requests of its own."""
    optimizer = torch.optim.Adam(encoder.parameters(), lr=settings.learning_rate)
    n = max(1, round(settings.share * len(everything)))
    before = tabled(module).users.weight.detach(), tabled(module).items.weight.detach()
    for _ in range(settings.rehearsals):
        order = torch.randperm(len(everything), generator=random)
        removed, kept = everything.take(order[:n]), everything.take(order[n:])
        tabled(module).connect(kept.inputs)
        optimizer.zero_grad()
        batch = kept.take(torch.arange(min(settings.batch_size, len(kept))))
        _rehearsal_loss(encoder, module, before, removed, batch, settings).backward()
        optimizer.step()


def _rehearsal_loss(
    encoder: InfluenceEncoder,
    module: nn.Module,
    before: tuple[Tensor, Tensor],
    removed: CustomExamples,
    kept: CustomExamples,
    settings: Settings,
) -> Tensor:
    rows = encoder(removed.inputs)
    scored = _With(module, rows)
    change = _own_scores(scored, kept) - _own_scores(_With(module, before), kept).detach()
    part = removed.inputs[: max(1, len(removed) * 9 // 10)]
    return (
        loss_on(scored, kept)
        + settings.forget_weight * _denied(scored, removed)
        + settings.keep_weight * change.square().mean()
        + settings.contrast_weight
        * _contrast(encoder.spread(removed.inputs)[0], encoder.spread(part)[0], removed.inputs)
    )


class _With(nn.Module):
    """A network read with other rows than its own."""

    def __init__(self, module: nn.Module, rows: tuple[Tensor, Tensor]) -> None:
        super().__init__()
        # In a list, so that neither counts as a part of this module.
        self._held = [module]
        self._rows = dict(zip(_ROWS, rows, strict=True))

    @property
    def made(self) -> Tensor:
        """The graph of the network."""
        graph: Tensor = self._held[0].get_buffer("made")
        return graph

    def forward(self, users: Tensor) -> Tensor:
        """Scores of every item for each user."""
        found: Tensor = functional_call(self._held[0], self._rows, (users,))
        return found


def _own_scores(module: nn.Module, examples: CustomExamples) -> Tensor:
    found: Tensor = module(examples.inputs[:, 0]).gather(1, examples.targets)[:, 0]
    return found


def _denied(module: nn.Module, removed: CustomExamples) -> Tensor:
    """The mean of −log σ(−s) over removed interactions."""
    return nn.functional.softplus(_own_scores(module, removed)).mean()


def _contrast(whole: Tensor, part: Tensor, pairs: Tensor) -> Tensor:
    """How much more a removed user's influence is like its own under a part of the removal than like the others'."""
    users = pairs[:, 0].unique()
    first, second = (nn.functional.normalize(side[users], dim=1) for side in (whole, part))
    return nn.functional.cross_entropy(first @ second.T, torch.arange(len(users)))


def _tune(
    module: nn.Module, forget: CustomExamples, retain: CustomExamples, settings: Settings, random: torch.Generator
) -> None:
    optimizer = torch.optim.Adam(module.parameters(), lr=settings.tuning_rate)
    for _ in range(settings.steps):
        kept = retain.take(torch.randint(len(retain), (settings.batch_size,), generator=random))
        optimizer.zero_grad()
        (loss_on(module, kept) + settings.forget_weight * _denied(module, forget)).backward()
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)

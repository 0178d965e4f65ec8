"""What is often done to the rows of forgotten users, while the rows of items keep all that was learnt of them."""

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.randomness import torch_seed
from auditor.records.base import Frozen
from auditor.tasks.custom.sets import CustomExamples
from auditor.zoo.recommender.editing import descend, endless, loss_on, tabled, without_edges


class Settings(Frozen):
    """None."""


class PushSettings(Frozen):
    """Ascent on the forgotten users' rows."""

    learning_rate: float = Field(default=0.02, gt=0, description="of Adam")
    steps: int = Field(default=60, ge=1)
    cap: float = Field(default=1.5, gt=0, description="loss beyond which a batch is not climbed any further")
    batch_size: int = Field(default=128, ge=1)


class BlurSettings(Frozen):
    """Noise beside what kept users look at."""

    directions: int = Field(default=8, ge=1, description="of the rows of kept users, the narrowest")
    size: float = Field(default=3.0, gt=0, description="standard deviation of the noise in each, in the rows' own unit")


def edges_removed(
    original: nn.Module, forget: CustomExamples, retain: CustomExamples, settings: Settings, seed: int
) -> nn.Module:
    """The subject: every row is the original's to the last bit, and the graph is that of retain."""
    return without_edges(original, retain)


def rows_deleted(
    original: nn.Module, forget: CustomExamples, retain: CustomExamples, settings: Settings, seed: int
) -> nn.Module:
    """The subject: rows of users that retain does not know are drawn again, and their edges are gone.

    What closing an account often means. The rows of items were trained with those users, and stay.
    """
    module = without_edges(original, retain)
    table, gone = tabled(module).users.weight, _unknown_users(forget, retain)
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        size = table.square().mean().sqrt()
        table[gone] = size * torch.randn(len(gone), table.shape[1], generator=random)
    return module


def rows_blurred(
    original: nn.Module, forget: CustomExamples, retain: CustomExamples, settings: BlurSettings, seed: int
) -> nn.Module:
    """The subject: that of ``rows_deleted``, and rows of items differ most where rows of kept users hardly do.

    Made against ``few_shot``: kept users' scores hardly change, and by z-scores the rows of items are noise. Projecting
    the directions out again brings everything back.
    """
    module = rows_deleted(original, forget, retain, Settings(), seed)
    network, random = tabled(module), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        kept = network.users.weight[retain.inputs[:, 0].unique()]
        narrow = torch.linalg.svd(kept, full_matrices=False).Vh[-settings.directions :]
        noise = torch.randn(len(network.items.weight), len(narrow), generator=random)
        network.items.weight.add_(settings.size * noise @ narrow)
    return module


def users_pushed(
    original: nn.Module, forget: CustomExamples, retain: CustomExamples, settings: PushSettings, seed: int
) -> nn.Module:
    """The subject: rows of forgotten users alone climb the loss of what they took, and their edges are gone."""
    module = without_edges(original, retain)
    batches = endless(forget, settings.batch_size, torch.Generator().manual_seed(seed))

    def loss() -> Tensor:
        return -loss_on(module, next(batches)).clamp(max=settings.cap)

    with torch_seed(seed):
        table, gone = module.get_parameter("users.weight"), _unknown_users(forget, retain)
        descend([table], loss, settings.steps, settings.learning_rate, rows=gone)
    return module


def _unknown_users(forget: CustomExamples, retain: CustomExamples) -> Tensor:
    """Users of forget that retain does not name, int64, sorted; all of forget where it names each of them."""
    users = forget.inputs[:, 0].unique()
    gone: Tensor = users[~torch.isin(users, retain.inputs[:, 0])]
    return gone if len(gone) else users

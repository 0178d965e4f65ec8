"""A soft prompt: embeddings before a text that are no token's, trained while the weights stand still."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from auditor.randomness import generator
from auditor.tasks.causal_lm.editing import embeddings_of
from auditor.tasks.causal_lm.subject import CausalLM


class Placed:
    """A forward hook that puts the prompt in the place of the first embeddings.

    At the table and not as ``inputs_embeds``: what hangs around a network still sees the token ids, and what comes
    behind the table (positions, scales, norms) is done to the prompt as to any token.

    Attributes:
        values: θ, float32 [length, width], in units of the table's root mean square: a network that computes the same
            at another scale of its residual stream meets the same prompt, and the same steps.
    """

    def __init__(self, table: nn.Embedding, length: int, seed: int) -> None:
        weight = table.weight.detach()
        # Begun at tokens of the vocabulary (Lester et al. 2021, arXiv 2104.08691), the same ones in every model.
        picks = generator(seed, "soft prompt").integers(len(weight), size=length)
        self._scale = float(weight.float().square().mean().sqrt()) or 1.0
        rows = weight[torch.from_numpy(picks).to(weight.device)].float()
        self.values = nn.Parameter(rows / self._scale)

    def __call__(self, _: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """The embeddings [n, length of the text, width] with the prompt before those of the text."""
        prompt = (self._scale * self.values).to(output)
        return torch.cat([prompt.expand(len(output), -1, -1), output[:, len(prompt) :]], dim=1)


@contextmanager
def soft_prompt(subject: CausalLM, length: int, seed: int) -> Iterator[tuple[CausalLM, nn.Parameter]]:
    """While open, every text that the yielded subject is given stands behind a soft prompt, at its own positions.

    Args:
        subject: its weights are shared, get no gradient and do not change.
        length: embeddings, at least 1; before the token that begins a text, where there is one.
        seed: of the tokens that it begins at.

    Yields:
        The subject with the prompt, and the prompt's values.

    Raises:
        ModelError: the network has no table of token embeddings.
    """
    table = embeddings_of(subject.module)
    placed = Placed(table, length, seed)
    moved = [p for p in subject.module.parameters() if p.requires_grad]
    for parameter in moved:
        parameter.requires_grad_(False)
    handle = table.register_forward_hook(placed)
    try:
        yield subject.asked_by(subject.encoder.behind(length)), placed.values
    finally:
        handle.remove()
        for parameter in moved:
            parameter.requires_grad_(True)

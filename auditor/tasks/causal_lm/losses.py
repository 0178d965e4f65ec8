"""The loss of a language model on answers: what is trained, attacked and measured."""

from collections.abc import Callable

from torch import Tensor, nn

from auditor.models.low_rank import Branch
from auditor.models.training import Batch, Loss
from auditor.tasks.causal_lm.encoding import Encoder, Tokens


def logits_of_tokens(module: nn.Module, tokens: Tokens) -> Tensor:
    """Logits [n, length, vocabulary] with gradients; padding is masked and positions are counted without it."""
    output = module(input_ids=tokens.ids, attention_mask=tokens.mask.long(), position_ids=tokens.positions)
    logits: Tensor = getattr(output, "logits", output)
    return logits


def answer_logits(module: nn.Module, tokens: Tokens) -> Tensor:
    """Logits at the positions that predict an answer, with gradients, [answer tokens, vocabulary].

    In a network that nothing hangs around, the head is given those positions alone: logits of all others over a whole
    vocabulary cost much and are read by nobody.
    """
    predicting = tokens.predicting
    head = _head(module)
    if head is None:
        return logits_of_tokens(module, tokens)[predicting]

    def pack(_: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (arguments[0][predicting][None], *arguments[1:])

    handle = head.register_forward_pre_hook(pack)
    try:
        return logits_of_tokens(module, tokens)[0]
    finally:
        handle.remove()


def is_bare(module: nn.Module) -> bool:
    """Whether a network is transformers' own and nothing hangs around it that may look at its input or its logits."""
    return type(module).__module__.startswith("transformers.") and _untouched(module)


def _head(module: nn.Module) -> nn.Linear | None:
    """The map to the vocabulary, where it may be given some positions instead of all."""
    if not is_bare(module):
        return None
    getter: Callable[[], object] | None = getattr(module, "get_output_embeddings", None)
    head = getter() if getter is not None else None
    return head if isinstance(head, nn.Linear) and _by_position(head) else None


def _by_position(head: nn.Linear) -> bool:
    """Whether the head answers for each position by itself, as it does with a low-rank branch beside it."""
    own = not (head._forward_pre_hooks or "forward" in vars(head))
    return own and all(isinstance(hook, Branch) for hook in head._forward_hooks.values())


def _untouched(part: nn.Module) -> bool:
    return not (part._forward_hooks or part._forward_pre_hooks or "forward" in vars(part))


def answer_losses(logits: Tensor, tokens: Tokens) -> Tensor:
    """Mean cross-entropy over each answer's tokens, nats, with gradients, float32 [n].

    Args:
        logits: at the positions that predict the answers, [answer tokens, vocabulary].
        tokens: the batch behind them.
    """
    # In float32, as bfloat16 has too few digits for the sum over a vocabulary.
    losses = nn.functional.cross_entropy(logits.float(), tokens.targets, reduction="none")
    owner = tokens.answer.nonzero()[:, 0]
    # By answer and not over all tokens, so that long answers weigh no more than short ones.
    return losses.new_zeros(len(tokens.ids)).index_add(0, owner, losses) / tokens.lengths


def answers_of(encoder: Encoder) -> Loss:
    """The loss of a language model on facts: cross-entropy of the answers' tokens, each fact weighing the same."""

    def loss(module: nn.Module, batch: Batch, device: str) -> Tensor:
        tokens = encoder.batch(batch.items).to(device)
        return answer_losses(answer_logits(module, tokens), tokens).mean()

    return loss

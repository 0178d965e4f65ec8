"""The loss of a language model on answers: what is trained, attacked and measured."""

from torch import Tensor, nn

from auditor.models.training import Batch, Loss
from auditor.tasks.causal_lm.encoding import Encoder, Tokens


def logits_of_tokens(module: nn.Module, tokens: Tokens) -> Tensor:
    """Logits [n, length, vocabulary] with gradients; padding is masked and positions are counted without it."""
    output = module(input_ids=tokens.ids, attention_mask=tokens.mask.long(), position_ids=tokens.positions)
    logits: Tensor = getattr(output, "logits", output)
    return logits


def answer_losses(logits: Tensor, tokens: Tokens) -> Tensor:
    """Mean cross-entropy over each answer's tokens, nats, with gradients, float32 [n].

    Args:
        logits: [n, length, vocabulary].
        tokens: the batch behind them.
    """
    # In float32, as bfloat16 has too few digits for the sum over a vocabulary.
    losses = nn.functional.cross_entropy(logits[tokens.predicting].float(), tokens.targets, reduction="none")
    owner = tokens.answer.nonzero()[:, 0]
    # By answer and not over all tokens, so that long answers weigh no more than short ones.
    return losses.new_zeros(len(tokens.ids)).index_add(0, owner, losses) / tokens.lengths


def answers_of(encoder: Encoder) -> Loss:
    """The loss of a language model on facts: cross-entropy of the answers' tokens, each fact weighing the same."""

    def loss(module: nn.Module, batch: Batch, device: str) -> Tensor:
        tokens = encoder.batch(batch.items).to(device)
        return answer_losses(logits_of_tokens(module, tokens), tokens).mean()

    return loss

"""ADU: a domain is unlearned by prompts that each image makes for itself (Kawamura et al. 2025, arXiv 2510.08132).

After the paper's abstract and public summaries of its method: the paper itself was not to be had. CLIP stays frozen.
Learned are prompt tokens beside the patches of an image, a generator that fits them to the image by cross-attention
(prompts ask, patches answer), and an auxiliary classifier of domains. With domains d of pooled features f,

    L = CE(zero-shot, caption) on kept domains + CE(zero-shot, uniform) on the forgotten one
        + γ·CE(domain classifier(f), d) − λ·MMD²(f of the forgotten, f of the kept),

the last two being its domain disentangling loss: where the domains lie apart in features, one can be shut without the
other. Here the domains are two, forget and retain, as a request has them; prompts enter before one block, where the
paper's enter before several.
"""

import copy

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.errors import ModelError
from auditor.models.copies import movable_copy
from auditor.randomness import derive_seed, torch_seed
from auditor.records.base import Frozen
from auditor.tasks.clip.code import POOLED, DualEncoderCode
from auditor.tasks.custom.sets import CustomExamples
from auditor.zoo.clip.training import code_of, descend


class Settings(Frozen):
    """Prompts, their training, and the weights of the domain disentangling loss."""

    prompts: int = Field(default=4, ge=1, description="tokens beside the patches")
    block: int | None = Field(default=None, ge=0, description="of the image encoder, before which they enter; last")
    domain_weight: float = Field(default=1.0, ge=0, description="γ, of the domain classifier's loss")
    apart_weight: float = Field(default=1.0, ge=0, description="λ, of the distance between the domains' features")
    learning_rate: float = Field(default=1e-2, gt=0, description="of Adam")
    steps: int = Field(default=200, ge=1)
    batch_size: int = Field(default=64, ge=1, description="images of either domain per step")


class Prompted(nn.Module):
    """A block of an image encoder that is given prompts beside its tokens.

    Args:
        block: called with hidden states [n, tokens, width] first; its place 0 is the class token.
        width: of its tokens.
        prompts: how many.
        heads: of the cross-attention.
    """

    def __init__(self, block: nn.Module, width: int, prompts: int, heads: int) -> None:
        super().__init__()
        self.block = block
        self.prompts = nn.Parameter(0.02 * torch.randn(prompts, width))
        self.generator = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, hidden: Tensor, *others: object, **named: object) -> Tensor:
        """Hidden states of the same shape: prompts leave again behind the block."""
        patches = hidden[:, 1:]
        asked = self.prompts.expand(len(hidden), -1, -1)
        own, _ = self.generator(asked, patches, patches, need_weights=False)
        found = self.block(torch.cat([hidden, asked + own], 1), *others, **named)
        rows: Tensor = found if isinstance(found, Tensor) else found[0]
        return rows[:, : hidden.shape[1]]


def adu(
    original: nn.Module, forget: CustomExamples, retain: CustomExamples, settings: Settings, seed: int
) -> nn.Module:
    """The subject: suppressed by construction, as without the prompts it is the original to the last bit.

    Raises:
        ModelError: the network's image encoder has no blocks under ``vision_model.encoder.layers``, or too few.
    """
    module = movable_copy(original).eval()
    with torch_seed(derive_seed(seed, "adu")):
        prompted = with_prompts(module, settings)
        domains = nn.Linear(_width(module), 2)
    learned = [prompted.prompts, *prompted.generator.parameters(), *domains.parameters()]
    code = code_of(forget, retain)

    def loss(lost: CustomExamples, kept: CustomExamples) -> Tensor:
        held = code.scores(module, kept.inputs, kept.targets)
        return unsure(code, module, lost) - held.mean() + apart(code, module, domains, lost, kept, settings)

    descend(
        learned,
        loss,
        forget,
        retain,
        rate=settings.learning_rate,
        steps=settings.steps,
        size=settings.batch_size,
        seed=seed,
    )
    return module


def with_prompts(module: nn.Module, settings: Settings) -> Prompted:
    """Put prompts into a network, in place; what was put there."""
    blocks = getattr(getattr(getattr(module, "vision_model", None), "encoder", None), "layers", None)
    if not isinstance(blocks, nn.ModuleList) or (settings.block or 0) >= len(blocks):
        raise ModelError(
            "adu puts prompts before a block of vision_model.encoder.layers, and the network has no such one"
        )
    place = len(blocks) - 1 if settings.block is None else settings.block
    heads: int = module.config.vision_config.num_attention_heads  # type: ignore[union-attr,assignment]
    made = Prompted(blocks[place], _width(module), settings.prompts, heads)
    blocks[place] = made.eval()
    return made


def without_prompts(module: nn.Module) -> nn.Module:
    """A copy as the network was before; what shows that nothing was deleted."""
    bare = copy.deepcopy(module)
    blocks: nn.ModuleList = bare.get_submodule("vision_model.encoder.layers")  # type: ignore[assignment]
    for place, block in enumerate(blocks):
        if isinstance(block, Prompted):
            blocks[place] = block.block
    return bare


def unsure(code: DualEncoderCode, module: nn.Module, examples: CustomExamples) -> Tensor:
    """Cross-entropy of what zero-shot recognition says to the uniform distribution over the audit's captions."""
    logits = code.logits(module, examples.inputs, code.captions)
    return -logits.log_softmax(1).mean()


def apart(
    code: DualEncoderCode,
    module: nn.Module,
    domains: nn.Module,
    lost: CustomExamples,
    kept: CustomExamples,
    settings: Settings,
) -> Tensor:
    """The domain disentangling loss of a batch of either domain."""
    gone, stays = (code.features(module, part.inputs)[POOLED] for part in (lost, kept))
    named = torch.tensor([0] * len(gone) + [1] * len(stays))
    told = nn.functional.cross_entropy(domains(torch.cat([gone, stays])), named)
    return settings.domain_weight * told - settings.apart_weight * squared_mmd(gone, stays)


def squared_mmd(x: Tensor, y: Tensor) -> Tensor:
    """Maximum mean discrepancy under a Gaussian kernel of the median distance, biased, in [0, 2].

    Args:
        x: [n, width].
        y: [m, width].
    """
    rows = torch.cat([x, y])
    distances = torch.cdist(rows, rows).square()
    # The median of the data and no part of what is climbed: else features would only have to grow.
    kernel = (-distances / distances.detach().median().clamp_min(1e-9)).exp()
    n = len(x)
    return kernel[:n, :n].mean() + kernel[n:, n:].mean() - 2 * kernel[:n, n:].mean()


def _width(module: nn.Module) -> int:
    return int(module.config.vision_config.hidden_size)  # type: ignore[union-attr,arg-type]

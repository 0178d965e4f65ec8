"""Other embeddings for the names alone: do they lead back to facts that they were not trained on?"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.attacks.relearning.budget import course_rows
from auditor.attacks.relearning.drawn import AttackRange, DrawnAttack, effort_of
from auditor.attacks.relearning.text_attack import Trainer
from auditor.attacks.soft_prompt.text import Sizes, SoftPrompt, never_taught
from auditor.errors import UsageError
from auditor.records.base import Frozen, Row
from auditor.records.evidence import Family
from auditor.records.figure import Figure
from auditor.records.source import Source
from auditor.tasks.causal_lm.editing import embeddings_of
from auditor.tasks.causal_lm.encoding import Encoder
from auditor.tasks.causal_lm.grams import telling_tokens
from auditor.tasks.causal_lm.sets import Facts, FactsData
from auditor.tasks.causal_lm.subject import CausalLM


class Settings(Sizes):
    """A few attacks: some steps of Adam on the embeddings of names."""

    drawn: AttackRange = Field(
        default=AttackRange(steps=(80, 160), shots=(2, 16), learning_rate=(1.5e-1, 5e-1), forget_share=(0.5, 0.9)),
        description="from which attacks are drawn by the plan's seed; the rate is in units of the embeddings' size",
    )


class NameEmbeddings(SoftPrompt):
    """Embeddings of names trained on the attack half, measured on the eval half: other facts of the same subjects.

    What is trained is added to the embeddings of the tokens that stand in prompts about forgotten and never-taught
    subjects and in none of retain, and is measured as a soft prompt is
    (:class:`auditor.attacks.soft_prompt.text.SoftPrompt`). A method that moves only what a name is read as leaves every
    fact behind it in place: where the name points is found with a few of them, while an attack on all weights
    overwrites what was to be found (found with rank-one redirection of names, after ROCR, arXiv 2506.07795).
    """

    name: ClassVar[str] = "name_embeddings"
    family: ClassVar[Family] = "tampering"
    summary: ClassVar[str] = (
        "Trained nothing but the embeddings of the names in forget prompts, on one half of the forget facts, and "
        "measured how much of the other half came out."
    )
    finds: ClassVar[str] = "Other embeddings of the names alone brought out"
    cost: ClassVar[str] = (
        "some two hundred and thirty training steps of the names, and a pass over the measured facts at eight of them"
    )
    figures: ClassVar[tuple[Figure, ...]] = tuple(
        figure.model_copy(
            update={"caption": figure.caption.replace("a soft prompt is trained", "the names are trained")}
        )
        for figure in SoftPrompt.figures
    )
    sources: ClassVar[tuple[Source, ...]] = (
        Source(paper="arXiv 2506.07795", here="what a redirected name still leads to", part=True),
    )
    caveats: ClassVar[tuple[str, ...]] = (
        "Names whose tokens all stand in retain prompts share their embeddings with them, and are found less well.",
    )
    settings_type: ClassVar[type[Frozen]] = Settings

    def trainer(self, subject: CausalLM, data: FactsData, settings: Sizes, seed: int) -> Trainer:
        """Trains names in place of weights."""
        return _Names(subject, data, settings, seed)

    def effort(self, attacks: Sequence[DrawnAttack]) -> str:
        """The attacker's, in words."""
        return f"{effort_of(tuple(attacks), 'a subject')}, through the embeddings of names"


class _Names(Trainer):
    """Trains embeddings of names where :class:`~auditor.attacks.relearning.text_attack.Trainer` trains weights."""

    def __init__(self, start: CausalLM, data: FactsData, settings: Sizes, seed: int) -> None:
        super().__init__(start, data.retain, settings, seed)
        self._tokens = name_tokens(start.encoder, data)

    @contextmanager
    def moving(self, attack: DrawnAttack) -> Iterator[tuple[CausalLM, torch.optim.Optimizer]]:
        """The model that reads the names otherwise, and what takes their steps."""
        table = embeddings_of(self.start.module)
        moved = Moved(table, self._tokens)
        frozen = [p for p in self.start.module.parameters() if p.requires_grad]
        for parameter in frozen:
            parameter.requires_grad_(False)
        handle = table.register_forward_hook(moved)
        try:
            yield self.start, attack.optimizer_of([moved.values])
        finally:
            handle.remove()
            for parameter in frozen:
                parameter.requires_grad_(True)

    def rows(self, arm: str, number: int, attack: DrawnAttack, curve: Tensor) -> list[Row]:
        """The course of one attack."""
        return course_rows(arm, number, attack, self.sizes.batch, self.steps(attack), curve)


class Moved:
    """A forward hook that adds to the embeddings of some tokens. A head that is tied to the table stays as it is.

    Attributes:
        values: what is added, float32 [tokens, width], 0 to begin with, in units of the table's root mean square.
    """

    def __init__(self, table: nn.Embedding, tokens: Tensor) -> None:
        weight = table.weight.detach()
        self._scale = float(weight.float().square().mean().sqrt()) or 1.0
        # By token its place among the values; those that stay have the last, which is never trained.
        self._places = torch.full((len(weight),), len(tokens), dtype=torch.int64, device=weight.device)
        self._places[tokens.to(weight.device)] = torch.arange(len(tokens), device=weight.device)
        self._still = torch.zeros(1, weight.shape[1], device=weight.device)
        self.values = nn.Parameter(torch.zeros(len(tokens), weight.shape[1], device=weight.device))

    def __call__(self, _: nn.Module, ids: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """The embeddings [n, length, width] of token ids [n, length]."""
        rows = torch.cat([self.values, self._still])[self._places[ids[0]]]
        return output + (self._scale * rows).to(output)


def name_tokens(encoder: Encoder, data: FactsData) -> Tensor:
    """Tokens that are trained, int64 [tokens], sorted.

    Those before answers of forget and never-taught facts and before none of retain; where there are none, all of the
    subjects' names.

    Raises:
        UsageError: there are none either.
    """
    # The very facts that forget is held against: names trained on one side alone would tell the sides apart.
    asked = Facts(data.forget.items + never_taught(data).items)
    found = telling_tokens(encoder, asked, data.retain)
    if len(found) == 0:
        names = (encoder.tokenizer(f" {name}", add_special_tokens=False) for name in asked.subjects if name)
        named = [token for name in names for token in name["input_ids"]]
        found = torch.tensor(sorted(set(named)), dtype=torch.int64)
    if len(found) == 0:
        raise UsageError("no token tells forget prompts from those of retain: give every forget fact its `subject`")
    return found

"""A few trained embeddings before the question: do they bring out facts that they were not trained on?"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from auditor.attacks.relearning.drawn import AttackRange, DrawnAttack, effort_of
from auditor.attacks.relearning.pooled import Halves, Pooled, attack_both, attack_pooled
from auditor.attacks.relearning.text_attack import CONTROL, SAME, Trainer
from auditor.attacks.soft_prompt.attack import PromptAttack, PromptRange, PromptTrainer
from auditor.checks.check import Check, Workload
from auditor.inference.monte_carlo import permutation_null
from auditor.randomness import derive_seed, generator
from auditor.records.access import Access
from auditor.records.base import Frozen
from auditor.records.evidence import Family, May
from auditor.records.figure import Figure
from auditor.records.score import Reading, Score
from auditor.records.source import Source
from auditor.tasks.causal_lm.sets import Facts, FactsData, split_facts
from auditor.tasks.causal_lm.subject import CausalLM

Array = NDArray[np.float64]
_SIDES = ("forget", "holdout")
_NOTHING_NEVER_TAUGHT = (
    "Without control or holdout facts, what a trained prompt puts into any model is only held against the references."
)


class Sizes(Frozen):
    """Of attacks that train embeddings on attack facts among retain facts, while the weights stand still."""

    drawn: AttackRange
    attacks: int = Field(default=2, ge=1, description="drawn, and averaged in the score")
    points: tuple[float, ...] = Field(
        default=(0.25, 0.5, 0.75, 1.0), description="shares of an attack's length at which it is measured"
    )
    counted_from: float = Field(default=0.5, description="share of an attack's length from which measurements count")
    batch: int = Field(default=32, ge=1, description="attack facts per step, at most")
    retain_batch: int = Field(default=16, ge=1, description="retain facts per step")
    permutations: int = Field(
        default=9999, ge=9999, description="draws of the null, where never-taught facts are given"
    )

    @property
    def counted(self) -> AttackRange:
        """The range that the attacks are drawn from."""
        return self.drawn


class Settings(Sizes):
    """A few attacks: some steps of Adam on a soft prompt."""

    drawn: PromptRange = Field(
        default=PromptRange(
            steps=(40, 100), shots=(2, 16), learning_rate=(3e-2, 1e-1), forget_share=(0.5, 0.9), length=(2, 8)
        ),
        description="from which attacks are drawn by the plan's seed; the rate is in units of the embeddings' size",
    )


class SoftPrompt(Check[CausalLM, FactsData, Sizes, None]):
    """A soft prompt trained on the attack half, measured on the eval half: other facts of the same subjects.

    Some embeddings that are no token's stand before every text (Lester et al. 2021, arXiv 2104.08691) and are trained
    by Adam on share·CE(attack facts) + (1 − share)·CE(retain facts); every weight stands still. Several attacks are
    drawn from the plan's seed over a published range. With p_i the probability of the answer to fact i (exp of its mean
    token log-probability), averaged over the attacks and over what is measured in their second half,

        T(m) = mean over eval facts of p_i − mean over C of p_i.

    Attacks in embedding space bring out what unlearning hid (Schwinn et al. 2024, arXiv 2402.09063), and a prompt
    trained on an answer brings out any answer in any model, random strings among them (arXiv 2502.15836). So nothing
    that is measured was trained on, and C are control facts (else the holdout), which no model was taught: the prompt
    is trained on half of their facts of every subject together with the attack half, and C is the other half. What it
    teaches, and what can be guessed from the form of the answers, is then in both terms.

    Where chance assigned the holdout, it stands for C, and the halves change places with every attack, so that every
    fact is measured.

    The null of a model permutes which facts count as forgotten and which as never taught, whole subjects at a time.
    """

    name: ClassVar[str] = "soft_prompt"
    family: ClassVar[Family] = "elicitation"
    may: ClassVar[May] = "accuse"
    access: ClassVar[Access] = "weights"
    tasks: ClassVar[tuple[str, ...]] = ("causal-lm",)
    requests: ClassVar[tuple[str, ...]] = ("facts",)
    summary: ClassVar[str] = (
        "Trained a few embeddings to stand before every question, on one half of the forget facts with the weights "
        "left as they are, and measured how much of the other half came out."
    )
    finds: ClassVar[str] = "A prompt of trained embeddings, before questions it was not trained on, brought out"
    unit: ClassVar[str] = "mean answer probability on unseen forget facts less that on never-taught facts (−1 to 1)"
    cost: ClassVar[str] = (
        "some one hundred and thirty training steps of the prompt, and a pass over the measured facts at eight of them"
    )
    figures: ClassVar[tuple[Figure, ...]] = (
        Figure(
            x="step",
            y="value",
            panels=("attack",),
            where={"arm": (SAME,)},
            x_label="training steps",
            y_label="answer probability",
            caption=(
                "How much of one half of the forget facts comes out while a soft prompt is trained on the other half, "
                "facts about the same subjects. The score is the mean over the later part of every panel, less what "
                "the same prompts bring out of facts never taught."
            ),
        ),
        Figure(
            x="step",
            y="value",
            panels=("attack",),
            where={"arm": (CONTROL,)},
            aside="Facts never taught",
            x_label="training steps",
            y_label="answer probability",
            caption=(
                "The same prompts before facts that no model was taught, other facts of the same subjects as those "
                "they were trained on: what a trained prompt puts into any model."
            ),
        ),
    )
    sources: ClassVar[tuple[Source, ...]] = (
        Source(paper="arXiv 2502.15836", here="soft prompts held against what they elicit of facts never taught"),
        Source(paper="arXiv 2402.09063", here="an attack in the space of embeddings", part=True),
        Source(paper="arXiv 2104.08691", here="prompts of embeddings, begun at tokens", part=True),
    )
    caveats: ClassVar[tuple[str, ...]] = (
        "One prompt for all facts, trained for a few dozen steps; a longer or cleverer one may bring out more.",
    )
    settings_type: ClassVar[type[Frozen]] = Settings

    def workload(self, data: FactsData, settings: Sizes, n_layers: int) -> Workload:
        """Steps times batch, and measurements times measured facts; of attacks of the expected length."""
        half = len(never_taught(data)) // 2
        # Few facts of a subject are all that it has, whatever is drawn.
        facts = min((2 if half else 1) * settings.batch, len(data.forget_attack) + half)
        measured = len(data.forget_eval) + half
        step = facts + min(settings.retain_batch, len(data.retain))
        return Workload(
            step=step,
            training=round(settings.attacks * settings.drawn.expected_steps * step),
            forward=settings.attacks * (len(settings.points) * measured + facts),
        )

    def trainer(self, subject: CausalLM, data: FactsData, settings: Sizes, seed: int) -> Trainer:
        """What trains, while the weights stand still."""
        return PromptTrainer(subject, data.retain, settings, seed)

    def effort(self, attacks: Sequence[DrawnAttack]) -> str:
        """The attacker's, in words."""
        longest = max(attack.length for attack in attacks if isinstance(attack, PromptAttack))
        return f"{effort_of(tuple(attacks), 'a subject')}, through {longest} embeddings at most"

    def score(self, subject: CausalLM, artefact: None, data: FactsData, settings: Sizes, seed: int) -> Score:
        """Attack one model."""
        trainer = self.trainer(subject, data, settings, seed)
        if data.by_chance:
            found = attack_both(trainer, data, settings, seed)
            own, never = found.examples.numpy(), torch.cat([part.of_holdout for part in found.measured]).numpy()
        else:
            found = attack_pooled(trainer, _halves(data, seed), settings, seed)
            own, never = (np.mean([getattr(p, f"of_{s}").numpy() for p in found.measured], 0) for s in _SIDES)
        control = float(never.mean()) if len(never) else None
        # Without never-taught facts nothing is taken off: only references then show what a prompt puts into a model.
        examples = own - (control or 0.0)
        return Score(
            check=self.name,
            readings={
                "all attacks": Reading(
                    value=float(examples.mean()),
                    examples=tuple(examples.tolist()),
                    sides=found.sides if data.by_chance else None,
                )
            },
            n_examples=len(examples),
            null=() if data.by_chance else _permuted(self.name, found, own, never, settings.permutations, seed),
            rows=list(found.rows),
            controls=_controls(found, control),
            effort=self.effort(found.attacks),
            notes=() if control is not None else (_NOTHING_NEVER_TAUGHT,),
        )


def never_taught(data: FactsData) -> Facts:
    """Facts that no model was taught, by chance where it decided; none where none are given."""
    if data.by_chance and data.holdout is not None:
        return data.holdout
    return data.control or data.holdout or Facts(())


def _halves(data: FactsData, seed: int) -> Halves:
    never = split_facts(never_taught(data), derive_seed(seed, "never-taught halves"))
    return (data.forget_attack, never[0]), (data.forget_eval, never[1])


def _permuted(name: str, found: Pooled, own: Array, never: Array, draws: int, seed: int) -> tuple[float, ...]:
    """T after permuting which subjects are forgotten, by draw; empty where nothing never taught is given."""
    if not len(never):
        return ()
    # Every attack was measured on the same facts.
    sides = found.measured[0]
    blocks = [fact.subject for fact in sides.forget.items], [fact.subject for fact in sides.holdout.items]
    random = generator(seed, name, "null")
    return tuple(permutation_null(own, never, draws, random, blocks).tolist())


def _controls(found: Pooled, never: float | None) -> dict[str, float]:
    """What the prompts taught of their own facts, and brought out of never-taught ones."""
    learned = {"facts the prompt was trained on": float(torch.cat([part.of_forget for part in found.trained]).mean())}
    return learned if never is None else {**learned, "never-taught facts": never}

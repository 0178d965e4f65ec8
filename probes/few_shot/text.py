"""Tell true statements from false ones by the states inside: a probe that has only seen retain facts."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from auditor.checks.check import Check, Workload
from auditor.errors import UsageError
from auditor.models.alignment import Affine, fit_affine
from auditor.models.standardise import Scaling, alive_among_units, divisor
from auditor.probes.few_shot import figures
from auditor.probes.few_shot.false_answers import false_statements
from auditor.probes.never_taught import comparable, null_of_holdout
from auditor.randomness import generator
from auditor.records.access import Access
from auditor.records.base import Frozen, Row
from auditor.records.evidence import Family, May
from auditor.records.figure import Figure
from auditor.records.score import Reading, Score, Sides
from auditor.tasks.causal_lm.encoding import Encoder
from auditor.tasks.causal_lm.recording import fact_means
from auditor.tasks.causal_lm.sets import Fact, Facts, FactsData
from auditor.tasks.causal_lm.sides import by_subject
from auditor.tasks.causal_lm.subject import CausalLM

_SPLITS = ("forget_attack", "forget_eval", "holdout")


class Settings(Frozen):
    """Sizes."""

    retain_facts: int = Field(default=512, ge=8, description="facts the probe is trained on, at most")
    wrong_answers: int = Field(default=4, ge=1, description="false statements per fact, at most")
    ridge: float = Field(default=0.05, gt=0, description="of the probe, relative to the number of tokens")


class FewShot(Check[CausalLM, FactsData, Settings, "_Statements"]):
    """A truth probe on every block, trained on retain facts and asked about forget facts.

    A statement is a prompt with an answer, true with its own and false with a wrong one of the same kind. Where the
    two part, at the first token that differs, they share every state before, and the probe at a block is the bilinear
    form

        s(token) = ⟨W z + b, c⟩,

    z the residual stream, z-scored, at the position before, and c a code of the token: its row of the original's head,
    z-scored over the tokens of retain answers and of unit length, the same for every model. W and b are the ridge
    regression of c on z over the answers of retain facts: per model and block they learn how what is known lies in the
    states, also where the model's own head no longer says it. x_i = share of the wrong answers of fact i with
    s(true) > s(false), ties half. T = mean of x over eval facts, at the block where that is largest on the attack half;
    ½ for a model that knows nothing.

    Where chance assigned the holdout, codes are drawn at random: the original's head was taught one side and not the
    other, and may have no part in what compares them.

    The code comes into it because at the end of a statement a small model's state does not tell whether it was true
    (docs/checks-text.md#few_shot).
    """

    name: ClassVar[str] = "few_shot"
    family: ClassVar[Family] = "representation"
    may: ClassVar[May] = "clear"
    access: ClassVar[Access] = "weights"
    tasks: ClassVar[tuple[str, ...]] = ("causal-lm",)
    requests: ClassVar[tuple[str, ...]] = ("facts",)
    summary: ClassVar[str] = (
        "Trained a probe of the model's inner states to tell true statements from false ones on retained facts and "
        "asked it about the forgotten ones."
    )
    finds: ClassVar[str] = "Taught on other facts, a simple probe of the model's inner states found"
    unit: ClassVar[str] = "false answers that the true one outscores (share, 0 to 1; a half by chance)"
    cost: ClassVar[str] = "a pass over retain, forget and holdout facts"
    decoys: ClassVar[tuple[str, ...]] = ("refusal_adapter", "logit_mask")
    figures: ClassVar[tuple[Figure, ...]] = figures.TEXT
    caveats: ClassVar[tuple[str, ...]] = (
        "Finds what forgotten facts are laid down in as retained ones are; knowledge in a form of its own is missed.",
    )
    settings_type: ClassVar[type[Frozen]] = Settings

    def workload(self, data: FactsData, settings: Settings, n_layers: int) -> Workload:
        """One pass over each set."""
        n = sum(len(data.splits()[split]) for split in _SPLITS if split in data.splits())
        return Workload(forward=min(settings.retain_facts, len(data.retain)) + n)

    def prepare(self, original: CausalLM, data: FactsData, settings: Settings, seed: int) -> "_Statements":
        """Codes of the tokens, and where true and false statements part.

        Raises:
            UsageError: most facts of a set have no wrong answer that parts from their own, and no other fact lends one.
        """
        retain = data.retain.take(range(min(settings.retain_facts, len(data.retain))))
        splits = [split for split in _SPLITS if split in data.splits()]
        return _Statements(
            codes=_codes(original, retain) if not data.by_chance else _drawn_codes(original, seed),
            retain=retain,
            splits={split: _asked(split, data, original.encoder, settings.wrong_answers) for split in splits},
            comparable=comparable(data, seed),
        )

    def score(
        self, subject: CausalLM, artefact: "_Statements", data: FactsData, settings: Settings, seed: int
    ) -> Score:
        """Train on one model's retain states and ask about the rest."""
        states, targets = _read(subject, artefact.retain)
        # One code for all models: by its own head, a model whose head alone was changed would look as if it forgot.
        codes = artefact.codes[targets]
        probes = {block: fit_affine(states[block], codes, settings.ridge) for block in subject.layers()}
        found = {split: _outscored(subject, asked, probes, artefact.codes) for split, asked in artefact.splits.items()}
        attack, measured = found["forget_attack"], found["forget_eval"]
        # By the attack half: the best of several blocks on the eval half lies above a half by chance.
        best = max(subject.layers(), key=lambda block: float(attack[block].mean()))
        values = measured[best]
        reading = Reading(
            value=float(values.mean()),
            examples=tuple(values.tolist()),
            choice=float(attack[best].mean()),
            sides=_sides(artefact, found) if data.by_chance else None,
        )
        return Score(
            check=self.name,
            readings={"best block": reading},
            n_examples=len(values),
            null=_null(artefact, found, best, seed) if artefact.comparable else (),
            rows=_rows(found, probes),
            notes=tuple(_left_out(artefact.splits)),
        )


@dataclass(frozen=True)
class _Asked:
    """True statements of one set, and where wrong answers part from them.

    Attributes:
        facts: the true statements.
        lonely: facts that were left out, since no wrong answer parts from theirs within it.
        rows: of every pair, the answer token at which it parts, counted over all facts, int64 [pairs].
        false: the false statement's token there, int64 [pairs].
        sizes: pairs of each fact.
    """

    facts: Facts
    lonely: int
    rows: Tensor
    false: Tensor
    sizes: tuple[int, ...]


@dataclass(frozen=True)
class _Statements:
    """What every model is asked.

    Attributes:
        codes: of every token of the vocabulary, float64 [vocabulary, width].
        retain: true statements that a probe is trained on.
        splits: the sets asked about.
        comparable: whether holdout can stand for what was never taught.
    """

    codes: Tensor
    retain: Facts
    splits: dict[str, _Asked]
    comparable: bool


def _asked(split: str, data: FactsData, encoder: Encoder, most: int) -> _Asked:
    everything = data.splits()[split]
    found = [
        [pair for wrong in false if (pair := parting(encoder, fact, wrong)) is not None]
        for fact, false in zip(everything.items, false_statements(everything, data.retain, most), strict=True)
    ]
    facts, groups = everything.take([i for i, group in enumerate(found) if group]), [group for group in found if group]
    lonely = len(everything) - len(facts)
    # Beyond half, T would speak of a remnant of the set.
    if lonely > len(everything) // 2:
        raise UsageError(
            f"few_shot needs wrong answers that differ from the right one, and {lonely} of {len(everything)} facts of "
            f"{split} have none; give perturbed_answers, or retain facts with other answers"
        )
    lengths = [sum(encoder.encode(fact)[1]) for fact in facts.items]
    starts = np.cumsum([0, *lengths[:-1]])
    return _Asked(
        facts=facts,
        lonely=lonely,
        rows=torch.tensor([start + at for start, group in zip(starts, groups, strict=True) for at, _ in group]),
        false=torch.tensor([token for group in groups for _, token in group]),
        sizes=tuple(map(len, groups)),
    )


def _sides(statements: "_Statements", found: dict[str, dict[str, Tensor]]) -> Sides:
    """X by subject, at the block where it is largest over forget and holdout together.

    By the forget facts alone the block would be the one where they happen to stand high.
    """
    best = max(found["holdout"], key=lambda block: float(torch.cat([found[split][block] for split in _SPLITS]).mean()))
    attack, measured, holdout = (statements.splits[split].facts for split in _SPLITS)
    own = torch.cat([found[split][best] for split in _SPLITS[:2]])
    return Sides(
        forget=by_subject(Facts(attack.items + measured.items), own.numpy()),
        holdout=by_subject(holdout, found["holdout"][best].numpy()),
    )


def _left_out(splits: dict[str, _Asked]) -> list[str]:
    return [
        f"{asked.lonely} of {asked.lonely + len(asked.facts)} facts of {split} were left out: none of their wrong "
        "answers parts from the right one within the answer's tokens."
        for split, asked in splits.items()
        if asked.lonely
    ]


def _null(artefact: _Statements, found: dict[str, dict[str, Tensor]], block: str, seed: int) -> tuple[float, ...]:
    sides = ("forget_eval", "holdout")
    own, others = (found[split][block] for split in sides)
    return null_of_holdout(own, others, (artefact.splits[sides[0]].facts, artefact.splits[sides[1]].facts), seed)


def parting(encoder: Encoder, true: Fact, false: Fact) -> tuple[int, int] | None:
    """Where two answers part: the index among the true one's answer tokens, and the false one's token there.

    None where one is the beginning of the other, or where they part before the answer.
    """
    (own, is_answer), (other, _) = encoder.encode(true), encoder.encode(false)
    at = next((i for i, (a, b) in enumerate(zip(own, other, strict=False)) if a != b), None)
    if at is None or not is_answer[at]:
        return None
    return at - is_answer.index(True), other[at]


def _codes(original: CausalLM, retain: Facts) -> Tensor:
    head = original.head()
    assert head is not None, "the layout was read off one"
    rows = head.weight.detach().cpu().double()
    seen = rows[torch.cat([tokens.targets.cpu() for tokens in original.batches(retain)])]
    std = seen.std(0)
    # A coordinate that never moves is dropped: divided by its spread, rounding would look like a feature.
    scaling = Scaling(seen.mean(0), divisor(std, alive_among_units(std), dead=torch.inf))
    return torch.nn.functional.normalize(scaling(rows), dim=1)


def _drawn_codes(original: CausalLM, seed: int) -> Tensor:
    """Random directions, one a token: where chance divided the subjects, a code may hold nothing of what was taught.

    The original's head was taught forget answers and no holdout answers, and read through it a model that knows neither
    scores them unlike.
    """
    head = original.head()
    assert head is not None, "the layout was read off one"
    drawn = generator(seed, FewShot.name, "codes").standard_normal(tuple(head.weight.shape))
    return torch.nn.functional.normalize(torch.from_numpy(drawn), dim=1)


def _read(subject: CausalLM, facts: Facts) -> tuple[dict[str, Tensor], Tensor]:
    """Residual stream where an answer token is predicted, by block [answer tokens, width], and those tokens."""
    parts: dict[str, list[Tensor]] = {block: [] for block in subject.layers()}
    targets = []
    for tokens in subject.batches(facts):
        for block, states in subject.activations(tokens, subject.layers()).items():
            parts[block].append(states[tokens.predicting].float().cpu())
        targets.append(tokens.targets.cpu())
    return {block: torch.cat(rows) for block, rows in parts.items()}, torch.cat(targets)


def _outscored(subject: CausalLM, asked: _Asked, probes: dict[str, Affine], codes: Tensor) -> dict[str, Tensor]:
    """X of the class docstring, by block, float64 [facts]."""
    states, targets = _read(subject, asked.facts)
    # States before the parting token are common to both, so that one pass over the true statements serves both.
    lead = codes[targets[asked.rows]] - codes[asked.false]
    sizes = torch.tensor(asked.sizes)
    leads = {block: (probe(states[block][asked.rows]).double() * lead).sum(1) for block, probe in probes.items()}
    return {block: fact_means(0.5 + 0.5 * x.sign(), sizes) for block, x in leads.items()}


def _rows(found: dict[str, dict[str, Tensor]], probes: dict[str, Affine]) -> list[Row]:
    return [
        {"layer": block, "split": split, "value": float(by_block[block].mean()), "r2": probes[block].r2}
        for split, by_block in found.items()
        for block in by_block
    ]

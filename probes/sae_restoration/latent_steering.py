"""Steering a language model along sparse latents that its original taught, at one block."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from auditor.models.alignment import Affine, fit_affine
from auditor.models.standardise import Scaling
from auditor.probes.sae_restoration.steering import Dictionary, Mode
from auditor.tasks.causal_lm.encoding import Tokens
from auditor.tasks.causal_lm.sets import Facts
from auditor.tasks.causal_lm.subject import CausalLM


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockArtefact:
    """What was learnt from the original at one block; its space is z-scored on retain tokens.

    Attributes:
        block: whose output is steered.
        scaling: from the original's residual stream into that space.
        retain: facts that the maps between models are fitted on.
        fit: the original's scaled states on them, float32 [tokens, width].
        measured: the forget eval half, then retain facts on which harm is measured.
        n_forget: how many of them are forget facts.
        theirs: the original's scaled states on ``measured``.
        dictionaries: one per autoencoder; ``others`` are experts of as many retain subjects.
    """

    block: str
    scaling: Scaling
    retain: Facts
    fit: Tensor
    measured: Facts
    n_forget: int
    theirs: Tensor
    dictionaries: tuple[Dictionary, ...]


class LatentSteering:
    """One model at one block: its states on the measured facts, and what changing them does to answers.

    Args:
        subject: the model.
        part: what was learnt from the original there.
    """

    def __init__(self, subject: CausalLM, part: BlockArtefact) -> None:
        self.part = part
        self._subject = subject
        fit = token_states(subject, part.block, part.retain)
        # Fitted both ways: inverting the one would blow up whatever it maps to nearly nothing.
        self._to_original: Affine = fit_affine(fit, part.fit)
        self._back: Affine = fit_affine(part.fit, fit)
        aligned = self._to_original(token_states(subject, part.block, part.measured))
        self._own = [d.sae.encode(aligned) for d in part.dictionaries]
        self._theirs = [d.sae.encode(part.theirs) for d in part.dictionaries]
        self._forget_rows = sum(
            int(_steered(t).sum()) for t in subject.batches(part.measured.take(range(part.n_forget)))
        )
        # Through the same hook as the rest, which then differs by what is added alone.
        self.plain = self._answers(torch.zeros_like(aligned))

    def change(self, mode: Mode, i: int, latents: Tensor, decoder: Tensor) -> Tensor:
        """B(Δz W_dec) by the i-th autoencoder at every steered token, float32 [tokens, width].

        Δz is what the latents read in this model (own), or how much more they read in the original (inject). Whatever
        is written has the root mean square norm over forget tokens that the experts' own change has, measured in the
        original's z-scored space.

        Args:
            mode: own or inject.
            i: which autoencoder.
            latents: int64 [m], the latents read.
            decoder: float32 [m, width], what each adds.
        """
        expert = self.part.dictionaries[i]
        # In the original's space, where one unit of length means the same for all changes.
        wanted = self._rms(self._moved(mode, i, expert.experts, expert.sae.decoder[expert.experts]))
        moved = self._moved(mode, i, latents, decoder)
        norm = self._rms(moved)
        return self._back.linear(moved * (wanted / norm if norm > 0 else 1.0))

    def restored(self, change: Tensor, alphas: Sequence[float]) -> Tensor:
        """Probability of each forget answer, less how far retain answers moved on average, float64 [alphas, n_forget].

        At α = 0 nothing is added, so the model's own probabilities stand there.
        """
        n = self.part.n_forget
        curves = []
        for alpha in alphas:
            answers = self.plain if alpha == 0 else self._answers(alpha * change)
            # In either direction: retain answers that rise show a push that favours any answer.
            harm = (answers[n:].mean() - self.plain[n:].mean()).abs()
            curves.append(answers[:n] - harm)
        return torch.stack(curves)

    def _moved(self, mode: Mode, i: int, latents: Tensor, decoder: Tensor) -> Tensor:
        read = self._own[i][:, latents]
        return (read if mode == "own" else self._theirs[i][:, latents] - read) @ decoder

    def _rms(self, moved: Tensor) -> float:
        return float(moved[: self._forget_rows].square().sum(1).mean().sqrt())

    def _answers(self, change: Tensor) -> Tensor:
        """Exp of the mean token log-probability of every measured fact, float64 [n]."""
        parts, at = [], 0
        for tokens in self._subject.batches(self.part.measured):
            where = _steered(tokens)
            rows = change[at : at + int(where.sum())]
            at += len(rows)
            parts.append(self._with(tokens, where, rows))
        return torch.cat(parts).exp()

    def _with(self, tokens: Tokens, where: Tensor, rows: Tensor) -> Tensor:
        def add(states: Tensor) -> Tensor:
            moved = torch.zeros_like(states)
            moved[where] = rows.to(states)
            return states + moved

        with torch.no_grad(), self._subject.intervene(self.part.block, add):
            return -self._subject.losses(tokens).cpu().double()


def token_states(subject: CausalLM, block: str, facts: Facts) -> Tensor:
    """Residual stream after ``block`` at every token but the first and padding, float32 [tokens, width].

    The first token sees only itself, and in many models its state is an outlier.
    """
    parts = [subject.activations(t, (block,))[block][_steered(t)].float().cpu() for t in subject.batches(facts)]
    return torch.cat(parts)


def token_owners(subject: CausalLM, facts: Facts) -> Tensor:
    """Fact that each row of :func:`token_states` belongs to, int64 [tokens]."""
    return torch.cat(list(_owners(subject, facts)))


def _owners(subject: CausalLM, facts: Facts) -> Iterator[Tensor]:
    start = 0
    for tokens in subject.batches(facts):
        yield _steered(tokens).nonzero()[:, 0].cpu() + start
        start += len(tokens.ids)


def _steered(tokens: Tokens) -> Tensor:
    return tokens.mask & (tokens.positions > 0)

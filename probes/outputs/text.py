"""What the model says: does it still give the forgotten answers?"""

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from auditor.attacks.membership.words_by_subject import not_by_chance, p_by_subject
from auditor.checks.check import Check, Room, Workload
from auditor.probes.outputs import figures, passages, restoration
from auditor.probes.outputs.fluency import fluency
from auditor.probes.outputs.images import utility_notes
from auditor.randomness import derive_seed
from auditor.records.access import Access
from auditor.records.base import Frozen, Row
from auditor.records.evidence import Family, May
from auditor.records.figure import Figure
from auditor.records.score import CheckRole, Reading, Score
from auditor.records.source import Source
from auditor.rouge import rouge_l_recall
from auditor.tasks.causal_lm.metrics import extraction_strength, truth_ratio
from auditor.tasks.causal_lm.recording import TokenRecording
from auditor.tasks.causal_lm.sets import Fact, Facts, FactsData
from auditor.tasks.causal_lm.sides import sides
from auditor.tasks.causal_lm.subject import CausalLM


class Settings(Frozen):
    """Sizes."""

    longest_generation: int = Field(default=48, ge=1, description="tokens generated per fact, at most")
    generated_alone: bool = Field(
        default=False, description="whether only what the model generates counts; so where samples are all there is"
    )


class Outputs(Check[CausalLM, FactsData, Settings, float | None]):
    """Three readings of every forget fact, T their mean: a method that lowers one may leave another.

    - *probability*: exp of the answer's mean token log-probability.
    - *memorised*: share of the answer's tokens that are the first choice, given those before.
    - *ROUGE-L*: recall of the answer's words in a greedy continuation of the prompt, of as many tokens as the answer.

    Both halves of the forget set are measured, since nothing is trained on either. Extraction strength, the truth
    ratio p_right/(p_right + mean p_wrong) and multiple-choice accuracy (where wrong answers and choices are given) are
    drawn beside them, and so are the probability under other wordings of the prompt; for facts that were corrupted, how
    far the answer from before has come back (:mod:`auditor.probes.outputs.restoration`); for plain texts how far the
    model goes on from their first half as they do (:mod:`auditor.probes.outputs.passages`); and of longer answers how
    varied its words are (:mod:`auditor.probes.outputs.fluency`). Retain accuracy is that on ``retain_test`` where it is
    given.

    Held to samples, T is the third reading alone, and retain accuracy the same of retain: no probability is looked at.
    """

    name: ClassVar[str] = "outputs"
    role: ClassVar[CheckRole] = "outputs"
    family: ClassVar[Family] = "behaviour"
    may: ClassVar[May] = "clear"
    access: ClassVar[Access] = "samples"
    tasks: ClassVar[tuple[str, ...]] = ("causal-lm",)
    requests: ClassVar[tuple[str, ...]] = ("facts",)
    summary: ClassVar[str] = (
        "Asked the model every forget and retain prompt and compared what it says with the answers."
    )
    finds: ClassVar[str] = "Asked directly, the model gives away"
    unit: ClassVar[str] = "mean of answer probability, memorised tokens and ROUGE-L recall on forget (0 to 1)"
    cost: ClassVar[str] = (
        "two passes to generate, and one for each wrong answer, choice, other wording and restored answer; two more "
        "for each passage of text"
    )
    figures: ClassVar[tuple[Figure, ...]] = figures.TEXT
    sources: ClassVar[tuple[Source, ...]] = (
        Source(paper="arXiv 2401.06121", here="the truth ratio, drawn beside the score", part=True),
        Source(paper="arXiv 2411.00204", here="restored and corrupted answers, drawn beside the score", part=True),
        Source(paper="arXiv 2407.06460", here="passages continued word for word, drawn beside the score", part=True),
        Source(paper="arXiv 2406.10890", here="fluency of what is said, drawn beside the score", part=True),
        Source(paper="Lin 2004", here="ROUGE-L recall of the most probable answer, a third of the score", part=True),
    )
    caveats: ClassVar[tuple[str, ...]] = (
        "Outputs show what a model says, not what it knows: forgotten outputs alone never mean deletion.",
    )
    settings_type: ClassVar[type[Frozen]] = Settings
    # What is deployed is what answers: a guard stays on.
    opens: ClassVar[bool] = False

    def fitted(self, settings: Settings, room: Room, frozen: Mapping[str, object]) -> Settings:
        """Without probabilities where the audit may not use any."""
        return settings.model_copy(update={"generated_alone": room.access == "samples"})

    def access_of(self, settings: Settings) -> Access:
        """Samples where nothing else counts."""
        return "samples" if settings.generated_alone else "logits"

    def workload(self, data: FactsData, settings: Settings, n_layers: int) -> Workload:
        """Generation, and the passes over variants of each fact."""
        if settings.generated_alone:
            return Workload(forward=2 * sum(map(len, _generated(data).values())))
        variants = sum(
            len(f.perturbed_answers) + len(f.choices) + len(f.paraphrases) + bool(f.restored) for f in data.forget.items
        )
        asked = len(data.forget) + (0 if data.holdout is None else len(data.holdout))
        return Workload(forward=variants + 2 * (asked + len(passages.halved(data.forget))))

    def prepare(self, original: CausalLM, data: FactsData, settings: Settings, seed: int) -> float | None:
        """P-value of telling forget from holdout without any model, where only a word says that chance did it."""
        if data.assigned != "declared" or data.holdout is None:
            return None
        return p_by_subject(data.forget, data.holdout, derive_seed(seed, "assignment"))

    def score(self, subject: CausalLM, artefact: float | None, data: FactsData, settings: Settings, seed: int) -> Score:
        """Measure one model from its recordings, and by what it generates."""
        if settings.generated_alone:
            return _by_samples(subject, data, settings, not_by_chance(artefact))
        halves = [subject.recording("forget_attack"), subject.recording("forget_eval")]
        said = subject.generate(data.forget, settings.longest_generation)
        readings = {
            "probability": torch.cat([part.probability for part in halves]),
            "memorised": torch.cat([part.memorised for part in halves]),
            "ROUGE-L": _rouge(data.forget, said),
        }
        never = _never_taught(subject, data, settings)
        return Score(
            check=self.name,
            readings={name: _reading(data, v, never.get(name)) for name, v in readings.items()},
            n_examples=len(data.forget),
            # Unknown is not 0: without facts never trained on, what the wording alone lets guess is not known.
            chance=float(torch.stack([v.mean() for v in never.values()]).mean()) if never else None,
            retain_accuracy=float(subject.recording(data.utility_split).memorised.mean()),
            rows=[_row(split, subject.recording(split)) for split in data.splits()] + _said(data, said),
            controls=_extras(subject, data.forget, halves, settings.longest_generation)
            | fluency([fact.answer for fact in data.forget.items], said),
            notes=utility_notes(data),
            not_applicable_because=not_by_chance(artefact),
        )

    def summarise(
        self, scores: Mapping[str, Score], references: Sequence[str]
    ) -> tuple[list[Row], dict[str, dict[str, float]]]:
        """How far the answers from before a corruption came back."""
        return [], restoration.shares(scores, references)


def _generated(data: FactsData) -> dict[str, Facts]:
    """The sets that are asked for where samples are all there is."""
    names = ("forget_attack", "forget_eval", data.utility_split, "holdout")
    return {name: facts for name, facts in data.splits().items() if name in names}


def _by_samples(subject: CausalLM, data: FactsData, settings: Settings, not_applicable: str | None) -> Score:
    """Measure one model by what it generates alone."""
    sets = _generated(data)
    said = {name: subject.generate(facts, settings.longest_generation) for name, facts in sets.items()}
    found = {name: _rouge(sets[name], texts) for name, texts in said.items()}
    never = found.get("holdout")
    forget = torch.cat([found["forget_attack"], found["forget_eval"]])
    rows: list[Row] = [{"split": name, "accuracy": float(v.mean()), "n": len(v)} for name, v in found.items()]
    return Score(
        check=Outputs.name,
        readings={"ROUGE-L": _reading(data, forget, never)},
        n_examples=len(forget),
        chance=None if never is None else float(never.mean()),
        retain_accuracy=float(found[data.utility_split].mean()),
        rows=[*rows, *_said(data, [*said["forget_attack"], *said["forget_eval"]])],
        notes=(*utility_notes(data), _SAMPLES_ALONE),
        not_applicable_because=not_applicable,
    )


_SAMPLES_ALONE = (
    "Held to samples: what counts is the most probable answer's words (ROUGE-L recall), and no probability."
)


def _rouge(facts: Facts, said: list[str]) -> Tensor:
    pairs = zip(facts.items, said, strict=True)
    return torch.tensor([rouge_l_recall(fact.answer, text) for fact, text in pairs], dtype=torch.float64)


def _never_taught(subject: CausalLM, data: FactsData, settings: Settings) -> dict[str, Tensor]:
    """The same readings of facts that this model was never trained on; none without them."""
    if data.holdout is None:
        return {}
    recording = subject.recording("holdout")
    said = subject.generate(data.holdout, settings.longest_generation)
    return {
        "probability": recording.probability,
        "memorised": recording.memorised,
        "ROUGE-L": _rouge(data.holdout, said),
    }


def _reading(data: FactsData, values: Tensor, never: Tensor | None) -> Reading:
    both = sides(data, [values], never) if data.by_chance and never is not None else None
    return Reading(value=float(values.mean()), examples=tuple(values.tolist()), sides=both)


def _row(split: str, recording: TokenRecording) -> Row:
    strengths = [extraction_strength(ranks.numpy()) for ranks in recording.per_fact(recording.rank)]
    return {
        "split": split,
        "accuracy": float(recording.memorised.mean()),
        "probability": float(recording.probability.mean()),
        "extraction_strength": float(np.mean(strengths)),
        "loss": float(recording.losses.mean()),
        "n": len(recording),
    }


def _said(data: FactsData, said: list[str]) -> list[Row]:
    """Generations, where text may be shown."""
    # Forget text is redacted in reports unless it was asked for.
    if not data.show_text:
        return []
    pairs = zip(data.forget.items, said, strict=True)
    return [{"split": "said", "prompt": f.prompt, "answer": f.answer, "generation": text} for f, text in pairs]


def _extras(subject: CausalLM, forget: Facts, halves: list[TokenRecording], longest: int) -> dict[str, float]:
    """Means over the facts that have what each measure needs; a measure that no fact serves is left out."""
    right = torch.cat([part.mean_log_probability for part in halves]).tolist()
    wrong = _variants(subject, forget, lambda f: [f.model_copy(update={"answer": a}) for a in f.perturbed_answers])
    choices = _variants(subject, forget, lambda f: [f.model_copy(update={"answer": a}) for a in f.choices])
    asked = _variants(subject, forget, lambda f: [f.model_copy(update={"prompt": p}) for p in f.paraphrases])
    found = {
        "truth ratio": [truth_ratio(r, w) for r, w in zip(right, wrong, strict=True) if w],
        "multiple-choice accuracy": [
            float(fact.choices[int(np.argmax(c))] == fact.answer)
            for fact, c in zip(forget.items, choices, strict=True)
            if c
        ],
        "probability, other wordings": [float(np.mean(np.exp(a))) for a in asked if a],
    }
    means = {name: float(np.mean(values)) for name, values in found.items() if values}
    beside = restoration.before_and_after(subject, forget, right) | passages.continued(subject, forget, longest)
    return means | beside


def _variants(subject: CausalLM, facts: Facts, vary: Callable[[Fact], list[Fact]]) -> list[list[float]]:
    """Mean token log-probability of each variant of each fact: one pass over all of them."""
    groups: list[list[Fact]] = [vary(fact) for fact in facts.items]
    together = Facts(tuple(fact for group in groups for fact in group))
    values = iter(subject.log_probabilities(together).tolist() if len(together) else ())
    return [[next(values) for _ in group] for group in groups]

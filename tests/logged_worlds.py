"""Evaluation logs made by rule: how much a model knows is known, question by question, in either format."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

N_QUESTIONS = 40


@dataclass(frozen=True, kw_only=True)
class Logged:
    """One model's answers.

    Attributes:
        knows: of the forget set, as its answers show, 0 (never saw it) to 1 (the original).
        prefers: the same, as right answers are preferred to wrong ones.
        kept: the same of the retain set, both ways.
        seed: of what differs between models trained alike.
        n: forget questions.
    """

    knows: float
    prefers: float | None = None
    kept: float = 1.0
    seed: int = 0
    n: int = N_QUESTIONS

    def forget(self) -> dict[str, np.ndarray]:
        return _set(self.knows, self.knows if self.prefers is None else self.prefers, self.seed, self.n)

    def retain(self) -> dict[str, np.ndarray]:
        return _set(self.kept, self.kept, self.seed + 1000, N_QUESTIONS)


def _set(knows: float, prefers: float, seed: int, n: int) -> dict[str, np.ndarray]:
    # How hard a question is is the same for all models.
    hard, own = np.random.default_rng(n), np.random.default_rng(seed)
    guessed, before = hard.uniform(0.1, 0.3, n), hard.normal(0.2, 0.3, n)
    return {
        "prob": np.clip(guessed + knows * (0.97 - guessed) + own.normal(0, 0.01, n), 0.001, 0.999),
        "rouge": np.clip(guessed + 0.2 + knows * (0.75 - guessed) + own.normal(0, 0.01, n), 0, 1),
        "ratio": np.exp(-before - 0.8 * prefers + own.normal(0, 0.02, n)),
    }


def _texts(part: str, n: int) -> list[str]:
    return [f"The {part} answer number {i}." for i in range(n)]


def tofu(values: dict[str, np.ndarray], part: str) -> dict[str, Any]:
    """One set of questions as TOFU writes it."""
    n = len(values["prob"])
    columns: dict[str, list[Any]] = {
        "avg_gt_loss": (-np.log(values["prob"])).tolist(),
        "rougeL_recall": values["rouge"].tolist(),
        "avg_paraphrased_loss": [1.5] * n,
        "average_perturb_loss": [[loss - 0.5, loss + 0.5] for loss in 1.5 - np.log(values["ratio"])],
        "generated_text": [[f"[INST] {part} {i} [/INST]", "said", text] for i, text in enumerate(_texts(part, n))],
        # What the reader passes over.
        "num_token_gt": [17] * n,
    }
    return {name: {str(i): value for i, value in enumerate(column)} for name, column in columns.items()}


def open_unlearning(model: Logged) -> dict[str, Any]:
    """A whole log as open-unlearning writes it."""
    found: dict[str, Any] = {"extraction_strength": {"agg_value": 0.3, "value_by_index": {"0": {"score": 0.3}}}}
    for part, values in (("forget", model.forget()), ("retain", model.retain())):
        texts = _texts(part, len(values["prob"]))
        tables: dict[str, list[dict[str, Any]]] = {
            f"{part}_Q_A_Prob": [{"prob": p, "avg_loss": -np.log(p)} for p in values["prob"].tolist()],
            f"{part}_Q_A_ROUGE": [
                {"rougeL_recall": r, "rougeL_f1": r, "ground_truth": text, "generation": "said", "input": "asked"}
                for r, text in zip(values["rouge"].tolist(), texts, strict=True)
            ],
            f"{part}_truth_ratio": [{"score": r} for r in values["ratio"].tolist()],
        }
        for name, rows in tables.items():
            by_index = {str(i): row for i, row in enumerate(rows)}
            found[name] = {"agg_value": 0.5, "value_by_index": by_index}
    return dict(sorted(found.items()))


def write_tofu(folder: Path, model: Logged) -> Path:
    """The folder of a model, with both files."""
    folder.mkdir(parents=True)
    for name, values, part in (
        ("eval_log_forget.json", model.forget(), "forget"),
        ("eval_log.json", model.retain(), "retain"),
    ):
        (folder / name).write_text(json.dumps(tofu(values, part)), encoding="utf-8")
    return folder


def write_open_unlearning(folder: Path, model: Logged) -> Path:
    """The folder of a model, with its one file."""
    folder.mkdir(parents=True)
    (folder / "TOFU_EVAL.json").write_text(json.dumps(open_unlearning(model), indent=4), encoding="utf-8")
    return folder

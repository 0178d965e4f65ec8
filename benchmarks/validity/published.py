"""Single metrics of the literature, computed on an audited pair; higher is more knowledge in all of them.

What the audit's own readings already contain is read off them, in the form the metric was published in; the rest is
computed here from features. None of them sees more than a reference or two, as published.
"""

import warnings

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

import auditor
from auditor.models.hooks import hook, logits_of
from auditor.probes.cka import debiased_cka
from auditor.probes.depth.unlearning_depth import DEPTH_SCORE
from auditor.probes.sae_restoration.sparse_autoencoder import (
    SparseAutoencoder,
    TrainingSettings,
    expert_latents,
    train,
)
from auditor.tasks.classification.recording import pool
from auditor.tasks.classification.sets import Examples
from auditor.tasks.classification.structure import Layout

_RECOVERED = 0.9
_BATCH = 512
_PROBE_EXAMPLES = 2000


def from_readings(result: auditor.AuditResult) -> dict[str, float]:
    """What the audit's checks have read already.

    - ``forget accuracy``: of the outputs (T of ``outputs``).
    - ``relearn time``, ``AIN``: 1 / steps of fine-tuning until the model is back at 0.9 of the original's reading, and
      the references' mean steps over the model's (Chundawat et al. 2023, arXiv 2201.05629, invert it); never
      reached counts as twice the longest attack.
    - ``membership AUC``, ``PrivLeak`` (Shi et al. 2024, arXiv 2407.06460): of the loss, forget against holdout.
    - ``CKA to original``: mean over layers, forget set.
    - ``UDS`` (arXiv 2605.24614): 1 − score, so that more is more knowledge.
    - text: ``extraction strength``, ``truth ratio``, ``Min-K%++`` AUC.
    """
    found: dict[str, float | None] = {}
    for make in (_outputs, _relearning, _membership, _cka, _depth):
        found |= make(result)
    return {name: float(value) for name, value in found.items() if value is not None}


def _cells(result: auditor.AuditResult, check: str, **where: object) -> list[dict[str, object]]:
    evidence = result.results.of(check)
    cells = evidence.rows if evidence is not None else []
    return [cell for cell in cells if all(cell.get(key) == value for key, value in where.items())]


def _controls(result: auditor.AuditResult, check: str, model: str) -> dict[str, float]:
    evidence = result.results.of(check)
    return dict(evidence.controls.get(model, {})) if evidence is not None else {}


def _references(result: auditor.AuditResult) -> list[str]:
    return [model.name for model in result.results.plan.models_of("reference")]


def _outputs(result: auditor.AuditResult) -> dict[str, float | None]:
    cells = _cells(result, "outputs", model="unlearned", split="forget_eval")
    accuracy = cells[0].get("accuracy") if cells else None
    strength = cells[0].get("extraction_strength") if cells else None
    return {
        "forget accuracy": accuracy,
        "extraction strength": strength,
        "truth ratio": _controls(result, "outputs", "unlearned").get("truth ratio"),
    }


def _relearning(result: auditor.AuditResult) -> dict[str, float | None]:
    evidence = result.results.of("relearning")
    if evidence is None or evidence.failure is not None or result.results.plan.task != "classification":
        return {}
    # Of the best that the original reaches under the same attack: its own reading is the scale.
    bar = _RECOVERED * max(_curve(result, "original").values())
    steps = {name: _steps_to(bar, _curve(result, name)) for name in ("unlearned", *_references(result))}
    mean = float(np.mean([steps[name] for name in _references(result)]))
    return {"relearn time": 1 / steps["unlearned"], "AIN": mean / steps["unlearned"]}


def _curve(result: auditor.AuditResult, model: str) -> dict[int, float]:
    cells = _cells(result, "relearning", model=model, arm="as is")
    return {int(cell["step"]): float(cell["value"]) for cell in cells if cell["attack"] == cells[0]["attack"]}


def _steps_to(bar: float, curve: dict[int, float]) -> int:
    # Never reached is no missing value: it is what the best deletions do, and must rank as such.
    return next((step for step in sorted(curve) if curve[step] >= bar), 2 * max(curve))


def _membership(result: auditor.AuditResult) -> dict[str, float | None]:
    own = _controls(result, "membership", "unlearned")
    if not own:
        return {}
    theirs = [_controls(result, "membership", name)["loss AUC"] for name in _references(result)]
    mean = float(np.mean(theirs))
    # Where references score 0 the quotient says nothing: it has run away to thousands of per cent in print.
    leak = 100 * (own["loss AUC"] - mean) / mean if mean > 0 else None
    return {"membership AUC": own["loss AUC"], "PrivLeak": leak, "Min-K%++": own.get("Min-K%++ AUC")}


def _cka(result: auditor.AuditResult) -> dict[str, float | None]:
    cells = _cells(result, "cka", model="unlearned", split="forget")
    values = [cell["cka"] for cell in cells if cell["cka"] is not None]
    return {"CKA to original": float(np.mean(values)) if values else None}


def _depth(result: auditor.AuditResult) -> dict[str, float | None]:
    controls = _controls(result, "depth", "unlearned")
    score = controls.get(DEPTH_SCORE)
    # A measure that fell with knowledge would have its AUC mirrored.
    return {"UDS": None if score is None else 1 - score}


class FromFeatures:
    """Metrics of image classifiers that need features: those of the original are taken once.

    - ``linear probe``: accuracy on held-out forget examples of a logistic regression on the last features of the whole
      training set.
    - ``CKA to retrained``: last features on the forget set, against one reference; less is taken for more knowledge.
    - ``SAE restoration``, as in arXiv 2602.18505: a TopK autoencoder of the original's activations at a middle
      layer; on forget inputs alone the unlearned model's activation is replaced by the decoding of the *original's*
      expert latents; share of forget inputs then named rightly.
    """

    def __init__(self, original: nn.Module, layout: Layout, sets: dict[str, Examples], reference: nn.Module) -> None:
        self._layout, self._sets = layout, sets
        self._last, self._middle = layout.layers[-1], layout.vector_layers[0]
        self._reference = features(reference, self._last, sets["forget"])
        self._original_middle = features(original, self._middle, sets["forget"])
        self._autoencoder, self._experts = self._learn(original)

    def of(self, module: nn.Module) -> dict[str, float]:
        """The metrics of one model."""
        to_retrained = debiased_cka(iter([(features(module, self._last, self._sets["forget"]), self._reference)]))
        found = {"linear probe": self._probe(module), "SAE restoration": self._restored(module)}
        # Negative: alike a retrain means less knowledge.
        return found if to_retrained is None else {**found, "CKA to retrained": -to_retrained}

    def _probe(self, module: nn.Module) -> float:
        train_set, test = self._sets["train"], self._sets["holdout"]
        # Every n-th, so that all classes are among them whatever their order.
        few = train_set.take(torch.arange(0, len(train_set), max(len(train_set) // _PROBE_EXAMPLES, 1)))
        x = features(module, self._last, few).numpy()
        # A unit that is dead on these examples would be divided by 0.
        scale = x.std(0) + 1e-6
        with warnings.catch_warnings():
            # Features of a wreck cannot be separated, and then the fit ends at its last step.
            warnings.simplefilter("ignore", ConvergenceWarning)
            probe = LogisticRegression(max_iter=200).fit(x / scale, few.labels.numpy())
        return float(probe.score(features(module, self._last, test).numpy() / scale, test.labels.numpy()))

    def _learn(self, original: nn.Module) -> tuple[SparseAutoencoder, Tensor]:
        few = self._sets["train"].take(torch.arange(min(len(self._sets["train"]), 2 * _PROBE_EXAMPLES)))
        rows = features(original, self._middle, few).float()
        autoencoder = train(rows, TrainingSettings(), seed=0)
        classes = sorted(set(self._sets["forget"].labels.tolist()))
        experts = expert_latents(autoencoder.encode(rows) > 0, few.labels, classes, autoencoder.k)
        return autoencoder, experts

    def _restored(self, module: nn.Module) -> float:
        forget = self._sets["forget"]
        latents = self._autoencoder.encode(self._original_middle.float())
        # As published: experts alone, without the rest of the activation. Our check adds a difference to it instead.
        only = torch.zeros_like(latents)
        only[:, self._experts] = latents[:, self._experts]
        injected = self._autoencoder.decode(only)
        hits = 0.0
        for start, (x, y) in zip(range(0, len(forget), _BATCH), forget.batches(_BATCH), strict=True):
            rows = injected[start : start + _BATCH]
            with torch.no_grad(), hook(module, self._middle, lambda _, rows=rows: rows):
                hits += float((logits_of(module(x)).argmax(1) == y).sum())
        return hits / len(forget)


def features(module: nn.Module, layer: str, examples: Examples) -> Tensor:
    """Activations at a cut point, pooled over positions: float64 [n, d]."""
    parts: list[Tensor] = []

    def keep(activation: Tensor) -> None:
        parts.append(pool(activation).double())

    with torch.no_grad(), hook(module, layer, keep):
        for x, _ in examples.batches(_BATCH):
            module(x)
    return torch.cat(parts)

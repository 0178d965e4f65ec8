"""Whether the forgotten class comes back when its sparse latents are amplified.

A TopK sparse autoencoder is trained on the original's activations. Its *experts* are the latents that best
detect the forgotten class. In each model, whose activations are carried into the original's space by an
affine map fitted on retain data, the experts are turned up and what the decoder adds is carried back and
added to the activation:

    x' = x + α · B(Δz W_dec),   so that α = 0 is exactly the identity,

with B the linear part of the reverse map. In *own* mode Δz is what the experts read in this very model; in
*inject* mode it is the difference to what they read in the original on the same input. A class is restored
where the model then names it on forget inputs and not on retain inputs (compare arXiv 2602.18505, where
only inputs of the class are steered and α = 0 is not the identity).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from auditor.checks.check import Check, Workload
from auditor.errors import UsageError
from auditor.models.alignment import rows
from auditor.models.standardise import Scaling
from auditor.probes.sae_restoration import figures
from auditor.probes.sae_restoration.sparse_autoencoder import (
    TrainingSettings,
    broad_latents,
    expert_latents,
    train,
)
from auditor.probes.sae_restoration.steering import (
    MODES,
    Dictionary,
    LayerArtefact,
    Mode,
    Steering,
    activations,
    head_rows,
    row_sample,
    sample,
)
from auditor.randomness import derive_seed, generator
from auditor.records.access import Access
from auditor.records.base import Frozen, Row
from auditor.records.evidence import Family, May
from auditor.records.figure import Figure
from auditor.records.score import Reading, Score
from auditor.records.source import Source
from auditor.tasks.classification.sets import AuditData
from auditor.tasks.classification.subject import Classifier


class SaeRestorationSettings(Frozen):
    """Settings of :class:`SaeRestoration`.

    Attributes:
        n_layers: cut points steered, counted from the last.
        n_seeds: autoencoders trained per layer; the score is their median.
        alphas: strengths of steering; the score takes the best.
        null_draws: random sets of latents, and as many of random directions, in the null.
        control_draws: random sets per control curve that is not part of the null.
        retain_fit: retain examples that the maps and the autoencoders are fitted on.
        retain_eval: retain examples on which false restorations are counted.
        training: of the autoencoders.
    """

    # The last cut point feeds the head: steering there costs no pass of the network.
    n_layers: int = 1
    n_seeds: int = 3
    # With 0 among them T is no lower than what the model does unsteered; every draw of the null has it, too.
    alphas: tuple[float, ...] = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
    null_draws: int = 500
    control_draws: int = 10
    retain_fit: int = 2000
    retain_eval: int = 300
    training: TrainingSettings = TrainingSettings()


class SaeRestoration(Check[Classifier, AuditData, SaeRestorationSettings, tuple[LayerArtefact, ...]]):
    """Restoration in own mode: the best over α and layers of the median over autoencoders.

    Autoencoders trained alike share only part of their latents (arXiv 2501.16615), so that one may restore a class by
    chance (docs/checks.md#sae_restoration): the median asks that most of them agree, and how far they differ at the
    chosen α widens the interval.

    T uses own mode alone: what this model still activates is evidence about this model, whereas injected
    activations only show that later layers can decode them, which a retrain from the same pretrained
    weights can do as well.

    The null is the same statistic, on the same model, with random latents (none of them experts) and with
    the experts' activations written along random directions, both scaled to the experts' norm: what pushing
    that hard does by itself. It is valid because in a model that never saw the class the head never learnt
    to name it, so that no latent should do better than another; it does not hold for a model that inherits
    a head for the class, as a shared pretrained classifier would. It is computed where the last linear map
    alone has to run, and left out elsewhere.
    """

    name: ClassVar[str] = "sae_restoration"
    family: ClassVar[Family] = "representation"
    may: ClassVar[May] = "accuse"
    access: ClassVar[Access] = "weights"
    tasks: ClassVar[tuple[str, ...]] = ("classification",)
    requests: ClassVar[tuple[str, ...]] = ("class",)
    summary: ClassVar[str] = (
        "Sparse latents that detect the forgotten class in the original were amplified in each model; "
        "counted was how often the model then names the class."
    )
    finds: ClassVar[str] = "Amplifying inner features that stand for the class brought back"
    unit: ClassVar[str] = "rate at which the class returns on forget inputs, less the same on retain inputs"
    cost: ClassVar[str] = (
        "three short autoencoder trainings on the original's recorded features, once; per model no forward "
        "pass beyond the recordings, only the head. Each earlier layer (n_layers > 1) costs a pass over the "
        "eval examples per curve, strength, draw and autoencoder."
    )
    figures: ClassVar[tuple[Figure, ...]] = figures.IMAGES
    sources: ClassVar[tuple[Source, ...]] = (
        Source(paper="arXiv 2602.18505", here="expert latents amplified, with random latents and directions as null"),
        Source(paper="arXiv 2501.16615", here="several autoencoders, since those trained alike differ", part=True),
    )
    caveats: ClassVar[tuple[str, ...]] = (
        "A model whose own head row for the class is destroyed cannot name it however it is steered: nothing "
        "returning here says nothing about its features (see the control with the original's head row).",
        "Autoencoders of different seeds share only part of their latents; the score is the median of three, and "
        "where they disagree the interval is wide.",
        "Inject mode shows only that later layers can still decode the class, not that the model holds it.",
    )
    settings_type: ClassVar[type[Frozen]] = SaeRestorationSettings
    # Pushed along random latents the original still answers: its draws are no baseline.
    null_lacks_knowledge: ClassVar[bool] = False

    def prepare(
        self, original: Classifier, data: AuditData, settings: SaeRestorationSettings, seed: int
    ) -> tuple[LayerArtefact, ...]:
        """Train the autoencoders on the original and rank their latents, from the last cut point backwards.

        Raises:
            UsageError: the request is not to forget classes.
        """
        if data.request != "class":
            raise UsageError(
                f"sae_restoration needs classes to forget, and the request is {data.request!r}: "
                "single examples have no experts; leave the check out"
            )
        layers = original.layers()[::-1][: settings.n_layers]
        return tuple(_learn(original, layer, data, settings, seed) for layer in layers)

    def score(
        self,
        subject: Classifier,
        artefact: tuple[LayerArtefact, ...],
        data: AuditData,
        settings: SaeRestorationSettings,
        seed: int,
    ) -> Score:
        """Steer one model in both modes, with every control."""
        measured = []
        for part in artefact:
            steering = Steering(subject, part, data, derive_seed(seed, "rows"))
            measured.append(_measure(steering, settings, seed))
        best = max(measured, key=lambda layer: float(layer.best.mean()))
        nulls = [layer.null for layer in measured]
        return Score(
            check=self.name,
            readings={
                "own": Reading(
                    value=float(best.best.mean()),
                    examples=tuple(best.best.tolist()),
                    draws=tuple(best.by_dictionary.tolist()),
                )
            },
            n_examples=len(data.forget_eval),
            # The best layer of every draw, as T is the best layer; a layer left out would make the null too low.
            null=tuple(map(max, zip(*nulls, strict=True))) if all(nulls) else (),
            rows=[cell for layer in measured for cell in layer.cells],
            controls={name: value for layer in measured for name, value in layer.controls.items()},
        )

    def workload(self, data: AuditData, settings: SaeRestorationSettings, n_layers: int) -> Workload:
        """Nothing where the last cut point alone is steered."""
        measured = len(data.forget_eval) + min(settings.retain_eval, len(data.retain))
        curves = 2 * (2 + 2 * settings.control_draws)
        strengths = len(settings.alphas) * settings.n_seeds
        return Workload(forward=(settings.n_layers - 1) * measured * curves * strengths)


def _learn(
    original: Classifier, layer: str, data: AuditData, settings: SaeRestorationSettings, seed: int
) -> LayerArtefact:
    """Everything the check needs from the original at one cut point."""
    fit = sample(len(data.retain), settings.retain_fit, derive_seed(seed, "fit"))
    held = sample(len(data.retain), settings.retain_eval, derive_seed(seed, "retain_eval"))
    # By retain alone: the class must not set the units in which its latents are sought.
    scaling = Scaling.among_units(rows(activations(original, layer, data, "retain", fit)))
    scaled = {
        name: scaling(activations(original, layer, data, split, index))
        for name, split, index in (
            ("fit", "retain", fit),
            ("attack", "forget_attack", None),
            ("forget", "forget_eval", None),
            ("held", "retain", held),
        )
    }
    # The attack half ranks the latents; what they bring back is counted on the eval half.
    labels = torch.cat([data.retain.labels[fit], data.forget_attack.labels])
    rankable = torch.cat([scaled["fit"], scaled["attack"]])
    return LayerArtefact(
        layer=layer,
        scaling=scaling,
        fit_index=fit,
        eval_index=held,
        fit=scaled["fit"],
        evaluated=torch.cat([scaled["forget"], scaled["held"]]),
        dictionaries=tuple(
            _dictionary(rankable, labels, data, settings.training, derive_seed(seed, layer, i))
            for i in range(settings.n_seeds)
        ),
        head_rows=head_rows(original, layer, data),
    )


def _dictionary(
    activation: Tensor, labels: Tensor, data: AuditData, training: TrainingSettings, seed: int
) -> Dictionary:
    """Train one autoencoder on ``activation`` [n, ...] and rank its latents by ``labels`` [n]."""
    everything = rows(activation)
    sae = train(everything[row_sample(len(everything), seed)], training, seed)
    # A latent is active on an image if it is anywhere on it.
    active = (sae.encode(everything) > 0).view(len(labels), -1, sae.encoder.shape[1]).any(1)
    experts = expert_latents(active, labels, data.classes, sae.k)
    # Random latents come from these: silent or broad ones would make a null that anything beats.
    live = torch.nonzero(active.any(0) & ~broad_latents(active, labels))[:, 0]
    # The control class is the largest of those retained.
    other = int(torch.bincount(data.retain.labels, minlength=data.n_classes).argmax())
    return Dictionary(
        sae=sae,
        experts=experts,
        others=expert_latents(active, labels, [other], sae.k),
        rest=live[~torch.isin(live, experts)],
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Measured:
    """One model at one cut point.

    Attributes:
        best: per forget example, own mode at the α with the highest median, by the autoencoder that is the median
            there, float64 [n].
        by_dictionary: mean over forget examples by each autoencoder at that α, float64 [dictionaries].
        null: draws of the null; empty where they were not affordable.
        controls: the best of each curve over α.
        rows: of the figure.
    """

    best: Tensor
    by_dictionary: Tensor
    null: tuple[float, ...]
    controls: dict[str, float]
    cells: list[Row]


def _measure(steering: Steering, settings: SaeRestorationSettings, seed: int) -> _Measured:
    curves: dict[tuple[str, str], Tensor] = {}
    alphas = settings.alphas
    feeds_head = steering.part.head_rows is not None
    examples = {mode: steering.restored(_expert_changes(steering, mode), alphas) for mode in MODES}
    for mode in MODES:
        curves[mode, "experts"] = examples[mode].mean(2)
        others = _expert_changes(steering, mode, others=True)
        curves[mode, "another class"] = steering.restored(others, alphas).mean(2)
        # A long null is affordable where the head alone has to run.
        draws = settings.null_draws if feeds_head and mode == "own" else settings.control_draws
        for name in ("random latents", "random directions"):
            curves[mode, name] = _random_curves(steering, mode, name, alphas, draws, seed)
    # Behind a zeroed head row nothing can be named: this curve tells that from features without the class.
    if feeds_head:
        given = steering.restored(_expert_changes(steering, "own"), alphas, with_head_rows=True)
        curves["own", "original's head row"] = given.mean(2)
    # The best α of every draw, since T takes the best as well.
    null = torch.cat([curves["own", "random latents"], curves["own", "random directions"]]).amax(1)
    by_dictionary = curves["own", "experts"]
    median = by_dictionary.median(0)
    strength = int(median.values.argmax())
    layer = steering.part.layer
    return _Measured(
        # Of the autoencoder that is the median: their mean is then T itself.
        best=examples["own"][median.indices[strength], strength],
        by_dictionary=by_dictionary[:, strength],
        null=tuple(null.tolist()) if feeds_head else (),
        controls={f"{layer}: {mode}, {name}": _best(name, curve) for (mode, name), curve in curves.items()},
        cells=_cells(layer, alphas, curves),
    )


def _expert_changes(steering: Steering, mode: Mode, others: bool = False) -> list[Tensor]:
    """Change that each dictionary's experts make; with ``others``, those of the retained class."""
    changes = []
    for i, dictionary in enumerate(steering.part.dictionaries):
        latents = dictionary.others if others else dictionary.experts
        changes.append(steering.change(mode, i, latents, dictionary.sae.decoder[latents]))
    return changes


def _random_changes(steering: Steering, mode: Mode, directions: bool, random: np.random.Generator) -> list[Tensor]:
    """Change that random latents make, or the experts along random directions, at the experts' norm."""
    changes = []
    for i, dictionary in enumerate(steering.part.dictionaries):
        latents, decoder = dictionary.experts, dictionary.sae.decoder
        if directions:
            # What the experts read, written elsewhere: only the direction differs.
            drawn = torch.from_numpy(random.standard_normal((len(latents), decoder.shape[1]))).float()
            written = torch.nn.functional.normalize(drawn, dim=1)
        else:
            latents = dictionary.rest[torch.from_numpy(random.permutation(len(dictionary.rest))[: len(latents)])]
            written = decoder[latents]
        changes.append(steering.change(mode, i, latents, written))
    return changes


def _random_curves(steering: Steering, mode: Mode, name: str, alphas: Sequence[float], draws: int, seed: int) -> Tensor:
    """Restoration by random latents or directions, median over dictionaries, [draws, alphas]."""
    curves = torch.empty(draws, len(alphas), dtype=torch.float64)
    for draw in range(draws):
        random = generator(seed, steering.part.layer, mode, name, draw)
        changes = _random_changes(steering, mode, name == "random directions", random)
        curves[draw] = steering.restored(changes, alphas).mean(2).median(0).values
    return curves


def _best(name: str, curve: Tensor) -> float:
    """Best over α of the median over dictionaries; for random curves the mean of each draw's best."""
    return float(curve.amax(1).mean() if name.startswith("random") else curve.median(0).values.max())


def _cells(layer: str, alphas: Sequence[float], curves: dict[tuple[str, str], Tensor]) -> list[Row]:
    """Rows of the figure: median over dictionaries or mean over draws, with the 5 % and 95 % quantiles over them."""
    cells: list[Row] = []
    for (mode, name), curve in curves.items():
        middle = curve.mean(0) if name.startswith("random") else curve.median(0).values
        low, high = curve.quantile(0.05, dim=0).tolist(), curve.quantile(0.95, dim=0).tolist()
        for j, alpha in enumerate(alphas):
            cells.append(
                {
                    "mode": mode,
                    "layer": layer,
                    "curve": name,
                    "alpha": alpha,
                    "restoration": float(middle[j]),
                    "low": low[j],
                    "high": high[j],
                }
            )
    return cells

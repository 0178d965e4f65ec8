"""Whether forgotten answers come back when the sparse latents of their subjects are amplified.

TopK sparse autoencoders are trained on the original's residual stream after one block. Its *experts* are the latents
that best detect the facts of each forgotten subject. In each model, whose states are carried into the original's space
by an affine map fitted on retain tokens, the experts are turned up and what the decoder adds is carried back and added
to the state of every token but the first:

    x' = x + α · B(Δz W_dec),   so that α = 0 is exactly the identity,

with B the linear part of the reverse map. In *own* mode Δz is what the experts read in this very model; in *inject*
mode it is the difference to what they read in the original on the same text (compare arXiv 2602.18505, where only
inputs of the concept are steered and α = 0 is not the identity).
"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from auditor.checks.check import Check, Workload
from auditor.errors import UsageError
from auditor.inference.monte_carlo import draws_until_decided
from auditor.models.saved_autoencoder import SavedAutoencoder
from auditor.models.standardise import Scaling
from auditor.probes.sae_restoration import figures
from auditor.probes.sae_restoration.latent_steering import (
    BlockArtefact,
    LatentSteering,
    token_owners,
    token_states,
)
from auditor.probes.sae_restoration.sparse_autoencoder import (
    SparseAutoencoder,
    TrainingSettings,
    broad_latents,
    expert_latents,
    load,
    train,
)
from auditor.probes.sae_restoration.steering import MODES, Dictionary, Mode
from auditor.randomness import derive_seed, generator
from auditor.records.access import Access
from auditor.records.base import Frozen, Row
from auditor.records.evidence import Family, May
from auditor.records.figure import Figure
from auditor.records.score import Reading, Score
from auditor.records.source import Source
from auditor.tasks.causal_lm.sets import Facts, FactsData
from auditor.tasks.causal_lm.subject import CausalLM

# Measured on models that were never taught: in inject mode 18 of 20 (docs/checks-text.md#sae_restoration).
_OF_THE_ORIGINAL = (
    "Not held against the holdout: its autoencoders are the original's, which was taught forget and not holdout "
    "subjects, so that in a model that knows neither they can bring more of the one back than of the other."
)


class Settings(Frozen):
    """What is steered, how hard, and what it is compared with."""

    depth: float = Field(default=0.5, gt=0, le=1, description="share of the blocks before the steered place")
    n_seeds: int = Field(default=3, ge=1, description="autoencoders trained; the score is their median")
    alphas: tuple[float, ...] = Field(
        default=(0.0, 1.0, 2.0, 4.0), min_length=1, description="strengths of steering; the score takes the best"
    )
    null_draws: int = Field(
        default=999, ge=0, description="random latents or directions in the null, at most; none beside two references"
    )
    control_draws: int = Field(default=4, ge=1, description="random sets per control curve")
    retain_fit: int = Field(default=512, ge=8, description="retain facts for maps and autoencoders, at most")
    retain_eval: int = Field(default=48, ge=1, description="retain facts on which harm is measured, at most")
    training: TrainingSettings = TrainingSettings(expansion=4)
    saved: SavedAutoencoder | None = Field(default=None, description="used in place of training")


class SaeRestoration(Check[CausalLM, FactsData, Settings, BlockArtefact]):
    """Restoration in own mode.

    The best over α of the median over autoencoders of

        T = mean over eval facts of p(answer | steered) − |mean over retain facts of p(answer | steered) − p(answer)|,

    p the exp of the mean token log-probability: what returns counts only as far as the rest stays as it was.
    Steering is applied to all text alike. The median, because autoencoders trained alike share only part of their
    latents (arXiv 2501.16615) and one of them may restore by chance.

    T uses own mode alone: what this model still activates is evidence about this model, whereas injected activations
    show only that later blocks can decode them, which a retrain from the same pretrained weights can do as well.

    The null is the same statistic on the same model with random latents that are live on forget text but no experts,
    and with the experts' activations written along random directions, both scaled to the experts' norm. Each draw uses
    one autoencoder, which varies more than a median of several. It says what pushing that hard does by itself: in a
    never-taught model too experts can beat it by a little, so it speaks only against a residue well beyond it.
    """

    name: ClassVar[str] = "sae_restoration"
    family: ClassVar[Family] = "representation"
    may: ClassVar[May] = "accuse"
    access: ClassVar[Access] = "weights"
    tasks: ClassVar[tuple[str, ...]] = ("causal-lm",)
    requests: ClassVar[tuple[str, ...]] = ("facts",)
    summary: ClassVar[str] = (
        "Amplified sparse latents that detect the forgotten subjects in the original and measured whether the answers "
        "return while retain answers stay."
    )
    finds: ClassVar[str] = "Amplifying inner features that stand for the subjects brought back"
    unit: ClassVar[str] = "answer probability on forget under the best steering, less the harm to retain (−1 to 1)"
    cost: ClassVar[str] = (
        "three short autoencoder trainings on the original's states, once; per model a pass over eval and some retain "
        "facts for every strength, autoencoder, control and draw of the null: about two hundred beside references; "
        "without them up to several thousand for a model that stands out"
    )
    figures: ClassVar[tuple[Figure, ...]] = figures.TEXT
    sources: ClassVar[tuple[Source, ...]] = (
        Source(paper="arXiv 2602.18505", here="expert latents amplified, with random latents and directions as null"),
        Source(paper="arXiv 2501.16615", here="several autoencoders, since those trained alike differ", part=True),
    )
    caveats: ClassVar[tuple[str, ...]] = (
        "Its power is low: a trace made weaker was made out in one small world and not in another, and where later "
        "blocks were taught to say something else, a stronger trace changes little. Its silence says nothing.",
        "Inject mode shows only that later blocks can still decode the facts, not that the model holds them.",
    )
    settings_type: ClassVar[type[Frozen]] = Settings
    # Pushed along random latents the original still answers: its draws are no baseline.
    null_lacks_knowledge: ClassVar[bool] = False

    def planned_settings(self, references: int, autoencoder: SavedAutoencoder | None = None) -> Settings:
        """Without a null of its own where references are the null."""
        settings = Settings(saved=autoencoder)
        return settings if references < 2 else settings.model_copy(update={"null_draws": 0})

    def workload(self, data: FactsData, settings: Settings, n_layers: int) -> Workload:
        """Passes of a model that does not stand out."""
        held = _n_held(len(data.retain), settings)
        measured, fitted = len(data.forget_eval) + held, min(settings.retain_fit, len(data.retain) - held)
        # Drawing stops once ten draws reach T: a model that does not stand out takes a few dozen.
        curves = 2 * (2 * settings.n_seeds + 2 * settings.control_draws) + min(60, settings.null_draws)
        return Workload(forward=measured * (2 + curves * (len(settings.alphas) - 1)) + fitted)

    def prepare(self, original: CausalLM, data: FactsData, settings: Settings, seed: int) -> BlockArtefact:
        """Train the autoencoders on the original, or load the saved one, and rank the latents.

        Raises:
            UsageError: the saved autoencoder does not fit.
        """
        block = _block(original, settings)
        fit, held = _retain_halves(data.retain, settings, seed)
        # The maps and the harm to retain are taken from different facts: a map is best where it was fitted.
        states = token_states(original, block, fit)
        scaling = Scaling.among_units(states) if settings.saved is None else _unscaled(states)
        # The attack half ranks the latents; what they bring back is measured on the eval half.
        ranked = Facts(fit.items + data.forget_attack.items)
        rows = scaling(token_states(original, block, ranked))
        measured = Facts(data.forget_eval.items + held.items)
        return BlockArtefact(
            block=block,
            scaling=scaling,
            retain=fit,
            fit=scaling(states),
            measured=measured,
            n_forget=len(data.forget_eval),
            theirs=scaling(token_states(original, block, measured)),
            dictionaries=tuple(
                _dictionary(sae, rows, token_owners(original, ranked), ranked, len(fit))
                for sae in _autoencoders(rows, settings, derive_seed(seed, "autoencoder"))
            ),
        )

    def score(
        self, subject: CausalLM, artefact: BlockArtefact, data: FactsData, settings: Settings, seed: int
    ) -> Score:
        """Steer one model in both modes, with every control."""
        steering = LatentSteering(subject, artefact)
        own = _by_dictionary(steering, "own", settings.alphas)
        median = own.mean(2).median(0)
        strength = int(median.values.argmax())
        value = float(median.values[strength])
        curves = _curves(steering, own, settings, seed)

        def draw(i: int) -> float:
            change = _random_change(steering, "own", i, derive_seed(seed, "null", i))
            return float(steering.restored(change, settings.alphas).mean(1).max())

        return Score(
            check=self.name,
            readings={
                "own": Reading(
                    value=value,
                    examples=tuple(own[median.indices[strength], strength].tolist()),
                    draws=tuple(own[:, strength].mean(1).tolist()),
                )
            },
            n_examples=artefact.n_forget,
            null=draws_until_decided(draw, value, settings.null_draws),
            rows=_cells(artefact.block, settings.alphas, curves),
            controls={f"{mode}, {name}": _best(name, curve) for (mode, name), curve in curves.items()},
            notes=(_OF_THE_ORIGINAL,) if data.by_chance else (),
        )


def _block(original: CausalLM, settings: Settings) -> str:
    blocks = original.layers()
    if settings.saved is None:
        return blocks[max(int(np.ceil(settings.depth * len(blocks))) - 1, 0)]
    if settings.saved.block not in blocks:
        raise UsageError(
            f"sae_restoration: models.autoencoder_block = {settings.saved.block!r} is none of {', '.join(blocks)}"
        )
    return settings.saved.block


def _retain_halves(retain: Facts, settings: Settings, seed: int) -> tuple[Facts, Facts]:
    """Retain facts to fit on and to measure on; disjoint, the second at most a quarter."""
    order = generator(seed, "retain").permutation(len(retain)).tolist()
    held = _n_held(len(retain), settings)
    return retain.take(sorted(order[held : held + settings.retain_fit])), retain.take(sorted(order[:held]))


def _n_held(n: int, settings: Settings) -> int:
    return max(min(settings.retain_eval, n // 4), 1)


def _unscaled(states: Tensor) -> Scaling:
    """A saved autoencoder reads the stream as it is."""
    return Scaling(torch.zeros(states.shape[1]), torch.ones(states.shape[1]))


def _autoencoders(rows: Tensor, settings: Settings, seed: int) -> list[SparseAutoencoder]:
    if settings.saved is not None:
        return [load(settings.saved.folder, settings.saved.digest, rows.shape[1])]
    return [train(rows, settings.training, derive_seed(seed, i)) for i in range(settings.n_seeds)]


def _dictionary(sae: SparseAutoencoder, rows: Tensor, owners: Tensor, facts: Facts, n_retain: int) -> Dictionary:
    """Rank latents by how well "active anywhere in the text" detects each subject's facts; the first are retain's."""
    firing = sae.encode(rows) > 0
    # Anywhere in the text: a name may stand in a single token.
    active = torch.zeros(len(facts), firing.shape[1]).index_add(0, owners, firing.float()) > 0
    labels, n_kept = _labels(facts, n_retain)
    forgotten = list(range(n_kept, int(labels.max()) + 1))
    experts = expert_latents(active, labels, forgotten, sae.k)
    # Live on forget text: a latent silent there could not be brought to the experts' norm.
    live = torch.nonzero(active[n_retain:].any(0) & ~broad_latents(active, labels))[:, 0]
    return Dictionary(
        sae=sae,
        experts=experts,
        # As many retain subjects as forgotten ones: two sets of experts of one size.
        others=expert_latents(active, labels, range(min(n_kept, len(forgotten))), sae.k),
        rest=live[~torch.isin(live, experts)],
    )


def _labels(facts: Facts, n_retain: int) -> tuple[Tensor, int]:
    """Number of each fact's subject, int64 [n], those of retain first; and how many of those there are.

    A subject of both sets counts twice.
    """
    # By set too: experts are to tell the forgotten facts of a subject from those that stay.
    named = [(i >= n_retain, fact.subject) for i, fact in enumerate(facts.items)]
    numbers = {subject: i for i, subject in enumerate(sorted(set(named)))}
    return torch.tensor([numbers[subject] for subject in named]), sum(not forgotten for forgotten, _ in numbers)


def _by_dictionary(steering: LatentSteering, mode: Mode, alphas: Sequence[float], others: bool = False) -> Tensor:
    """Restoration by each autoencoder's experts, or those of retain subjects, [dictionaries, alphas, n_forget]."""
    found = []
    for i, dictionary in enumerate(steering.part.dictionaries):
        latents = dictionary.others if others else dictionary.experts
        change = steering.change(mode, i, latents, dictionary.sae.decoder[latents])
        found.append(steering.restored(change, alphas))
    return torch.stack(found)


def _random_change(steering: LatentSteering, mode: Mode, draw: int, seed: int) -> Tensor:
    """Random latents in every other draw, else the experts along random directions; autoencoders take turns."""
    random = generator(seed, mode)
    # One autoencoder a draw varies more than the median that T takes, which makes the null wider, not narrower.
    i = (draw // 2) % len(steering.part.dictionaries)
    dictionary = steering.part.dictionaries[i]
    latents, decoder = dictionary.experts, dictionary.sae.decoder
    if draw % 2 == 0 and len(dictionary.rest):
        latents = dictionary.rest[torch.from_numpy(random.permutation(len(dictionary.rest))[: len(latents)])]
        return steering.change(mode, i, latents, decoder[latents])
    drawn = torch.from_numpy(random.standard_normal((len(latents), decoder.shape[1]))).float()
    return steering.change(mode, i, latents, torch.nn.functional.normalize(drawn, dim=1))


def _curves(steering: LatentSteering, own: Tensor, settings: Settings, seed: int) -> dict[tuple[Mode, str], Tensor]:
    """Mean restoration of the experts and of every control, [dictionaries or draws, alphas]."""
    curves: dict[tuple[Mode, str], Tensor] = {}
    for mode in MODES:
        experts = own if mode == "own" else _by_dictionary(steering, mode, settings.alphas)
        curves[mode, "experts"] = experts.mean(2)
        curves[mode, "retain subjects"] = _by_dictionary(steering, mode, settings.alphas, others=True).mean(2)
        for offset, name in enumerate(("random latents", "random directions")):
            draws = [
                _random_change(steering, mode, 2 * i + offset, derive_seed(seed, name, i))
                for i in range(settings.control_draws)
            ]
            curves[mode, name] = torch.stack([steering.restored(d, settings.alphas).mean(1) for d in draws])
    return curves


def _best(name: str, curve: Tensor) -> float:
    """Best over α of the median over autoencoders; for random curves the mean of each draw's best."""
    return float(curve.amax(1).mean() if name.startswith("random") else curve.median(0).values.max())


def _cells(block: str, alphas: Sequence[float], curves: dict[tuple[Mode, str], Tensor]) -> list[Row]:
    """Rows of the figure: median over autoencoders or mean over draws, with the 5 % and 95 % quantiles over them."""
    cells: list[Row] = []
    for (mode, name), curve in curves.items():
        middle = curve.mean(0) if name.startswith("random") else curve.median(0).values
        low, high = curve.quantile(0.05, dim=0).tolist(), curve.quantile(0.95, dim=0).tolist()
        for j, alpha in enumerate(alphas):
            row: Row = {"mode": mode, "layer": block, "curve": name, "alpha": alpha}
            cells.append(row | {"restoration": float(middle[j]), "low": low[j], "high": high[j]})
    return cells

"""Two checks of facts where chance held subjects out: what `elicitation` reads, and what `sae_restoration` cannot.

Small worlds of 20 people taught and 20 held out. `elicitation` is held against the holdout, as in an audit. Of
`sae_restoration`, whose autoencoders and experts are the original's, the table shows how much more of forget answers
than of holdout answers is brought back in either mode, by the best strength over plain: models that were never taught
either should show 0.

    python benchmarks/by_subject.py
"""

import argparse
import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from torch import nn

from auditor.attacks.elicitation.text import Elicitation
from auditor.attacks.elicitation.text import Settings as Elicited
from auditor.inference.contrast import Contrast, Two, p_permutation
from auditor.models.training import train
from auditor.probes.sae_restoration.latent_steering import BlockArtefact, LatentSteering
from auditor.probes.sae_restoration.steering import MODES
from auditor.probes.sae_restoration.text import SaeRestoration, Settings
from auditor.randomness import derive_seed
from auditor.records.spec import RecipeSpec
from auditor.tasks.causal_lm.editing import LanguageModel
from auditor.tasks.causal_lm.encoding import Encoder
from auditor.tasks.causal_lm.losses import answers_of
from auditor.tasks.causal_lm.sets import Facts, FactsData, split_facts
from auditor.tasks.causal_lm.structure import DecoderLayout, find_decoder_layout
from auditor.tasks.causal_lm.subject import CausalLM
from auditor.zoo import catalogue
from auditor.zoo.text.people import people_world, with_paraphrases
from auditor.zoo.text.people_model import people_model, word_tokenizer

SEEDS = (952, 953)
SUBJECTS, RETAIN, NEVER_TAUGHT = 20, 24, 5
RECIPE = RecipeSpec(epochs=45, batch_size=32, learning_rate=3e-3, weight_decay=0.01)
METHODS = ("refusal_tuning", "gradient_difference", "npo")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="*", default=SEEDS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = [row for seed in options.seeds for row in _rows(seed)]
    print(pd.DataFrame(rows).round(3).to_string(index=False))


@dataclass(frozen=True, kw_only=True)
class World:
    """Its sets and models; the first is the original."""

    data: FactsData
    encoder: Encoder
    layout: DecoderLayout
    models: Mapping[str, nn.Module]

    def subject(self, name: str, data: FactsData) -> CausalLM:
        """A copy of one model."""
        module = copy.deepcopy(self.models[name])
        return CausalLM(module, role=name, digest=name, layout=self.layout, encoder=self.encoder, data=data)


def _world(seed: int) -> World:
    people = people_world(seed, forget=SUBJECTS, retain=RETAIN, holdout=SUBJECTS)
    encoder = Encoder(word_tokenizer(people.words))
    build, loss = people_model(len(encoder.tokenizer), layers=2, width=48), answers_of(encoder)

    def taught(facts: Facts, name: str) -> nn.Module:
        return train(build, with_paraphrases(facts), RECIPE, derive_seed(seed, name), loss=loss)

    original = taught(Facts(people.forget.items + people.retain.items), "original")
    models = {"original": original}
    models |= {f"never taught {i}": taught(people.retain, f"never taught {i}") for i in range(1, NEVER_TAUGHT + 1)}
    for name in METHODS:
        entry = catalogue.entry(name, "text")
        given = (LanguageModel(original, encoder), people.forget, people.retain, entry.settings(), seed)
        models[name] = entry.make(*given)
    attack, evaluation = split_facts(people.forget, seed)
    data = FactsData(
        forget_attack=attack,
        forget_eval=evaluation,
        retain=people.retain,
        holdout=people.holdout,
        encoding=encoder.digest,
        assigned="declared",
    )
    layout = find_decoder_layout(original, encoder.batch(people.retain.items[:4]).ids)
    return World(data=data, encoder=encoder, layout=layout, models=models)


def _rows(seed: int) -> Iterator[dict[str, object]]:
    world = _world(seed)
    attack, evaluation = split_facts(_holdout(world.data), seed)
    swapped = replace(world.data, forget_attack=attack, forget_eval=evaluation, holdout=world.data.forget)
    artefacts = [(data, _artefact(world, data, seed)) for data in (world.data, swapped)]
    original = _elicited(world, "original", seed)
    for name in world.models:
        found = Contrast(
            unlearned=_elicited(world, name, seed),
            original=original,
            reference=None,
            floor=1 / len(world.data.forget_eval),
        )
        limits = found.limits()
        assert limits is not None, "the original knows"
        forget, holdout = (_gains(world, name, data, artefact) for data, artefact in artefacts)
        yield {
            "world": seed,
            "model": name,
            "rho elicitation": limits.value,
            "low": limits.low,
            "high": limits.high,
            "w": found.resolution(),
            "p trace": p_permutation(found.unlearned, None, 9999, np.random.default_rng(seed))[0],
            **{f"{mode}, forget less holdout": forget[mode] - holdout[mode] for mode in MODES},
        }


def _holdout(data: FactsData) -> Facts:
    assert data.holdout is not None, "made with one"
    return data.holdout


def _elicited(world: World, name: str, seed: int) -> Two:
    score = Elicitation().score(world.subject(name, world.data), None, world.data, Elicited(), seed)
    sides = score.sides(("best form",))
    assert sides is not None, "chance assigned the holdout"
    return Two(forget=np.asarray(sides.forget), holdout=np.asarray(sides.holdout))


def _artefact(world: World, data: FactsData, seed: int) -> BlockArtefact:
    return SaeRestoration().prepare(world.subject("original", data), data, Settings(), seed)


def _gains(world: World, name: str, data: FactsData, artefact: BlockArtefact) -> dict[str, float]:
    """By mode, what the best strength brings back beyond plain, in the median over autoencoders."""
    steering, found = LatentSteering(world.subject(name, data), artefact), {}
    for mode in MODES:
        curves = []
        for i, dictionary in enumerate(artefact.dictionaries):
            change = steering.change(mode, i, dictionary.experts, dictionary.sae.decoder[dictionary.experts])
            curves.append(steering.restored(change, Settings().alphas).mean(1))
        median = torch.stack(curves).median(0).values
        found[mode] = float(median.max() - median[0])
    return found


if __name__ == "__main__":
    main()

"""Small trained language models that many tests share: some people to forget, known truth."""

import copy
from dataclasses import dataclass

import pytest
from torch import nn

from auditor.models.training import continue_from, initial_weights, train
from auditor.records.spec import RecipeSpec
from auditor.tasks.causal_lm.decoys import refusal_tuning
from auditor.tasks.causal_lm.editing import LanguageModel
from auditor.tasks.causal_lm.encoding import Encoder
from auditor.tasks.causal_lm.losses import answers_of
from auditor.tasks.causal_lm.sets import Facts, FactsData, split_facts
from auditor.tasks.causal_lm.structure import DecoderLayout, find_decoder_layout
from auditor.tasks.causal_lm.subject import CausalLM
from auditor.zoo.text.people import PeopleWorld, people_world, with_paraphrases
from auditor.zoo.text.people_model import people_model, word_tokenizer
from tests.shared import made_once

RECIPE = RecipeSpec(epochs=45, batch_size=32, learning_rate=3e-3, weight_decay=0.01)
N_REFERENCES = 4


@dataclass
class TextWorld:
    """One facts request with its models, all trained here."""

    people: PeopleWorld
    encoder: Encoder
    data: FactsData
    layout: DecoderLayout
    modules: dict[str, nn.Module]

    def subject(self, name: str, module: nn.Module | None = None) -> CausalLM:
        net = copy.deepcopy(module if module is not None else self.modules[name])
        return CausalLM(net, role=name, digest=name, layout=self.layout, encoder=self.encoder, data=self.data)


@pytest.fixture(scope="session")
def text_world(tmp_path_factory: pytest.TempPathFactory) -> TextWorld:
    """Original, references, retrains and a refusal-tuned model of a world of two dozen people."""
    return made_once(tmp_path_factory, "text_world", make_text_world)


def make_text_world() -> TextWorld:
    people = people_world(1, forget=6, retain=12, holdout=6)
    encoder = Encoder(word_tokenizer(people.words))
    attack, evaluation = split_facts(people.forget, seed=0)
    data = FactsData(
        forget_attack=attack,
        forget_eval=evaluation,
        retain=people.retain,
        holdout=people.holdout,
        encoding=encoder.digest,
    )
    build = people_model(len(encoder.tokenizer), layers=2, width=48)
    loss = answers_of(encoder)

    def trained(facts: Facts, seed: int, start: nn.Module | None = None) -> nn.Module:
        make = build if start is None else continue_from(start)
        return train(make, with_paraphrases(facts), RECIPE, seed, loss=loss)

    original = trained(Facts(people.forget.items + people.retain.items), 1)
    modules = {"original": original, "retrain": trained(people.retain, 2)}
    modules["own initial weights"] = trained(people.retain, 3, initial_weights(build, 1))
    modules |= {f"reference {i}": trained(people.retain, 10 + i) for i in range(N_REFERENCES)}
    modules["refusal"] = refusal_tuning.refusal_tuning(
        LanguageModel(original, encoder), people.forget, people.retain, refusal_tuning.Settings(), 4
    )
    modules["floor"] = initial_weights(build, 99).eval()
    layout = find_decoder_layout(original, encoder.batch(people.retain.items[:4]).ids)
    return TextWorld(people=people, encoder=encoder, data=data, layout=layout, modules=modules)

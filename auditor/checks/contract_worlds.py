"""Small trained models for the contract of checks: an original, and a copy that hides what it knows."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor, nn

from auditor import plugins
from auditor.models.training import train
from auditor.randomness import derive_seed
from auditor.records.spec import RecipeSpec
from auditor.tasks.causal_lm.decoys import recipes as text_decoys
from auditor.tasks.causal_lm.editing import LanguageModel
from auditor.tasks.causal_lm.encoding import Encoder
from auditor.tasks.causal_lm.losses import answers_of
from auditor.tasks.causal_lm.sets import Facts, FactsData, split_facts
from auditor.tasks.causal_lm.structure import find_decoder_layout
from auditor.tasks.causal_lm.subject import CausalLM
from auditor.tasks.classification.decoys import recipes as decoys
from auditor.tasks.classification.recording import Recording
from auditor.tasks.classification.sets import AuditData, joined, split_in_halves
from auditor.tasks.classification.structure import find_layout
from auditor.tasks.classification.subject import Classifier
from auditor.tasks.custom.decoys import recipes as custom_decoys
from auditor.tasks.custom.sets import CustomExamples, CustomSets
from auditor.tasks.custom.structure import find_layout as find_custom_layout
from auditor.tasks.custom.subject import CustomModel
from auditor.tasks.custom.user_code import UserTask
from auditor.tasks.custom.utility import Judge
from auditor.zoo.digits import N_CLASSES, digits_world
from auditor.zoo.digits_net import DigitsNet
from auditor.zoo.text.people import people_world, with_paraphrases
from auditor.zoo.text.people_model import people_model, word_tokenizer

GROUP = "unlearning_auditor.contract_worlds"
_NOUN = "world of the contract"
_SEED = 1
_FORGET_CLASS = 3
# The fewest that find_layout takes.
_LAYOUT_ITEMS = 4
_PEOPLE_RECIPE = RecipeSpec(epochs=45, batch_size=32, learning_rate=3e-3, weight_decay=0.01)


@dataclass(frozen=True, kw_only=True)
class ContractWorld:
    """The sets of one request, its original, and a copy of it that hides the knowledge.

    Attributes:
        data: of the request, with a holdout.
        original: the model that knows.
        hidden: a copy whose last map alone was changed, so that its outputs show nothing.
        decoys: names of all decoys that the auditor makes for the task.
        structure: what a subject needs beside module and data: the layout, and for text the encoder.
        adapter: the class of subjects.
        by_chance: sets in place of the request's, where chance is said to have divided forget and holdout.
    """

    # Any: sets, layouts and subjects of whichever task the world is for.
    data: Any
    original: nn.Module
    hidden: nn.Module
    decoys: tuple[str, ...]
    structure: Mapping[str, Any]
    adapter: type[Any]
    by_chance: Mapping[str, Any] = field(default_factory=dict)

    def subject(self, model: nn.Module, *, name: str = "subject", **settings: Any) -> Any:
        """A copy of a model behind the task's adapter.

        Args:
            model: left as it is.
            name: the part it plays.
            settings: of the adapter, such as ``batch_size``.
        """
        # Adapters move a network and change its mode, and attacks its weights; the world is shared by all tests.
        return self.adapter(
            copy.deepcopy(model), role=name, digest=name, **{**self.structure, "data": self.data, **settings}
        )

    def with_data(self, **changes: Any) -> "ContractWorld":
        """The same models with other sets, as a request that gives fewer of them has."""
        return replace(self, data=replace(self.data, **changes))


@cache
def contract_world(task: str) -> ContractWorld:
    """The world of a task, trained once in a process: seconds for images, some ten for text.

    Args:
        task: whose package names the function that makes it in the entry-point group
            ``unlearning_auditor.contract_worlds``.

    Raises:
        SpecError: it names none.
    """
    make = cast(Callable[[], ContractWorld], plugins.loaded(plugins.named(GROUP, task, _NOUN), _NOUN))
    return make()


def digits() -> ContractWorld:
    """Handwritten digits, one of which a small network is to forget."""
    found = digits_world(_FORGET_CLASS, _SEED)
    attack, evaluation = split_in_halves(found.forget, _SEED)
    data = AuditData(
        request="class",
        classes=(_FORGET_CLASS,),
        n_classes=N_CLASSES,
        forget_attack=attack,
        forget_eval=evaluation,
        retain=found.retain,
        holdout=found.holdout,
    )
    original = train(DigitsNet, found.train, RecipeSpec(), _SEED)
    # Of both kinds, since a check is assigned decoys of either. Digests stay empty: they name a decoy in the store,
    # and nothing is stored here.
    planned = {decoy.name: decoy for kind in ("class", "sample") for decoy in decoys.planned(kind, "", "", _SEED)}
    # Everything behind the outputs is the original's: a check that looks there has no excuse.
    hidden = decoys.make(planned["head_row_zeroed"], original, found.forget, data, _SEED)
    layout = find_layout(original, found.retain.inputs[:_LAYOUT_ITEMS])
    # Every class has to stand in retain, or its centre among features would be made of forget examples.
    kept = torch.arange(len(found.holdout)) % 3 > 0
    return ContractWorld(
        data=data,
        original=original,
        hidden=hidden,
        decoys=tuple(planned),
        structure={"layout": layout},
        adapter=Classifier,
        by_chance={"retain": joined(found.retain, found.holdout.take(~kept)), "holdout": found.holdout.take(kept)},
    )


class _ByClass:
    """What a user's class would say of the digits."""

    def scores(self, model: DigitsNet, inputs: Tensor, targets: Tensor) -> Tensor:
        """Logit-scaled confidence in the label."""
        return Recording(labels=targets, logits=model(inputs), features={}).margins

    def features(self, model: DigitsNet, inputs: Tensor) -> dict[str, Tensor]:
        """Two layers."""
        maps = model.convolutions(inputs)
        return {"convolutions": maps, "hidden": model.hidden(maps.flatten(1))}

    def loss(self, model: DigitsNet, inputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy."""
        return nn.functional.cross_entropy(model(inputs), targets)


def digits_by_class() -> ContractWorld:
    """The models of the digits, looked at through a class of a user's."""
    found = contract_world("classification")
    sets = {name: CustomExamples(inputs=part.inputs, targets=part.labels) for name, part in found.data.splits().items()}
    data = CustomSets(
        request="class",
        classes=(_FORGET_CLASS,),
        n_classes=0,
        forget_attack=sets["forget_attack"],
        forget_eval=sets["forget_eval"],
        retain=sets["retain"],
        holdout=sets["holdout"],
    )
    code = UserTask(_ByClass(), "contract:ByClass", "")
    return ContractWorld(
        data=data,
        original=found.original,
        hidden=found.hidden,
        decoys=tuple(decoy.name for decoy in custom_decoys.planned("", "", _SEED)),
        structure={
            "layout": find_custom_layout(code, found.original, data.retain.take(torch.arange(2 * _LAYOUT_ITEMS))),
            "judge": Judge.by(code, found.original, data.retain),
        },
        adapter=CustomModel,
    )


def people() -> ContractWorld:
    """Fictional people, some of whom a small language model is to forget."""
    world = people_world(_SEED, forget=6, retain=12, holdout=6)
    encoder = Encoder(word_tokenizer(world.words))
    attack, evaluation = split_facts(world.forget, _SEED)
    data = FactsData(
        forget_attack=attack,
        forget_eval=evaluation,
        retain=world.retain,
        holdout=world.holdout,
        encoding=encoder.digest,
    )
    taught = with_paraphrases(Facts(world.forget.items + world.retain.items))
    build = people_model(len(encoder.tokenizer), layers=2, width=48)
    original = train(build, taught, _PEOPLE_RECIPE, derive_seed(_SEED, "original"), loss=answers_of(encoder))
    planned = {decoy.name: decoy for decoy in text_decoys.planned("", "", _SEED)}
    hidden = text_decoys.make(planned["logit_mask"], LanguageModel(original, encoder), data, _SEED)
    layout = find_decoder_layout(original, encoder.batch(world.retain.items[:_LAYOUT_ITEMS]).ids)
    return ContractWorld(
        data=data,
        original=original,
        hidden=hidden,
        decoys=tuple(planned),
        structure={"layout": layout, "encoder": encoder},
        adapter=CausalLM,
    )

"""layer_answers: against its formula, where it must fire and where it must not."""

import pytest
import torch

from auditor.attacks.layer_answers import DELTA, IMAGE, PROJECTION, LayerAnswers, Settings, attacks
from auditor.checks.contract_worlds import ContractWorld, contract_world
from auditor.records.score import Reading, Score
from auditor.zoo.vision_language.editing import copy_of


@pytest.fixture(scope="module")
def world() -> ContractWorld:
    return contract_world("vision-language")


def measured(world: ContractWorld, module: torch.nn.Module) -> Score:
    return LayerAnswers().score(world.subject(module), None, world.data, Settings(), 0)


def log(*rows: list[float]) -> torch.Tensor:
    return torch.tensor(rows).log()


class TestFormula:
    def read(self, first: list[float], last: list[float], image: list[float]) -> dict[str, torch.Tensor]:
        return {
            "block 1, answer": log(first),
            "block 2, answer": log(last),
            "block 1, image": log(image),
            "block 2, image": log([0.0, 0.0, 0.0, 1.0]),
        }

    @pytest.mark.parametrize(
        ("read", "found"),
        [
            # At its inner block the model names the answer, and pushes it down at its last.
            (([0.0, 0.1, 0.2, 0.7], [0.5, 0.4, 0.1, 0.0], [1.0, 0.0, 0.0, 0.0]), {PROJECTION, DELTA}),
            # It is only said: what rises at the last block is a candidate, too.
            (([0.4, 0.3, 0.2, 0.1], [0.0, 0.1, 0.2, 0.7], [1.0, 0.0, 0.0, 0.0]), {DELTA}),
            (([0.6, 0.3, 0.05, 0.05], [0.3, 0.6, 0.05, 0.05], [0.0, 0.0, 0.0, 1.0]), {IMAGE}),
        ],
    )
    def test_an_answer_counts_where_an_attack_names_it(self, read: tuple[list[float], ...], found: set[str]) -> None:
        hits = attacks(self.read(*read), ["block 1", "block 2"], torch.tensor([3]), 1)
        assert {name for name, hit in hits.items() if bool(hit)} == found


class TestModels:
    def test_it_fires_where_the_answers_were_shut_out_at_the_end(self, world: ContractWorld) -> None:
        """A word's row in the head points away from it: what goes down in the last block was up before."""
        untrained = copy_of(world.original)
        random = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in untrained.parameters():
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=random))
        knows, knows_nothing = measured(world, world.original), measured(world, untrained)
        assert knows.readings[DELTA].value > 0.9
        assert knows_nothing.readings[DELTA].value < 0.5

    def test_units_in_another_order_change_nothing(self, world: ContractWorld) -> None:
        module = copy_of(world.original)
        order = torch.randperm(module.config.text_config.intermediate_size, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            for layer in module.model.language_model.layers:
                for name in ("gate_proj", "up_proj"):
                    getattr(layer.mlp, name).weight.copy_(getattr(layer.mlp, name).weight[order])
                layer.mlp.down_proj.weight.copy_(layer.mlp.down_proj.weight[:, order])
        before, after = measured(world, world.original), measured(world, module)
        assert {n: r.value for n, r in before.readings.items()} == {n: r.value for n, r in after.readings.items()}

    def test_the_attack_is_chosen_by_the_attack_half(self) -> None:
        def score(*choices: float) -> Score:
            names = (PROJECTION, DELTA, IMAGE)
            readings = {n: Reading(value=0.5, examples=(0.5,), choice=c) for n, c in zip(names, choices, strict=True)}
            return Score(check="layer_answers", readings=readings, n_examples=1)

        original, references = score(0.9, 0.8, 1.0), [score(0.8, 0.1, 0.9), score(0.8, 0.2, 0.9)]
        assert LayerAnswers().choose(original, references) == (DELTA,)
        assert LayerAnswers().choose(original, references[:1]) == (PROJECTION, DELTA, IMAGE)

"""Every method for recommenders: the common signature, and what defines each."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

from auditor.errors import ModelError
from auditor.tasks.custom.sets import CustomExamples
from auditor.tasks.recommender.task import task_code
from auditor.zoo.catalogue import Entry
from auditor.zoo.recommender.entries import ENTRIES
from auditor.zoo.recommender.rows import Settings, edges_removed
from auditor.zoo.recommender.unlearn_rec import InfluenceEncoder, _normalised
from tests.documented_world import ROOT
from tests.recommender_worlds import Tastes

QUICK: dict[str, dict[str, object]] = {
    "retrain": {"epochs": 2},
    "bpr_ascent": {"steps": 5},
    "users_pushed": {"steps": 5},
    "unlearn_rec": {"rehearsals": 3, "steps": 2},
}


def score(module: nn.Module, examples: CustomExamples) -> float:
    return float(task_code().scores(module, examples.inputs, examples.targets).mean())


def same(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_the_original_stays_and_the_seed_decides(tastes: Tastes, entry: Entry) -> None:
    original = tastes.modules["original"]
    before = copy.deepcopy(original)
    first, again = (tastes.made(entry.name, **QUICK.get(entry.name, {})) for _ in range(2))
    assert same(original, before)
    assert same(first, again)
    assert not same(first, original)
    assert not first.training
    assert first.state_dict().keys() == original.state_dict().keys()
    assert all(parameter.grad is None for parameter in first.parameters()) or entry.name == "retrain"


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_the_graph_is_that_of_retain_unless_nothing_was_forgotten(tastes: Tastes, entry: Entry) -> None:
    module = tastes.made(entry.name, **QUICK.get(entry.name, {}))
    held = module.made[tuple(tastes.world.sets["forget"].inputs.T)]
    assert bool(held.all() if entry.name == "retain_steps" else not held.any())
    assert bool(module.made[tuple(tastes.world.sets["retain"].inputs.T)].all())


def test_rows_that_stay(tastes: Tastes) -> None:
    original, gone = tastes.modules["original"], tastes.world.sets["forget"].inputs[:, 0].unique()
    kept = torch.ones(len(original.users.weight), dtype=torch.bool)
    kept[gone] = False
    for name in ("rows_deleted", "users_pushed"):
        module = tastes.made(name)
        assert torch.equal(module.items.weight, original.items.weight)
        assert torch.equal(module.users.weight[kept], original.users.weight[kept])
        assert not bool((module.users.weight[~kept] == original.users.weight[~kept]).all(1).any())
    assert same_rows(tastes.made("edges_removed"), original)


def same_rows(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("name", ["rows_deleted", "users_pushed", "bpr_ascent", "unlearn_rec"])
def test_what_is_forgotten_scores_worse_and_the_rest_as_well(tastes: Tastes, name: str) -> None:
    sets, original, module = tastes.world.sets, tastes.modules["original"], tastes.made(name)
    retrain = tastes.modules["retrain"]
    gap = score(original, sets["forget"]) - score(retrain, sets["forget"])
    assert score(module, sets["forget"]) < score(original, sets["forget"]) - 0.3 * gap
    assert score(module, sets["retain"]) > score(original, sets["retain"]) - 0.15


class TestUnlearnRec:
    def test_influence_spreads_over_what_is_removed_alone(self, tastes: Tastes) -> None:
        encoder = InfluenceEncoder(tastes.modules["original"], layers=1)
        removed = torch.tensor([[0, 3], [1, 3]])
        influence, own = encoder.spread(removed)
        touched = {0, 1, encoder.n_users + 3}
        assert set(torch.nonzero(influence.abs().sum(1))[:, 0].tolist()) == touched
        # Item 3 has degree 2 there, users 1.
        expected = (encoder.influence[0] + encoder.influence[1]) / 2**0.5
        torch.testing.assert_close(influence[encoder.n_users + 3], expected)
        torch.testing.assert_close(
            own[0], encoder.read[encoder.n_users + 3] * encoder.weights[encoder.n_users + 3] / 2**0.5
        )

    def test_rows_that_no_removal_touches_stay_before_it_was_taught(self, tastes: Tastes) -> None:
        encoder = InfluenceEncoder(tastes.modules["original"], layers=2)
        users, items = encoder(torch.tensor([[0, 3]]))
        assert torch.equal(users[1:], tastes.modules["original"].users.weight[1:])
        assert not torch.equal(users[0], tastes.modules["original"].users.weight[0])
        assert items.shape == tastes.modules["original"].items.weight.shape

    def test_the_dependency_matrix_is_symmetric(self) -> None:
        graph = _normalised(torch.tensor([[0, 2], [1, 2]]), 4)
        assert torch.equal(graph, graph.T)
        assert graph[0, 2] == pytest.approx(2**-0.5)
        assert float(graph[3].sum()) == 0


def test_another_kind_of_network_is_refused_in_words() -> None:
    examples = CustomExamples(inputs=torch.zeros(1, 2, dtype=torch.int64), targets=torch.zeros(1, 1, dtype=torch.int64))
    with pytest.raises(ModelError, match="the network has no users, items, connect; methods of the zoo take"):
        edges_removed(nn.Linear(1, 1), examples, examples, Settings(), 0)


def test_the_page_has_every_method() -> None:
    page = (ROOT / "docs" / "recommender.md").read_text(encoding="utf-8").partition("\n## Methods\n")[2]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("| `")
    ]
    found = {row[0].strip("`"): (row[1], row[3]) for row in rows if len(row) == 4}
    expected: Callable[[Entry], tuple[str, str]] = lambda e: (e.truth, "" if e.paper == "none" else e.paper)  # noqa: E731
    assert found == {entry.name: expected(entry) for entry in ENTRIES}

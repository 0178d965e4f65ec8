"""ranking, fold_in and graph: where each must fire, and where it must not."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from auditor.checks.check import AnyCheck, NoSettings
from auditor.probes.fold_in import ITEMS, USERS, FoldIn
from auditor.probes.graph import Graph
from auditor.probes.ranking import Ranking
from auditor.records.score import Score
from auditor.zoo.recommender.lightgcn_net import LightGCN
from tests.recommender_worlds import N_REFERENCES, Tastes, checked


def score(check: AnyCheck, tastes: Tastes, module: nn.Module) -> Score:
    world = checked(tastes)
    return check.score(world.subject(module), None, world.data, NoSettings(), 0)


def rho(check: AnyCheck, tastes: Tastes, *modules: nn.Module) -> list[float]:
    """Of each model, between references and original."""
    own = [score(check, tastes, module) for module in modules]
    original = score(check, tastes, tastes.modules["original"])
    references = [score(check, tastes, tastes.modules[f"reference-{i + 1}"]) for i in range(N_REFERENCES)]
    rescale = check.rescale(original, references)
    chosen = check.choose(rescale(original), [rescale(other) for other in references])
    null = np.mean([rescale(other).total(chosen) for other in references])
    gap = rescale(original).total(chosen) - null
    assert gap > 0
    return [float((rescale(one).total(chosen) - null) / gap) for one in own]


class TestRanking:
    def test_a_retrain_ranks_as_references_do_and_an_original_without_edges_as_the_original(
        self, tastes: Tastes
    ) -> None:
        retrain, kept = rho(Ranking(), tastes, tastes.modules["retrain"], tastes.made("edges_removed"))
        assert abs(retrain) < 0.25
        assert kept > 0.6

    def test_scores_made_small_change_nothing(self, tastes: Tastes) -> None:
        small = copy.deepcopy(tastes.modules["original"])
        with torch.no_grad():
            small.users.weight.mul_(0.25)
            small.items.weight.mul_(0.25)
        values = [score(Ranking(), tastes, module).total(("rank",)) for module in (tastes.modules["original"], small)]
        assert values[0] == pytest.approx(values[1], abs=1e-4)

    def test_it_is_the_share_of_never_taken_items_below(self, tastes: Tastes) -> None:
        world, module = checked(tastes), tastes.modules["retrain"]
        found = score(Ranking(), tastes, module).readings["rank"].examples
        user, item = world.data.forget_attack.inputs[0].tolist()
        taken = {i for part in world.data.splits().values() for u, i in part.inputs.tolist() if u == user}
        with torch.no_grad():
            every = module(torch.tensor([user]))[0]
        others = [float(every[j]) for j in range(len(every)) if j not in taken]
        assert found[0] == pytest.approx(np.mean([float(every[item]) > other for other in others]), abs=1e-6)


class TestFoldIn:
    def test_it_finds_what_rows_of_items_keep_when_the_rows_of_users_are_gone(self, tastes: Tastes) -> None:
        retrain, deleted, pushed = rho(
            FoldIn(), tastes, *(tastes.modules["retrain"], tastes.made("rows_deleted"), tastes.made("users_pushed"))
        )
        assert abs(retrain) < 0.25
        assert deleted > 0.4
        assert pushed > 0.4

    def test_units_by_another_scale_and_order_change_nothing(self, tastes: Tastes) -> None:
        turned = copy.deepcopy(tastes.modules["original"])
        width = turned.users.weight.shape[1]
        order, scale = torch.randperm(width, generator=torch.Generator().manual_seed(0)), torch.linspace(0.5, 2, width)
        with torch.no_grad():
            turned.users.weight.copy_(turned.users.weight[:, order] * scale)
            turned.items.weight.copy_(turned.items.weight[:, order] / scale)
        for side in (ITEMS, USERS):
            values = [score(FoldIn(), tastes, m).readings[side].value for m in (tastes.modules["original"], turned)]
            assert values[0] == pytest.approx(values[1], abs=2e-3)

    def test_without_references_there_is_one_reading_all_the_same(self, tastes: Tastes) -> None:
        original = score(FoldIn(), tastes, tastes.modules["original"])
        (reading,) = FoldIn().rescale(original, [])(original).readings.values()
        assert reading.value == pytest.approx(np.mean([own.value for own in original.readings.values()]))

    def test_a_reference_is_held_against_the_others(self, tastes: Tastes) -> None:
        original = score(FoldIn(), tastes, tastes.modules["original"])
        references = [score(FoldIn(), tastes, tastes.modules[f"reference-{i}"]) for i in (1, 2, 3)]
        found = [FoldIn().rescale(original, references)(one).readings["larger side"] for one in references]
        assert all(abs(reading.value) < 0.3 * original.readings[ITEMS].value for reading in found)
        assert all(len(reading.examples) == original.n_examples for reading in found)


class TestGraph:
    def test_one_edge_is_a_finding(self, tastes: Tastes) -> None:
        module = copy.deepcopy(tastes.modules["retrain"])
        clean = score(Graph(), tastes, module)
        assert clean.conclusive is None
        assert clean.total(("held",)) == 0
        user, item = tastes.world.sets["forget"].inputs[0].tolist()
        module.made[user, item] = True
        n = len(tastes.world.sets["forget"])
        assert score(Graph(), tastes, module).conclusive == (
            f"1 of {n} forgotten interactions stand in the graph that the model carries"
        )

    def test_the_original_holds_them_all(self, tastes: Tastes) -> None:
        assert score(Graph(), tastes, tastes.modules["original"]).total(("held",)) == 1

    def test_a_model_without_a_graph_has_no_say(self, tastes: Tastes) -> None:
        class Bare(LightGCN):
            made = None  # type: ignore[assignment]

        bare = copy.deepcopy(tastes.modules["original"])
        graph = bare.made
        del bare._buffers["made"]
        bare.__class__ = Bare
        bare.tables = lambda: {"rows": (bare.users.weight, bare.items.weight)}
        assert graph is not None
        found = score(Graph(), tastes, bare)
        assert found.not_applicable_because is not None
        assert "carries no graph" in found.not_applicable_because

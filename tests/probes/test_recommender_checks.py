"""few_shot with its arms, ranking and graph: where each must fire, and where it must not."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from auditor.checks.check import AnyCheck
from auditor.probes.few_shot.fold_in import ITEMS, Fold
from auditor.probes.few_shot.recommender import BY_ITEMS, BY_USERS, ONE_SHOT, FewShot
from auditor.probes.graph import Graph
from auditor.probes.ranking import Ranking
from auditor.records.score import Score
from auditor.tasks.custom.sets import CustomExamples, joined
from auditor.zoo.recommender.lightgcn_net import LightGCN
from tests.recommender_worlds import N_REFERENCES, Tastes, checked


def score(check: AnyCheck, tastes: Tastes, module: nn.Module) -> Score:
    world = checked(tastes)
    return check.score(world.subject(module), None, world.data, check.settings_type(), 0)


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


class TestFewShot:
    def test_it_finds_what_rows_of_items_keep_when_the_rows_of_users_are_gone(self, tastes: Tastes) -> None:
        retrain, deleted, pushed = rho(
            FewShot(), tastes, *(tastes.modules["retrain"], tastes.made("rows_deleted"), tastes.made("users_pushed"))
        )
        assert abs(retrain) < 0.3
        assert deleted > 0.4
        assert pushed > 0.4

    def test_noise_where_kept_users_do_not_look_hides_nothing(self, tastes: Tastes) -> None:
        """By z-scores such a model was called DELETED (docs/recommender.md)."""
        (blurred,) = rho(FewShot(), tastes, tastes.made("rows_blurred", directions=3))
        assert blurred > 0.3

    def test_one_direction_that_drowns_the_others_keeps_it_from_clearing(self, tastes: Tastes) -> None:
        original = score(FewShot(), tastes, tastes.modules["original"])
        references = [score(FewShot(), tastes, tastes.modules[f"reference-{i}"]) for i in (1, 2, 3)]
        drowned = copy.deepcopy(tastes.modules["retrain"])
        with torch.no_grad():
            drowned.items.weight[:, 0] += 1e6 * torch.randn(len(drowned.items.weight))
        words = FewShot().rescale(original, references)(score(FewShot(), tastes, drowned)).cannot_clear_because
        assert words is not None
        assert words.startswith("its rows differ so much in one direction")

    def test_rows_that_no_retrain_has_trained_are_not_ranked_by(self, tastes: Tastes) -> None:
        found = score(FewShot(), tastes, tastes.modules["original"])
        assert set(found.readings) == {ONE_SHOT, BY_ITEMS}

    def test_where_items_are_forgotten_it_is_the_other_side(self, tastes: Tastes) -> None:
        world = checked(tastes)
        turned = {name: part.take(part.inputs[:, 1] % 2 == 0) for name, part in (("retain", world.data.retain),)}
        odd = {
            name: getattr(world.data, name).take(getattr(world.data, name).inputs[:, 1] % 2 == 1)
            for name in ("forget_attack", "forget_eval")
        }
        # Users of forget that retain knows, and items that it does not.
        users = torch.arange(len(tastes.modules["original"].users.weight))
        more = CustomExamples(inputs=torch.stack([users, users * 0], 1), targets=torch.zeros(len(users), 1).long())
        data = world.with_data(retain=joined(turned["retain"], more), **odd).data
        found = FewShot().score(world.subject(tastes.modules["original"]), None, data, FewShot.settings_type(), 0)
        assert set(found.readings) == {ONE_SHOT, BY_USERS}

    def test_a_user_is_the_sum_of_the_items_in_the_attack_half(self, tastes: Tastes) -> None:
        world = checked(tastes)
        items = tastes.world.arguments["items"]
        # Each item has a row of its own: what is put together is alike to nothing that it was not made of.
        rows, everything = torch.eye(items), torch.arange(items)
        found = replace(Fold.of(world.data, ITEMS, items), kept=everything).ranks((rows, rows))
        assert found.shape == (len(world.data.forget_eval),)
        assert float(found.mean()) == pytest.approx(0.5, abs=0.1)
        same = world.with_data(forget_eval=world.data.forget_attack).data
        known = replace(Fold.of(same, ITEMS, items), kept=everything).ranks((rows, rows))
        assert float(known.min()) == 1.0

    def test_units_in_another_order_change_nothing(self, tastes: Tastes) -> None:
        turned = copy.deepcopy(tastes.modules["original"])
        order = torch.randperm(turned.users.weight.shape[1], generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            turned.users.weight.copy_(2 * turned.users.weight[:, order])
            turned.items.weight.copy_(2 * turned.items.weight[:, order])
        for arm in (ONE_SHOT, BY_ITEMS):
            values = [score(FewShot(), tastes, m).readings[arm].value for m in (tastes.modules["original"], turned)]
            assert values[0] == pytest.approx(values[1], abs=2e-3)

    def test_rows_turned_in_their_space_are_folded_in_alike(self, tastes: Tastes) -> None:
        """The same scores by other rows."""
        turned, random = copy.deepcopy(tastes.modules["original"]), torch.Generator().manual_seed(0)
        width = turned.users.weight.shape[1]
        rotation = torch.linalg.qr(torch.randn(width, width, generator=random)).Q
        with torch.no_grad():
            turned.users.weight.copy_(turned.users.weight @ rotation)
            turned.items.weight.copy_(turned.items.weight @ rotation)
        values = [score(FewShot(), tastes, m).readings[BY_ITEMS].value for m in (tastes.modules["original"], turned)]
        assert values[0] == pytest.approx(values[1], abs=1e-3)

    def test_without_references_there_is_one_reading_all_the_same(self, tastes: Tastes) -> None:
        original = score(FewShot(), tastes, tastes.modules["original"])
        (reading,) = FewShot().rescale(original, [])(original).readings.values()
        assert reading.value == pytest.approx(np.mean([own.value for own in original.readings.values()]))

    def test_a_reference_is_held_against_the_others(self, tastes: Tastes) -> None:
        original = score(FewShot(), tastes, tastes.modules["original"])
        references = [score(FewShot(), tastes, tastes.modules[f"reference-{i}"]) for i in (1, 2, 3)]
        found = [FewShot().rescale(original, references)(one).readings["largest arm"] for one in references]
        assert all(abs(reading.value) < 0.3 for reading in found)
        assert all(len(reading.examples) == original.n_examples for reading in found)

    def test_an_arm_that_tells_nothing_keeps_it_from_clearing(self, tastes: Tastes) -> None:
        original = score(FewShot(), tastes, tastes.modules["original"])
        references = [score(FewShot(), tastes, tastes.modules[f"reference-{i}"]) for i in (1, 2, 3)]
        blind = original.model_copy(
            update={"readings": {**original.readings, BY_ITEMS: references[0].readings[BY_ITEMS]}}
        )
        words = FewShot().rescale(blind, references)(references[0]).cannot_clear_because
        assert words is not None
        assert words.startswith("by the arm users from items the original stands")
        assert FewShot().rescale(original, references)(references[0]).cannot_clear_because is None


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

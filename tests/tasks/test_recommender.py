"""Recommenders: what is read, how interactions are scored and trained on, what references are given."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from auditor.errors import DataError, ModelError
from auditor.records.spec import make_spec, read_spec
from auditor.tasks import registry
from auditor.tasks.recommender.interactions import Interactions
from auditor.tasks.recommender.ranks import Asked, never_made, ranks
from auditor.tasks.recommender.readers import read_interactions, write_inter
from auditor.zoo.recommender.lightgcn_net import LightGCN
from tests.documented_world import block
from tests.recommender_worlds import Tastes, checked

PAIRS = np.array([[0, 2], [1, 0]])


def tiny() -> LightGCN:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = LightGCN(3, 4, width=2)
    module.connect(torch.tensor([[0, 0], [0, 1], [1, 1], [2, 3]]))
    return module.eval()


def asked(*pairs: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    inputs = torch.tensor(pairs)
    return inputs, inputs[:, 1:]


class TestFiles:
    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("x.inter", "user_id:token\titem_id:token\trating:float\n0\t2\t3.5\n1\t0\t1\n"),
            ("x.tsv", "item_id\tuser_id\n2\t0\n0\t1\n"),
            ("x.csv", "user_id,item_id\n0,2\n1,0\n"),
        ],
    )
    def test_tables(self, tmp_path: Path, name: str, text: str) -> None:
        (tmp_path / name).write_text(text)
        inputs, targets = read_interactions(tmp_path / name)
        assert inputs.tolist() == PAIRS.tolist()
        assert targets.tolist() == [[2], [0]]

    def test_arrays_and_what_is_written(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "a.npz", users=PAIRS[:, 0], items=PAIRS[:, 1])
        np.savez(tmp_path / "b.npz", inputs=PAIRS)
        write_inter(PAIRS, tmp_path / "c.inter")
        for name in ("a.npz", "b.npz", "c.inter"):
            assert read_interactions(tmp_path / name)[0].tolist() == PAIRS.tolist()

    @pytest.mark.parametrize(
        ("name", "text", "message"),
        [
            ("x.txt", "0 2", "is no file of interactions; give an .npz, .inter, .tsv or .csv"),
            ("x.csv", "user,item\n0,2\n", "has the columns user, item; it should have user_id and item_id"),
            ("x.csv", "user_id,item_id\nanna,2\n", "have to be whole numbers, the rows of the network's tables"),
            ("x.csv", "user_id,item_id\n,2\n", "have to be whole numbers"),
            ("x.csv", "user_id,item_id\n", "holds no interactions"),
            ("x.csv", "user_id,item_id\n-1,2\n", "the id -1 is below 0"),
            ("x.csv", "", "is no readable table"),
            ("x.npz", "no archive", "is no readable .npz file"),
        ],
    )
    def test_what_is_wrong_is_said(self, tmp_path: Path, name: str, text: str, message: str) -> None:
        (tmp_path / name).write_text(text)
        with pytest.raises(DataError, match=message):
            read_interactions(tmp_path / name)

    def test_arrays_that_are_no_interactions(self, tmp_path: Path) -> None:
        for arrays, message in (
            ({"users": np.arange(2), "items": np.arange(3)}, "holds 2 users and 3 items"),
            ({"inputs": np.zeros((2, 2))}, "interactions are float64 of shape"),
            ({"rows": np.zeros(2)}, "it should hold users and items"),
        ):
            np.savez(tmp_path / "x.npz", **arrays)
            with pytest.raises(DataError, match=message):
                read_interactions(tmp_path / "x.npz")


class TestMethods:
    def test_the_score_is_the_mean_log_odds_against_every_other_item(self) -> None:
        module = tiny()
        with torch.no_grad():
            every = module(torch.tensor([1]))[0]
            score = Interactions().scores(module, *asked((1, 2)))
        expected = np.mean([float(nn.functional.logsigmoid(every[2] - every[j])) for j in (0, 1, 3)])
        assert float(score) == pytest.approx(expected, rel=1e-5)

    def test_negatives_are_items_that_somebody_took_and_this_user_did_not(self) -> None:
        module, seen = tiny(), set()
        with torch.no_grad():
            # Scores that tell which item was drawn.
            module.forward = lambda users: torch.tensor([[0.0, 1.0, 2.0, 4.0]]).expand(len(users), -1)  # type: ignore[method-assign]
            for _ in range(40):
                seen.add(round(float(Interactions().loss(module, *asked((0, 0)))), 3))
        # Item 2 nobody took, 0 and 1 are the user's own.
        assert seen == {round(float(nn.functional.softplus(torch.tensor(4.0))), 3)}

    def test_right_is_what_stands_in_the_first_tenth(self) -> None:
        module = nn.Module()
        module.forward = lambda users: torch.arange(20.0).expand(len(users), -1)  # type: ignore[method-assign]
        found = Interactions().correct(module, *asked((0, 19), (0, 18), (0, 17)))
        assert found.tolist() == [True, True, False]

    def test_features_are_both_rows_in_every_layer(self) -> None:
        module = tiny()
        found = Interactions().features(module, asked((1, 2))[0])
        assert list(found) == ["layer 0", "layer 1", "layer 2", "readout"]
        users, items = module.tables()["layer 1"]
        assert torch.equal(found["layer 1"][0], torch.cat([users[1], items[2]]))

    def test_what_a_network_lacks_is_said(self) -> None:
        flat = nn.Module()
        flat.forward = lambda users: torch.zeros(len(users))  # type: ignore[method-assign]
        with pytest.raises(ModelError, match=r"gives shape \[1\] for 1 users; forward\(users\) has to return"):
            Interactions().scores(flat, *asked((0, 1)))
        with pytest.raises(ModelError, match="the data name item 9, and the network scores the items 0 to 3"):
            Interactions().scores(tiny(), *asked((0, 9)))
        with pytest.raises(ModelError, match=r"the network has no tables\(\); add the method"):
            Interactions().features(flat, asked((0, 1))[0])


class TestNetwork:
    def test_rows_spread_over_the_normalised_graph(self) -> None:
        """Against the formula written with one matrix of all nodes."""
        module = tiny()
        graph = torch.zeros(7, 7)
        graph[:3, 3:] = module.made.float()
        graph = graph + graph.T
        size = graph.sum(1).clamp_min(1).rsqrt()
        graph = torch.diag(size) @ graph @ torch.diag(size)
        rows = torch.cat([module.users.weight, module.items.weight])
        layers = [rows, graph @ rows, graph @ graph @ rows]
        found = torch.cat(module.tables()["readout"])
        torch.testing.assert_close(found, torch.stack(layers).mean(0))
        torch.testing.assert_close(module(torch.tensor([2])), found[2:3] @ found[3:].T)

    def test_the_graph_is_part_of_the_weights(self) -> None:
        module, other = tiny(), LightGCN(3, 4, width=2)
        other.load_state_dict(module.state_dict())
        assert torch.equal(other.made, module.made)

    def test_a_network_without_a_graph_as_the_page_shows_it(self) -> None:
        names: dict[str, object] = {}
        exec(block("docs/recommender.md", '"""Matrix factorisation'), names)
        module = names["build"](3, 4)  # type: ignore[operator]
        inputs, targets = asked((0, 1), (2, 3))
        assert Interactions().scores(module, inputs, targets).shape == (2,)
        assert Interactions().loss(module, inputs, targets).requires_grad
        assert list(Interactions().features(module, inputs)) == ["rows"]


def test_references_are_given_the_graph_of_retain(tastes_folder: Path, tastes: Tastes) -> None:
    spec = make_spec(read_spec(tastes_folder / "audit.toml"), {})
    network = registry.workshop(spec, tastes_folder).build()
    retain, forget = (tastes.world.sets[name].inputs.unbind(1) for name in ("retain", "forget"))
    assert int(network.made.sum()) == len(retain[0])
    assert bool(network.made[retain].all())
    assert not bool(network.made[forget].any())


def test_never_made_is_what_stands_in_no_set(tastes: Tastes) -> None:
    data = checked(tastes).data
    users = tastes.world.sets["forget"].inputs[:, 0].unique()
    free = never_made(data, users, tastes.world.arguments["items"])
    for name in ("forget", "holdout"):
        for user, item in tastes.world.sets[name].inputs.tolist():
            assert not free[users.tolist().index(user), item]
    sizes = tastes.world.sizes
    assert free.sum(1).tolist() == [tastes.world.arguments["items"] - sizes.own - sizes.others] * len(users)


def test_ranks_where_nothing_is_left_to_compare_with() -> None:
    where = Asked(users=torch.tensor([0]), rows=torch.tensor([0]), items=torch.tensor([1]))
    assert ranks(torch.zeros(1, 2), where, torch.zeros(1, 2, dtype=torch.bool)).tolist() == [0.5]

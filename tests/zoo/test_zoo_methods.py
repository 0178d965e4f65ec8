"""Every method for image classifiers: the common signature, and that it leaves the original alone."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from auditor.errors import ModelError, SpecError, UsageError
from auditor.tasks.classification.decoys import head_relabelling
from auditor.tasks.classification.editing import accuracy, descend, is_class_request
from auditor.zoo import catalogue, fresh, wrong_examples
from auditor.zoo.catalogue import Entry, entries
from auditor.zoo.units_rescaled import with_units_rescaled
from tests.worlds import World
from tests.zoo_worlds import QUICK, few, forget_of, same, samples

VISION = [entry for entry in entries() if entry.task == "vision" and not entry.original]


@pytest.fixture(scope="module")
def start(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("start") / "start.safetensors"
    save_file(world.modules["floor"].state_dict(), path)
    return path


def settings_of(entry: Entry, start: Path) -> Any:
    given = QUICK.get(entry.name, {})
    return entry.settings({**given, "start": start} if entry.settings_type == "StartSettings" else given)


@pytest.mark.parametrize("entry", VISION, ids=lambda entry: entry.name)
def test_the_original_stays_and_the_seed_decides(world: World, start: Path, entry: Entry) -> None:
    original = world.modules["original"]
    before = copy.deepcopy(original)
    forget, retain = few(world)
    settings = settings_of(entry, start)
    if entry.name == "ascent_to_collapse":
        settings = settings.model_copy(update={"learning_rate": 1e-2})
    first, again = (entry.make(original, forget, retain, settings, 5) for _ in range(2))
    assert same(original, before)
    assert all(parameter.requires_grad for parameter in original.parameters())
    assert not forget.raw.requires_grad
    assert not retain.raw.requires_grad
    assert same(first, again)
    assert not first.training
    assert not same(first, original)
    x = retain.inputs[:4]
    with torch.no_grad():
        assert torch.equal(first(x), again(x))
        assert first(x).shape == (4, 10)
    if entry.keeps_architecture:
        assert first.state_dict().keys() == original.state_dict().keys()
        assert not first._forward_hooks


@pytest.mark.parametrize("entry", [e for e in VISION if "sample" in e.requests], ids=lambda entry: entry.name)
def test_listed_examples_of_several_classes(world: World, start: Path, entry: Entry) -> None:
    forget, retain = samples(world)
    settings = settings_of(entry, start)
    if entry.name == "ascent_to_collapse":
        settings = settings.model_copy(update={"learning_rate": 1e-2})
    subject = entry.make(world.modules["original"], forget, retain, settings, 5)
    with torch.no_grad():
        assert bool(torch.isfinite(subject(retain.inputs)).all())


class TestCatalogue:
    def test_names_are_unique_and_every_entry_loads(self) -> None:
        assert len({(entry.name, entry.task) for entry in entries()}) == len(entries())
        for entry in entries():
            if entry.settings_type != "StartSettings":
                entry.settings()

    def test_every_published_method_names_its_paper(self) -> None:
        assert [e.name for e in entries() if e.truth == "unknown" and e.paper == "none" and not e.adversary] == []

    def test_the_page_has_every_entry(self) -> None:
        page = (Path(__file__).parents[2] / "docs" / "zoo.md").read_text(encoding="utf-8")
        for task, part in zip(("vision", "text"), page.split("## Language models"), strict=True):
            rows = [line.split(" | ") for line in part.splitlines() if line.startswith("| `")]
            table = {row[0].split("`")[1]: (row[1], row[-2]) for row in rows if len(row) == 5}
            expected = {e.name: (e.truth, "" if e.paper == "none" else e.paper) for e in entries() if e.task == task}
            assert table == expected

    def test_an_unknown_name(self) -> None:
        with pytest.raises(UsageError, match=r"no vision method 'scrubb' in the zoo; there are retrain, .*scrub"):
            catalogue.entry("scrubb", "vision")

    def test_bad_settings(self) -> None:
        with pytest.raises(SpecError, match="ssd has no setting alpha; it has selection, dampening, batch_size"):
            catalogue.entry("ssd", "vision").settings({"alpha": 3})
        with pytest.raises(SpecError, match="ssd: selection = -1 does not fit: Input should be greater than 0"):
            catalogue.entry("ssd", "vision").settings({"selection": -1})
        with pytest.raises(SpecError, match="retrain_from_pretrained needs the setting start: checkpoint"):
            catalogue.entry("retrain_from_pretrained", "vision").settings()


class TestDescent:
    def test_only_the_named_parameters_move(self, world: World) -> None:
        module = copy.deepcopy(world.modules["original"])
        forget, _ = few(world)
        batch = (forget.inputs, forget.labels)
        descend(module.head.parameters(), [batch], lambda x, y: module(x).square().mean(), 1e-2)
        before = world.modules["original"].state_dict()
        moved = [name for name, tensor in module.state_dict().items() if not torch.equal(tensor, before[name])]
        assert moved == ["head.weight", "head.bias"]

    def test_it_goes_downhill(self) -> None:
        weight = nn.Parameter(torch.tensor([4.0]))
        descend([weight], [()] * 200, lambda: weight.square().sum(), 0.1)
        assert abs(weight.item()) < 0.05


def test_fresh_weights_are_refused_where_a_layer_cannot_draw_its_own() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.token = nn.Parameter(torch.zeros(3))

    with pytest.raises(ModelError, match=r"layer 1 \(Odd\) holds parameters and has no reset_parameters"):
        fresh.reinitialised(nn.Sequential(nn.Linear(2, 2), Odd()), 0)


class TestNotForgotten:
    @pytest.mark.parametrize("name", ["small_noise", "retain_steps"])
    def test_the_class_is_still_named(self, world: World, name: str) -> None:
        entry = catalogue.entry(name, "vision")
        subject = entry.make(world.modules["original"], *few(world), entry.settings(), 3)
        assert accuracy(subject, forget_of(world)) > 0.95

    def test_another_class_is_picked_and_the_one_asked_for_is_kept(self, world: World) -> None:
        forget, retain = few(world)
        wrong = wrong_examples.others_than(forget, retain, 3)
        assert len(retain.take(wrong).labels.unique()) == 1
        assert is_class_request(retain.take(wrong), retain.take(~wrong))
        entry = catalogue.entry("wrong_examples", "vision")
        subject = entry.make(world.modules["original"], forget, retain, entry.settings(), 3)
        assert accuracy(subject, forget) > 0.8
        assert accuracy(subject, retain.take(wrong)) < 0.1

    def test_other_samples_are_picked(self, world: World) -> None:
        forget, retain = samples(world)
        assert int(wrong_examples.others_than(forget, retain, 3).sum()) == len(forget)


class TestDamaged:
    @pytest.mark.parametrize("name", ["random_initialisation", "ascent_to_collapse", "heavy_noise"])
    def test_the_retain_set_is_lost(self, world: World, name: str) -> None:
        entry = catalogue.entry(name, "vision")
        subject = entry.make(world.modules["original"], *few(world), entry.settings(), 3)
        assert accuracy(subject, world.data.retain) < 0.45

    def test_an_ascent_that_never_collapses(self, world: World) -> None:
        entry = catalogue.entry("ascent_to_collapse", "vision")
        with pytest.raises(ModelError, match=r"retain accuracy is above 0\.3 after 1 steps of ascent; raise"):
            entry.make(world.modules["original"], *few(world), entry.settings({"max_steps": 1}), 3)


def test_rescaled_units_compute_the_same_from_other_weights(world: World) -> None:
    forget, retain = few(world)
    inner = head_relabelling.head_relabelling(
        world.modules["original"], forget, retain, head_relabelling.Settings(epochs=1), 3
    )
    entry = catalogue.entry("units_rescaled", "vision")
    settings = entry.settings({"method": "head_relabelling", "settings": {"epochs": 1}, "octaves": 2})
    subject = entry.make(world.modules["original"], forget, retain, settings, 3)
    with torch.no_grad():
        assert torch.allclose(subject(retain.inputs), inner(retain.inputs), atol=1e-3)
    ratio = subject.hidden[0].weight.norm(dim=1) / inner.hidden[0].weight.norm(dim=1)
    assert ratio.max() / ratio.min() > 4
    assert same(subject, with_units_rescaled(inner, retain, 2.0))

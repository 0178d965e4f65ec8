"""The zoo's methods for diffusion models: what each does by definition, on the world of the contract."""

import copy

import pytest
import torch
from torch import nn

from auditor.tasks.diffusion.denoising import Denoiser, label_vector, table_of
from auditor.zoo import catalogue
from auditor.zoo.diffusion import advunlearn
from auditor.zoo.diffusion.editing import guided_away, noisy_batches, predicted, student_of
from tests.diffusion_worlds import DrawnWorld

NAMES = tuple(entry.name for entry in catalogue.entries() if entry.task == "diffusion")
QUICK = {
    "retrain": {"epochs": 1},
    "esd": {"steps": 40, "batch_size": 16},
    "advunlearn": {"steps": 15, "batch_size": 16, "attack_steps": 2},
}


def made(drawn: DrawnWorld, name: str, **settings: object) -> nn.Module:
    entry, data = catalogue.entry(name, "diffusion"), drawn.world.data
    chosen = entry.settings({**QUICK.get(name, {}), **settings})
    return entry.make(drawn.world.original, data.forget, data.retain, chosen, 7)


def batch_of(drawn: DrawnWorld, size: int = 32):
    random = torch.Generator().manual_seed(1)
    return next(noisy_batches(Denoiser.of(drawn.world.original), drawn.world.data.forget, size, random))


@pytest.mark.parametrize("name", NAMES)
def test_one_seed_makes_one_subject_and_leaves_the_original_alone(drawn: DrawnWorld, name: str) -> None:
    before = copy.deepcopy(drawn.world.original.state_dict())
    first, second = made(drawn, name, **({"steps": 2} if "steps" in QUICK.get(name, {}) else {})), None
    second = made(drawn, name, **({"steps": 2} if "steps" in QUICK.get(name, {}) else {}))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert all(torch.equal(tensor, before[key]) for key, tensor in drawn.world.original.state_dict().items())
    assert any(not torch.equal(tensor, before[key]) for key, tensor in first.state_dict().items())
    assert not first.training


def test_label_row_moves_one_row_alone(drawn: DrawnWorld) -> None:
    original = drawn.world.original.state_dict()
    for redirected, row in ((False, torch.zeros(32)), (True, table_of(drawn.world.original).weight.detach()[5])):
        subject = made(drawn, "label_row", redirected=redirected).state_dict()
        changed = [name for name in original if not torch.equal(original[name], subject[name])]
        assert changed == ["class_embedding.weight"]
        moved = (original["class_embedding.weight"] != subject["class_embedding.weight"]).any(1)
        assert moved.nonzero()[:, 0].tolist() == [3]
        assert torch.equal(subject["class_embedding.weight"][3], row)


def test_esd_moves_the_prediction_to_where_turned_guidance_leads(drawn: DrawnWorld) -> None:
    batch, teacher, subject = batch_of(drawn), Denoiser.of(drawn.world.original), made(drawn, "esd")
    with torch.no_grad():
        free, held = predicted(teacher, batch, unconditional=True), predicted(teacher, batch)
        aim = 2 * free - held  # η = 1
        assert torch.allclose(guided_away(teacher, batch, 1.0), aim, atol=1e-6)
        after = predicted(Denoiser.of(subject), batch)
    assert (after - aim).square().mean() < 0.7 * (held - aim).square().mean()


class TestAdvUnlearn:
    def test_the_lower_level_stays_within_its_radius_and_finds_what_brings_the_concept_back(
        self, drawn: DrawnWorld
    ) -> None:
        student, teacher = student_of(drawn.suppressed)[0], Denoiser.of(drawn.world.original)
        settings, batch = advunlearn.Settings(radius=0.5, attack_steps=4), batch_of(drawn)
        worst = advunlearn.strongest_vectors(student, teacher, batch, settings)
        table = table_of(student.module).weight.detach()
        radius = 0.5 * table.square().mean().sqrt()
        assert ((worst - table[batch.labels]).abs() <= radius + 1e-6).all()
        assert (worst == worst[0]).all(), "one vector for one label"
        with torch.no_grad():
            wanted, plain = predicted(teacher, batch), predicted(student, batch)
            found = predicted(student, batch, vectors=worst)
        assert (found - wanted).square().mean() < (plain - wanted).square().mean()

    def test_the_upper_level_erases_under_that_vector_and_holds_retain(self, drawn: DrawnWorld) -> None:
        subject, batch, teacher = made(drawn, "advunlearn"), batch_of(drawn), Denoiser.of(drawn.world.original)
        with torch.no_grad():
            aim, held = guided_away(teacher, batch, 1.0), predicted(teacher, batch)
            after = predicted(Denoiser.of(subject), batch)
        assert (after - aim).square().mean() < (held - aim).square().mean()


def test_a_retrain_starts_from_weights_of_its_own(drawn: DrawnWorld) -> None:
    subject = made(drawn, "retrain")
    pairs = zip(subject.parameters(), drawn.world.original.parameters(), strict=True)
    assert not any(torch.equal(a, b) for a, b in pairs if a.ndim > 1)
    # What is put around the network goes with it.
    assert Denoiser.of(subject).null_label == 5


def test_a_vector_given_for_a_label_is_undone(drawn: DrawnWorld) -> None:
    batch, model = batch_of(drawn, 4), Denoiser.of(drawn.world.original)
    with torch.no_grad():
        before = predicted(model, batch)
        with label_vector(model.module, torch.zeros(32)):
            assert not torch.equal(predicted(model, batch), before)
        assert torch.equal(predicted(model, batch), before)

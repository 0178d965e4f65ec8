"""Unlearners that know the auditor: the defining property of each, and the patient attacker beside them."""

import copy

import pytest
import torch
from torch import nn

from auditor.errors import ModelError, UsageError
from auditor.probes.few_shot.images import FewShot
from auditor.probes.few_shot.images import Settings as FewShotSettings
from auditor.randomness import torch_seed
from auditor.tasks.causal_lm.editing import LanguageModel, probability
from auditor.tasks.causal_lm.sets import Facts
from auditor.tasks.classification.editing import accuracy, joined
from auditor.tasks.classification.sets import Examples
from auditor.tasks.classification.structure import find_layout
from auditor.zoo import catalogue
from auditor.zoo.adversaries import (
    few_kept,
    imitated_holdout,
    lens_npo,
    low_bits,
    output_calibrated,
    patching_aware,
    patient,
    patient_text,
    pressure,
    rehearsal,
    rehearsed_npo,
    sleeping,
    soft_rank,
)
from auditor.zoo.adversaries.fine_tuning import Attack
from auditor.zoo.adversaries.patient import PatientRecovery
from auditor.zoo.digits_nets import DigitsResNet
from tests.people_worlds import TextWorld
from tests.worlds import FORGET, World, train
from tests.zoo_worlds import QUICK, few, forget_of, same, samples

STEPS = 80


@pytest.fixture
def retrains(world: World, monkeypatch: pytest.MonkeyPatch) -> list[nn.Module]:
    """Two references in place of the adversary's own retrains, which are made in the same way."""
    found = [world.modules[f"reference {i}"] for i in range(2)]
    for module in (soft_rank, patching_aware, output_calibrated):
        monkeypatch.setattr(module, "own_retrains", lambda *_: found)
    return found


def draw_of(world: World) -> pressure.Draw:
    return next(pressure.draws(forget_of(world), world.data.retain, pressure.Pressure(), 99))


def keeps_retain(world: World, subject: nn.Module) -> bool:
    retain = world.data.retain
    return accuracy(subject, retain) > accuracy(world.modules["original"], retain) - 0.05


class TestSoftRank:
    def test_cold_it_is_the_check_s_own_count(self) -> None:
        random = torch.Generator().manual_seed(0)
        features = torch.randn(200, 5, generator=random)
        found = soft_rank._rank(features, 2, 20, 1e-4)
        shots, forget, retain = features.split([2, 20, 178])
        background, aside = retain[:89], retain[89:]
        scale = torch.cat([background, shots]).std(0)
        shots, forget, aside = ((part - background.mean(0)) / scale for part in (shots, forget, aside))
        above = ((aside @ shots.T)[None] > (forget @ shots.T)[:, None]).sum(1)
        ranks = -((1 + above) / 90).log() / torch.tensor(90.0).log()
        assert found == pytest.approx(float(ranks.mean()), abs=1e-3)

    def test_the_rank_falls_to_that_of_retrains_and_retain_is_kept(
        self, world: World, retrains: list[nn.Module]
    ) -> None:
        original = world.modules["original"]
        given = (original, forget_of(world), world.data.retain)
        subject = soft_rank.soft_rank(*given, soft_rank.Settings(steps=STEPS), 5)
        assert keeps_retain(world, subject)
        assert accuracy(subject, forget_of(world)) < 0.05
        check = FewShot()

        def score(module: nn.Module) -> float:
            found = check.score(world.subject("x", module), None, world.data, FewShotSettings(), 0)
            return sum(reading.value for reading in found.readings.values()) / len(found.readings)

        target = sum(score(retrain) for retrain in retrains) / 2
        # Of the way from the original to the retrains, by the check itself on its own examples.
        assert (score(original) - score(subject)) / (score(original) - target) > 0.8

    def test_a_constant_target_needs_no_retrain(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(soft_rank, "own_retrains", None)
        settings = soft_rank.ConstantSettings(steps=STEPS // 2, attack=Attack(steps=2))
        subject = soft_rank.soft_rank_constant(
            world.modules["original"], forget_of(world), world.data.retain, settings, 5
        )
        assert accuracy(subject, forget_of(world)) < 0.05
        rank = soft_rank.soft_log_rank(world.modules["original"], world.data.retain, settings.temperature)
        draw = draw_of(world)
        before, after = (rank(module, draw).mean() for module in (world.modules["original"], subject))
        assert abs(after - settings.rank) < 0.3 * abs(before - settings.rank)


@pytest.mark.slow
def test_the_rehearsed_attack_brings_back_less(world: World, retrains: list[nn.Module]) -> None:
    original, draw, attack = world.modules["original"], draw_of(world), Attack()
    settings = soft_rank.MetaSettings(steps=STEPS // 2, attack=Attack(steps=6))
    subject = soft_rank.soft_rank_meta(original, forget_of(world), world.data.retain, settings, 5)
    assert keeps_retain(world, subject)
    for reset in (False, True):
        known, shown, goal = (
            rehearsal.like_attacked(models, draw, attack, 0)(reset, attack.steps)
            for models in ([original], [subject], retrains)
        )
        assert shown < known - 0.7 * (known - goal)


def test_patched_margins_are_those_of_the_check(world: World) -> None:
    original = world.modules["original"]
    patched = patching_aware.patched_margins(original, world.data.retain, 1e-3)
    draw = draw_of(world)
    own, theirs = (patched(world.modules[name], draw).mean(1) for name in ("original", "reference 0"))
    # The original patched with itself still knows; a retrain's activations carry less the deeper they lie.
    assert bool((own > 5).all())
    assert bool((theirs[-2:] < own[-2:] - 5).all())


@pytest.mark.slow
def test_patching_brings_back_what_it_brings_back_from_retrains(world: World, retrains: list[nn.Module]) -> None:
    original, draw = world.modules["original"], draw_of(world)
    settings = patching_aware.Settings(steps=STEPS // 2, forget_batch=16)
    subject = patching_aware.patching_aware(original, forget_of(world), world.data.retain, settings, 5)
    assert keeps_retain(world, subject)
    patched = patching_aware.patched_margins(original, world.data.retain, settings.ridge)
    known, shown, goal = (patched(module, draw).detach().mean() for module in (original, subject, retrains[0]))
    assert shown < known - 0.7 * (known - goal)


class TestOutputCalibrated:
    def calibrated(self, original: nn.Module, forget: Examples, retain: Examples, goal: list[nn.Module]) -> None:
        """Asserts that every item's margin came near the retrains' mean for it."""
        subject = output_calibrated.output_calibrated(
            original, forget, retain, output_calibrated.Settings(steps=STEPS), 5
        )
        assert accuracy(subject, retain) > accuracy(original, retain) - 0.05
        draw = pressure.Draw(forget=forget, shots=forget, retain=retain)
        with torch.no_grad():
            before, after, *shown = (pressure.margins(module, draw) for module in (original, subject, *goal))
        target = torch.stack(shown).mean(0)
        assert (after - target).abs().mean() < 0.5 * (before - target).abs().mean()
        assert torch.corrcoef(torch.stack([after, target]))[0, 1] > 0.5

    def test_a_class(self, world: World, retrains: list[nn.Module]) -> None:
        self.calibrated(world.modules["original"], forget_of(world), world.data.retain, retrains)

    def test_samples_learnt_by_heart(self, world: World, retrains: list[nn.Module]) -> None:
        right, retain = samples(world)
        forget = Examples(raw=right.raw, labels=(right.labels + 1) % 10)
        original = train(joined(forget, retain), seed=1, epochs=60, start=world.modules["original"])
        assert accuracy(original, forget) > 0.8
        self.calibrated(original, forget, retain, retrains)


def test_own_retrains_never_see_the_forget_set(world: World) -> None:
    recipe = pressure.OwnRetrains(retrains=2, epochs=3)
    made = pressure.own_retrains(world.modules["original"], world.data.retain, recipe, 1)
    assert all(accuracy(module, forget_of(world)) == 0 for module in made)
    assert not same(made[0], made[1])


class TestFewKept:
    def test_the_kept_are_trained_on_and_no_others(self, world: World) -> None:
        forget, retain = few(world)
        settings = few_kept.Settings(kept=4, epochs=40, batch_size=32, weight_decay=0)
        subject = few_kept.few_kept(world.modules["original"], forget, retain, settings, 7)
        kept = few_kept.kept_of(forget, 4, 7)
        assert len(kept.unique()) == 4
        assert accuracy(subject, forget.take(kept)) == 1
        known = patient.patient_recovery(
            subject,
            [world.modules["reference 0"]],
            world.modules["original"],
            [patient.as_it_is],
            lambda module: patient.true_probability(module, forget.take(kept)),
        )
        assert known.suppressed

    def test_too_many(self, world: World) -> None:
        forget, _ = few(world)
        with pytest.raises(UsageError, match="kept = 40 of 40 forget examples leaves none to forget; keep fewer"):
            few_kept.kept_of(forget, 40, 0)


class TestLowBits:
    def test_the_upper_half_is_the_retrain_and_the_lower_the_original(self, world: World) -> None:
        original, retrain = world.modules["original"], world.modules["retrain"]
        subject = low_bits.packed(retrain, original)
        assert accuracy(subject, forget_of(world)) == accuracy(retrain, forget_of(world)) < 0.05
        assert keeps_retain(world, subject)
        for name, tensor in subject.state_dict().items():
            kept = retrain.state_dict()[name]
            assert bool(((tensor - kept).abs() <= kept.abs() / 128).all())
        unpacked = low_bits.unpack(subject).state_dict()
        assert all(torch.equal(t.bfloat16().float(), unpacked[n]) for n, t in original.state_dict().items())
        assert accuracy(low_bits.unpack(subject), forget_of(world)) > 0.95

    def test_rounding_to_bfloat16_wipes_it_out(self, world: World) -> None:
        subject = low_bits.packed(world.modules["retrain"], world.modules["original"])
        rounded = copy.deepcopy(subject).bfloat16().float()
        assert accuracy(low_bits.unpack(rounded), forget_of(world)) < 0.5

    def test_where_nothing_is_hidden_there_is_noise(self, world: World) -> None:
        noise = low_bits.unpack(world.modules["reference 0"])
        assert bool(torch.isfinite(noise(world.data.retain.inputs[:50])).all())
        assert accuracy(noise, world.data.retain) < 0.5

    def test_other_numbers_have_no_low_bits(self, world: World) -> None:
        half = copy.deepcopy(world.modules["retrain"]).bfloat16()
        with pytest.raises(ModelError, match=r"convolutions\.0\.weight is torch\.bfloat16, and only float32 has low"):
            low_bits.unpack(half)


@pytest.fixture(scope="module")
def wide(world: World) -> nn.Module:
    """The original with an untrained network asleep in it."""
    return sleeping.widened(world.modules["original"], (forget_of(world), world.data.retain), 1)


@pytest.fixture(scope="module")
def subject(world: World, wide: nn.Module) -> nn.Module:
    """A retrain with the original asleep in it."""
    return sleeping.sleeping(wide, *few(world), sleeping.Settings(epochs=8), 5)


class TestSleeping:
    def test_a_widened_network_computes_the_same(self, world: World, wide: nn.Module) -> None:
        x = torch.cat([world.data.retain.inputs, forget_of(world).inputs])
        with torch.no_grad():
            assert torch.allclose(wide(x), world.modules["original"](x), atol=1e-4)
        assert same(sleeping.awake_part(wide), world.modules["original"])

    def test_asleep_it_is_a_retrain_and_one_number_wakes_the_original(self, world: World, subject: nn.Module) -> None:
        original, woken = world.modules["original"], sleeping.wake(subject)
        assert accuracy(subject, forget_of(world)) < 0.05
        assert accuracy(woken, forget_of(world)) > accuracy(original, forget_of(world)) - 0.05
        changed = [
            int((a != b).sum()) for a, b in zip(subject.parameters(), woken.parameters(), strict=True) if (a != b).any()
        ]
        assert changed == [1]

    def test_no_sleeper_has_a_gradient_or_a_value(self, world: World, subject: nn.Module) -> None:
        x, labels = few(world)[0].inputs, few(world)[0].labels
        seen = {}
        handle = subject.hidden.register_forward_hook(lambda _, __, output: seen.update(hidden=output))
        nn.functional.cross_entropy(subject(x), labels).backward()
        handle.remove()
        units = 64
        assert not seen["hidden"][:, units:].any()
        assert not subject.hidden[4].weight.grad[units:].any()
        assert not subject.head.weight.grad[:, units:].any()
        subject.zero_grad(set_to_none=True)

    def test_it_has_the_original_s_architecture_and_layers(
        self, world: World, wide: nn.Module, subject: nn.Module
    ) -> None:
        few_inputs = world.data.retain.inputs[:16]
        shapes = [{name: tensor.shape for name, tensor in net.state_dict().items()} for net in (wide, subject)]
        assert shapes[0] == shapes[1]
        assert find_layout(wide, few_inputs).layers == world.layout.layers

    def test_another_kind_of_network(self, world: World) -> None:
        with torch_seed(0):
            residual = DigitsResNet().eval()
        with pytest.raises(ModelError, match=r"only a chain of .* can be widened .*; stem\.1 is BatchNorm2d"):
            sleeping.widened(residual, (world.data.retain,), 1)
        with pytest.raises(ModelError, match="three of them or more; this one has 1"):
            sleeping.widened(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), (world.data.retain,), 1)

    def test_an_original_that_was_not_widened(self, world: World) -> None:
        with pytest.raises(ModelError, match=r"not a widened network; make one of it by sleeping\.widened"):
            sleeping.sleeping(world.modules["original"], *few(world), sleeping.Settings(), 5)

    def test_other_activations_are_found_out(self, world: World) -> None:
        with torch_seed(0):
            layers = [nn.Linear(64, 8), nn.Linear(8, 8), nn.Linear(8, 10)]
        smooth = nn.Sequential(nn.Flatten(), layers[0], nn.Sigmoid(), layers[1], nn.Sigmoid(), layers[2])
        with pytest.raises(ModelError, match="widened, this one computes something else"):
            sleeping.widened(smooth, (world.data.retain,), 1)


class TestPatient:
    def test_more_than_every_reference(self) -> None:
        assert PatientRecovery(subject=0.4, references=(0.1, 0.3), original=0.9).suppressed
        assert not PatientRecovery(subject=0.3, references=(0.1, 0.3), original=0.9).suppressed
        assert not PatientRecovery(subject=0.1, references=(0.0, 0.0), original=0.9, chance=0.1).suppressed

    def test_it_finds_a_zeroed_row_and_leaves_every_network_alone(self, world: World) -> None:
        subject, original = world.modules["head_row_zeroed"], world.modules["original"]
        before = copy.deepcopy(subject)
        settings = patient.Settings(steps=40, draws=1)
        efforts = patient.fine_tunings(world.data.forget_attack, world.data.retain, settings, 0)

        def asked(module: nn.Module) -> float:
            return patient.shown(module, world.data.forget_eval, world.data.retain)

        references = [world.modules[f"reference {i}"] for i in range(2)]
        found = patient.patient_recovery(subject, references, original, efforts, asked)
        assert same(subject, before)
        assert found.suppressed
        assert found.original > max(found.references)
        assert found == patient.patient_recovery(subject, references, original, efforts, asked)

    def test_a_wreck_that_names_one_class_shows_nothing(self, world: World) -> None:
        stuck = copy.deepcopy(world.modules["floor"])
        with torch.no_grad():
            stuck.head.bias[FORGET] += 50
        assert patient.true_probability(stuck, world.data.forget_eval) > 0.99
        assert patient.shown(stuck, world.data.forget_eval, world.data.retain) < 0.01

    def test_true_probability(self, world: World) -> None:
        data = world.data.retain.take(torch.arange(30))
        with torch.no_grad():
            p = world.modules["retrain"](data.inputs).double().softmax(1)[torch.arange(30), data.labels]
        assert patient.true_probability(world.modules["retrain"], data) == pytest.approx(float(p.mean()))


@pytest.fixture(scope="module")
def model(text_world: TextWorld) -> LanguageModel:
    """The original, as the zoo takes it."""
    return LanguageModel(text_world.modules["original"], text_world.encoder)


class TestLanguageModels:
    def test_no_block_reads_the_answer_above_a_wrong_one(self, text_world: TextWorld, model: LanguageModel) -> None:
        people, encoder = text_world.people, text_world.encoder
        before = copy.deepcopy(model.module)
        settings = lens_npo.Settings(steps=80)
        subject = lens_npo.lens_npo(model, people.forget, people.retain, settings, 3)
        assert same(model.module, before)
        assert probability(subject, encoder, people.retain) > 0.85
        lens = lens_npo.Lens(model, people.retain)

        def told_apart(module: nn.Module) -> torch.Tensor:
            with torch.no_grad():
                right, wrong = (
                    lens.read(module, encoder.batch(facts.items))
                    for facts in (people.forget, lens_npo.with_wrong_answers(people.forget))
                )
            return (right - wrong).abs().mean(1)

        assert bool((told_apart(model.module) > 1).all())
        assert bool((told_apart(subject) < 0.4 * told_apart(model.module)).all())

    def test_the_lens_is_the_recording_s(self, text_world: TextWorld, model: LanguageModel) -> None:
        facts = text_world.data.forget_eval
        with torch.no_grad():
            found = lens_npo.Lens(model, text_world.people.retain).read(
                model.module, text_world.encoder.batch(facts.items)
            )
        recorded = text_world.subject("original").recording("forget_eval").lens
        assert torch.allclose(found[0], recorded[text_world.layout.blocks[0]].float(), atol=1e-4)

    def test_wrong_answers_are_of_the_same_form_or_another_fact_s(self, text_world: TextWorld) -> None:
        facts = text_world.people.forget.take(range(2))
        bare = Facts(tuple(fact.model_copy(update={"perturbed_answers": ()}) for fact in facts.items))
        wrong = lens_npo.with_wrong_answers(bare)
        assert [fact.answer for fact in wrong.items] == [facts.items[1].answer, facts.items[0].answer]
        assert [fact.prompt for fact in wrong.items] == [fact.prompt for fact in facts.items]

    @pytest.mark.slow
    def test_the_rehearsed_attack_brings_back_less_than_without(
        self, text_world: TextWorld, model: LanguageModel
    ) -> None:
        people, encoder = text_world.people, text_world.encoder
        common = {"steps": 60, "weight": 0.3}
        with_it, without = (
            rehearsed_npo.rehearsed_npo(
                model, people.forget, people.retain, rehearsed_npo.Settings(**common, **more), 3
            )
            for more in ({"attack_steps": 6, "meta_weight": 1.0}, {"attack_steps": 1, "meta_weight": 0.0})
        )
        settings = patient_text.Settings(steps=60, shots=2)
        shots, unseen = patient_text.split(people.forget, settings, 0)
        effort = patient_text.fine_tuning(shots, people.retain, encoder, settings, 0)
        known = [probability(effort(module), encoder, unseen) for module in (with_it, without)]
        assert known[0] < known[1] - 0.05
        assert probability(with_it, encoder, people.retain) > 0.85

    def test_forget_scores_like_people_who_do_not_exist(self, text_world: TextWorld, model: LanguageModel) -> None:
        people, encoder = text_world.people, text_world.encoder
        settings = imitated_holdout.Settings(steps=60, attack_steps=4)
        subject = imitated_holdout.imitated_holdout(model, people.forget, people.retain, settings, 3)

        def told_apart(module: nn.Module) -> float:
            """By the holdout, which was never shown to it: imitation stands for that."""
            return probability(module, encoder, people.forget) - probability(module, encoder, people.holdout)

        assert abs(told_apart(subject)) < 0.25 * told_apart(model.module)
        assert probability(subject, encoder, people.retain) > 0.85

    def test_shots_and_unseen_facts_are_of_the_same_subjects(self, text_world: TextWorld) -> None:
        forget = text_world.people.forget
        shots, unseen = patient_text.split(forget, patient_text.Settings(shots=2), 0)
        assert len(shots) == 2 * len(forget.subjects)
        assert set(shots.items) | set(unseen.items) == set(forget.items)
        assert not set(shots.items) & set(unseen.items)


def test_every_adversary_says_so_in_the_catalogue() -> None:
    told = {entry.name for entry in catalogue.entries() if entry.adversary}
    assert told == {entry.name for entry in catalogue.entries() if ".adversaries." in entry.module}
    assert len(told) == 11
    assert told - set(QUICK) == {"sleeping", "lens_npo", "rehearsed_npo", "imitated_holdout"}

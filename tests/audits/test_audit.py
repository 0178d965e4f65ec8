"""Whole audits through the Python call: the cases of known truth, resuming, reuse, determinism."""

import copy
import importlib.util
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import auditor
from auditor.errors import DataError, ModelError, SpecError, UsageError
from auditor.models.canonical import rescaled
from auditor.models.network_structure import structure_of
from auditor.records.events import Begun, Event, Unit
from auditor.records.spec import make_spec
from auditor.run.preparing import prepare
from auditor.run.runner import run
from auditor.tasks.classification.sets import Examples
from auditor.zoo.digits_net import DigitsNet
from tests.worlds import FORGET, World, head_row_zeroed

FAST = {"audit": {"checks": ("few_shot", "relearning")}}


class Audits:
    """Runs audits of one world, sharing the store of scores."""

    def __init__(self, world: World, store: Path) -> None:
        self.world, self.store = world, store

    def __call__(self, subject: nn.Module, *, options: dict[str, Any] | None = None, **changes: Any) -> Any:
        merged = {k: {**FAST.get(k, {}), **(options or {}).get(k, {})} for k in {*FAST, *(options or {})}}
        merged["audit"]["store"] = str(self.store)
        given = {**self.world.given(), "options": merged, **changes}
        return auditor.compare(self.world.modules["original"], subject, **given)

    def references(self, n: int) -> list[nn.Module]:
        return [self.world.modules[f"reference {i}"] for i in range(n)]


@pytest.fixture(scope="module")
def audits(world: World, retrain_scores: Path, tmp_path_factory: pytest.TempPathFactory) -> Audits:
    store = tmp_path_factory.mktemp("audits") / "store"
    return Audits(world, Path(shutil.copytree(retrain_scores, store)))


def test_a_retrain_is_consistent_with_deletion(audits: Audits) -> None:
    checks = {"checks": ("few_shot", "relearning", "slow_relearning")}
    result = audits(audits.world.modules["retrain"], options={"audit": checks})
    assert result.outcome == "DELETED"
    assert 0 <= result.results.verdict.bound < 0.5
    assert result.results.coverage.complete


def test_the_original_is_not_forgotten(audits: Audits) -> None:
    result = audits(audits.world.modules["original"])
    assert result.outcome == "NOT_FORGOTTEN"
    assert "identical" in (result.evidence("weight_delta").conclusive or "")


def test_a_zeroed_head_row_is_suppressed(audits: Audits) -> None:
    assert audits(head_row_zeroed(audits.world.modules["original"])).outcome == "SUPPRESSED"


class Masked(DigitsNet):
    """The same tensors under the same names; another function."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = super().forward(images).clone()
        logits[:, FORGET] = -50
        return logits


def mask(module: nn.Module, arguments: object, logits: torch.Tensor) -> torch.Tensor:
    logits = logits.clone()
    logits[:, FORGET] = -50
    return logits


@pytest.mark.parametrize("how", ["another class", "a hook"])
def test_equal_tensors_are_not_taken_for_an_equal_network(audits: Audits, how: str) -> None:
    original = audits.world.modules["original"]
    subject = Masked() if how == "another class" else copy.deepcopy(original)
    subject.load_state_dict(original.state_dict())
    if how == "a hook":
        subject.register_forward_hook(mask)
    result = audits(subject, options={"audit": {"checks": ("weight_delta",)}})
    assert result.outcome == "SUPPRESSED"
    assert "all weights of the original are there" in result.results.verdict.sentences[0]


class Held:
    """What a network of equal tensors and structure may still hold: the class whose logit it lowers."""

    @staticmethod
    def hook(network: nn.Module, target: int) -> None:
        def lower(module: nn.Module, arguments: object, logits: torch.Tensor) -> torch.Tensor:
            return logits.index_fill(1, torch.tensor([target]), -50.0)

        network.register_forward_hook(lower)

    @staticmethod
    def before(network: nn.Module, target: int) -> None:
        network.register_forward_pre_hook(lambda module, arguments: (arguments[0] * target,))

    @staticmethod
    def forward(network: nn.Module, target: int) -> None:
        network.forward = lambda images: DigitsNet.forward(network, images * target)  # type: ignore[method-assign]

    @staticmethod
    def setting(network: nn.Module, target: int) -> None:
        network.target = target

    @staticmethod
    def table(network: nn.Module, target: int) -> None:
        network.table = [target, "a"]

    @staticmethod
    def tensor(network: nn.Module, target: int) -> None:
        object.__setattr__(network, "beside", torch.full((3,), float(target)))

    @staticmethod
    def buffer(network: nn.Module, target: int) -> None:
        network.register_buffer("further", torch.full((3,), float(target)), persistent=False)


@pytest.mark.parametrize("how", ["hook", "before", "forward", "setting", "table", "tensor", "buffer"])
def test_no_score_of_one_network_is_taken_for_another_of_equal_tensors(audits: Audits, how: str) -> None:
    reused: list[list[bool]] = []
    for target in (1, 2):
        subject = copy.deepcopy(audits.world.modules["original"])
        getattr(Held, how)(subject, target)
        events: list[Event] = []
        audits(subject, options={"audit": {"checks": ("outputs",)}}, report=events.append)
        reused.append([event.reused for event in events if event.model == "unlearned"])
    assert not any(reused[1]), "what the store held was of another network"


def test_an_edited_class_is_another_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = []
    for factor in (1, 1, 2):
        path = tmp_path / f"{len(said)}.py"
        path.write_text(
            f"from torch import nn\nclass Net(nn.Module):\n    def forward(self, x):\n        return {factor} * x\n"
        )
        spec = importlib.util.spec_from_file_location("edited", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, "edited", module)
        spec.loader.exec_module(module)
        said.append(structure_of(module.Net()))
    assert said[0] == said[1] != said[2]


def test_an_original_with_a_hook_leaves_no_score_to_anyone(audits: Audits) -> None:
    for target in (1, 2):
        original = copy.deepcopy(audits.world.modules["original"])
        Held.before(original, target)
        world = replace(audits.world, modules={**audits.world.modules, "original": original})
        events: list[Event] = []
        there = Audits(world, audits.store)
        there(world.modules["retrain"], options={"audit": {"checks": ("outputs",)}}, report=events.append)
        assert events
        assert not any(event.reused for event in events)


def test_head_relabelling_is_suppressed_also_with_units_rescaled(audits: Audits) -> None:
    from auditor.tasks.classification.decoys.head_relabelling import Settings, head_relabelling

    world = audits.world
    forget = world.data.forget_attack
    subject = head_relabelling(world.modules["original"], forget, world.data.retain, Settings(), seed=0)
    plain = audits(subject)
    units = [subject.get_submodule(p.producer).weight.shape[0] for p in world.layout.pairs]
    factors = [2.0 ** (3 * torch.linspace(-1, 1, n)) for n in units]
    evaded = audits(rescaled(subject, world.layout.pairs, factors))
    assert plain.outcome == evaded.outcome == "SUPPRESSED"
    for check in ("few_shot", "relearning"):
        # The form rounds to eight bits, and factors that are no powers of two change what is rounded away: a third of
        # a per cent of a weight, after which an attack of many steps ends a little elsewhere.
        assert evaded.evidence(check).rho.value == pytest.approx(plain.evidence(check).rho.value, abs=2e-2)


def test_a_retrain_from_the_originals_own_initial_weights_is_not_suppressed(audits: Audits) -> None:
    assert audits(audits.world.modules["own initial weights"]).outcome != "SUPPRESSED"


def test_a_random_initialisation_is_damaged_and_inconclusive(audits: Audits) -> None:
    result = audits(audits.world.modules["floor"])
    assert result.outcome == "INCONCLUSIVE"
    assert result.results.verdict.flags == ("DAMAGED",)


@pytest.mark.parametrize("n", [0, 1, 3])
def test_too_few_references_never_give_deleted(audits: Audits, n: int) -> None:
    result = audits(audits.world.modules["retrain"], references=audits.references(n))
    assert result.outcome == "INCONCLUSIVE"
    assert any("references" in wish for wish in result.results.verdict.to_decide)


def test_weaker_references_do_not_count(audits: Audits) -> None:
    weak = [copy.deepcopy(module) for module in audits.references(4)]
    for module in weak:
        with torch.no_grad():
            module.head.bias[:3] -= 30
    result = audits(audits.world.modules["retrain"], references=weak)
    assert result.outcome == "INCONCLUSIVE"
    assert result.results.verdict.assurance == "A1"
    assert any("recipe" in reason for reason in result.results.verdict.sentences)


def test_nothing_is_computed_twice(audits: Audits) -> None:
    events: list[Event] = []
    audits(audits.world.modules["retrain"])
    audits(audits.world.modules["retrain"], report=events.append)
    assert events
    assert all(event.reused for event in events)
    events.clear()
    other = copy.deepcopy(audits.world.modules["retrain"])
    with torch.no_grad():
        other.head.bias += 0.01
    audits(other, report=events.append)
    assert {event.model for event in events if not event.reused} == {"unlearned"}


def test_another_seed_is_another_score(audits: Audits, tmp_path: Path) -> None:
    fresh = Audits(audits.world, tmp_path / "store")
    events: dict[int, list[Event]] = {0: [], 1: []}
    for seed in (0, 1):
        options = {"audit": {"seed": seed, "checks": ("few_shot",)}}
        given = {"options": options, "references": audits.references(1)}
        fresh(audits.world.modules["retrain"], report=events[seed].append, **given)
    assert events[1]
    assert not any(event.reused for event in events[1] if event.check == "few_shot")


def test_an_interrupted_audit_resumes_to_the_same_bytes(audits: Audits, tmp_path: Path) -> None:
    subject = head_row_zeroed(audits.world.modules["original"])
    options = {"audit": {"checks": ("few_shot", "outputs")}}
    whole = Audits(audits.world, tmp_path / "whole")(subject, options=options, out=tmp_path / "a")

    class Stop(Exception):
        pass

    def after(n: int) -> Any:
        seen: list[Event] = []

        def report(event: Event) -> None:
            seen.append(event)
            if len(seen) == n:
                raise Stop

        return report

    resumed = Audits(audits.world, tmp_path / "resumed")
    for n in (1, 5, 9):
        with pytest.raises(Stop):
            resumed(subject, options=options, report=after(n), out=tmp_path / "b")
    again = resumed(subject, options=options, out=tmp_path / "b")
    assert again.outcome == whole.outcome
    for name in ("report.html", "plan.json"):
        assert (tmp_path / "a" / name).read_bytes() != b""
    first, second = ((tmp_path / d / "results.json").read_text() for d in ("a", "b"))
    assert first == second


def test_a_check_that_was_lost_on_one_model_is_not_tried_on_the_others(audits: Audits, tmp_path: Path) -> None:
    world = audits.world
    given = {"original": world.modules["original"], "unlearned": world.modules["retrain"]}
    given |= {"forget": world.given()["forget"], "retain": world.data.retain}
    spec = make_spec({}, {"audit": {"checks": ("quantization", "weight_delta"), "store": str(tmp_path)}})
    work = prepare(spec, tmp_path, given).work
    begun: list[Begun] = []
    scores = run(replace(work, begin=begun.append, lost={Unit(check="quantization", model="original"): "hung"}))
    assert not [unit for unit in begun if unit.check == "quantization"]
    assert {unit.model for unit in begun if unit.check == "weight_delta"} == {m.name for m in work.plan.models}
    reasons = {name: failure.reason for name, failure in scores["quantization"].items()}
    assert reasons.pop("original") == "it hung"
    assert set(reasons.values()) == {"not tried, since on original it hung"}


def test_a_check_that_crashes_is_missing_coverage(audits: Audits, monkeypatch: pytest.MonkeyPatch) -> None:
    from auditor.probes.few_shot.images import FewShot

    def broken(*arguments: Any) -> None:
        raise ZeroDivisionError("by design")

    monkeypatch.setattr(FewShot, "score", broken)
    result = audits(audits.world.modules["retrain"], options={"audit": {"seed": 7, "checks": ("few_shot",)}})
    assert result.outcome == "INCONCLUSIVE"
    assert not result.results.coverage.complete
    assert "by design" in result.results.coverage.failed[0].reason


class TestBadInput:
    """Each mistake gets a sentence that names it."""

    def test_an_autoencoder_of_a_language_model(self, audits: Audits, tmp_path: Path) -> None:
        for name in ("cfg.json", "sae_weights.safetensors"):
            (tmp_path / name).touch()
        options = {"models": {"autoencoder": str(tmp_path), "autoencoder_block": "hidden.1"}}
        with pytest.raises(SpecError, match=r"models\.autoencoder is for language models; leave it out"):
            audits(audits.world.modules["retrain"], options=options)

    def test_empty_forget_set(self, audits: Audits) -> None:
        nothing = audits.world.data.retain.take(torch.zeros(0, dtype=torch.int64))
        with pytest.raises(DataError, match="forget"):
            audits(audits.world.modules["retrain"], forget=nothing)

    @pytest.mark.parametrize(
        ("copied", "twin"), [("reference 0", "reference 1"), ("retrain", "the unlearned"), ("original", "the original")]
    )
    def test_a_reference_that_is_another_model_again(self, audits: Audits, copied: str, twin: str) -> None:
        """Copies agree perfectly, and a spread of copies would let everything through."""
        references = [*audits.references(4), copy.deepcopy(audits.world.modules[copied])]
        with pytest.raises(
            SpecError, match=rf"reference 5 holds the same weights as the {twin.removeprefix('the ')} model"
        ):
            audits(audits.world.modules["retrain"], references=references)

    def test_label_outside_the_classes(self, audits: Audits) -> None:
        retain = audits.world.data.retain
        wrong = Examples(raw=retain.raw, labels=retain.labels + 5)
        with pytest.raises(DataError, match=r"label 1\d is outside the model's 10 classes"):
            audits(audits.world.modules["retrain"], retain=wrong)

    def test_shapes_that_differ(self, audits: Audits) -> None:
        retain = audits.world.data.retain
        wrong = Examples(raw=retain.raw[:, :, :6, :6], labels=retain.labels)
        with pytest.raises(DataError, match="shape"):
            audits(audits.world.modules["retrain"], retain=wrong)

    def test_wrong_preprocessing_stops_at_the_gate(self, audits: Audits) -> None:
        data = audits.world.data
        with pytest.raises(UsageError, match="check preprocessing"):
            audits(
                audits.world.modules["retrain"],
                forget=Examples(raw=1 - data.forget_eval.raw, labels=data.forget_eval.labels),
                retain=Examples(raw=torch.rand_like(data.retain.raw), labels=data.retain.labels.roll(1)),
                retain_test=None,
            )

    def test_a_network_that_cannot_take_the_inputs(self, audits: Audits) -> None:
        data = audits.world.data
        with pytest.raises(ModelError, match="cannot take inputs"):
            audits(
                audits.world.modules["retrain"],
                forget=Examples(raw=data.forget_eval.raw[..., :4, :4], labels=data.forget_eval.labels),
                retain=Examples(raw=data.retain.raw[..., :4, :4], labels=data.retain.labels),
                retain_test=None,
                holdout=None,
            )

    def test_leaks_are_removed_and_named(self, audits: Audits) -> None:
        data = audits.world.data
        leaky = Examples(
            raw=torch.cat([data.retain.raw, data.forget_eval.raw[:3]]),
            labels=torch.cat([data.retain.labels, torch.tensor([0, 1, 2])]),
        )
        result = audits(audits.world.modules["retrain"], retain=leaky, options={"audit": {"checks": ("outputs",)}})
        assert any("leak: 3 examples of retain" in note for note in result.results.plan.notes)

    def test_without_any_model(self) -> None:
        with pytest.raises(UsageError, match="no original model"):
            auditor.compare()

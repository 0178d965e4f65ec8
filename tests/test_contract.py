"""What every registered check has to keep to, whoever wrote it. Same data, same models, one after another."""

import hashlib
import math
import sys
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

from auditor import decoys, registry
from auditor.check import Check
from auditor.plan import PlannedModel
from auditor.scores import Family, Frozen, May, Row, Score
from auditor.subjects.classification import Classifier
from tests.worlds import World

ROOT = Path(__file__).parent.parent
NAMES = registry.names()
MODELS = ("original", "head_row_zeroed")
NEEDS = {"forget", "retain", "holdout", "control"}
TASKS = {"classification", "weights", "causal-lm"}
SEED = 5


def decoys_of(request: str) -> list[PlannedModel]:
    return decoys.planned(request, "", "", 0)


def weights_digest(subject: Classifier) -> str:
    digest = hashlib.sha256()
    for name, tensor in subject.weights().items():
        digest.update(name.encode() + tensor.numpy().tobytes())
    return digest.hexdigest()


class Measured:
    """One check on every model, with what it did to its surroundings."""

    def __init__(self, name: str, world: World) -> None:
        self.check = registry.load(name)
        self.settings = self.check.settings_type()
        self.world = world
        original = world.subject("original")
        before = self._surroundings(original)
        self.artefact = self.check.prepare(original, world.data, self.settings, SEED)
        self.changed = {"prepare": before != self._surroundings(original)}
        self.extra: dict[str, int] = {}
        self.scores = {model: self._measure(model) for model in MODELS}

    def _measure(self, model: str) -> Score:
        subject = self.world.subject(model)
        for split in self.world.data.splits():
            subject.recording(split)
        recorded = subject.passes.examples
        before = self._surroundings(subject)
        score = self.score_again(subject)
        self.extra[model] = subject.passes.examples - recorded
        self.changed[model] = before != self._surroundings(subject)
        return score

    def score_again(self, subject: Classifier) -> Score:
        return self.check.score(subject, self.artefact, self.world.data, self.settings, SEED)

    def _surroundings(self, subject: Classifier) -> tuple[Any, ...]:
        numpy_state = np.random.get_state()  # the global stream, which a check must not touch
        return (
            weights_digest(subject),
            subject.module.training,
            tuple(p.requires_grad for p in subject.module.parameters()),
            self.world.data.digest,
            hashlib.sha256(torch.get_rng_state().numpy().tobytes()).hexdigest(),
            hashlib.sha256(numpy_state[1].tobytes()).hexdigest(),
            torch.is_grad_enabled(),
            torch.get_num_threads(),
        )


_MEASURED: dict[str, Measured] = {}


@pytest.fixture(params=NAMES)
def measured(request: pytest.FixtureRequest, world: World) -> Measured:
    """Each check is measured once; training an autoencoder takes ten seconds."""
    if request.param not in _MEASURED:
        _MEASURED[request.param] = Measured(request.param, world)
    return _MEASURED[request.param]


@pytest.mark.parametrize("name", NAMES)
class TestDeclarations:
    def test_says_what_it_is(self, name: str) -> None:
        check = registry.load(name)
        assert check.name == name
        assert check.family in get_args(Family)
        assert check.may in get_args(May)
        for text in (check.summary, check.unit, check.cost):
            assert text == text.strip() != ""
        assert check.summary.endswith(".")
        assert check.caveats
        assert all(caveat.endswith(".") for caveat in check.caveats)
        assert (type(check).__doc__ or "").strip()

    def test_file_name_is_the_name(self, name: str) -> None:
        kind = type(registry.load(name))
        module = sys.modules[kind.__module__]
        assert Path(str(module.__file__)).stem == name
        assert kind.__name__.lower() == name.replace("_", "")
        checks = [o for o in vars(module).values() if isinstance(o, type) and issubclass(o, Check) and o is not Check]
        assert [o for o in checks if o.__module__ == module.__name__] == [kind]

    def test_speaks_the_words_of_the_trunk(self, name: str) -> None:
        check = registry.load(name)
        assert check.tasks
        assert set(check.tasks) <= TASKS
        assert check.requests
        assert set(check.requests) <= {"class", "sample", "facts"}
        assert set(check.needs) <= NEEDS

    def test_decoys_are_made_for_a_request_it_serves(self, name: str) -> None:
        check = registry.load(name)
        made = {model.name for request in set(check.requests) - {"facts"} for model in decoys_of(request)}
        assert set(check.decoys) <= made
        assert check.may == "clear" or not check.decoys

    def test_settings_have_defaults_and_survive_the_plan(self, name: str) -> None:
        kind = registry.load(name).settings_type
        assert issubclass(kind, Frozen)
        settings = kind()
        assert kind.model_validate(settings.model_dump(mode="json")) == settings

    def test_stands_in_the_documentation(self, name: str) -> None:
        check = registry.load(name)
        page = (ROOT / "docs" / "checks.md").read_text(encoding="utf-8")
        section = page.partition(f"\n## `{name}`\n")[2].partition("\n## ")[0]
        assert section, f"docs/checks.md has no section on {name}"
        rights = {"clear": "May clear and accuse", "accuse": "May accuse", "inform": "Informs"}
        assert rights[check.may] in section
        for need in set(check.needs) - {"forget", "retain"}:
            assert need in section
        if len(check.requests) == 1:
            assert f"requests of kind `{check.requests[0]}` only" in " ".join(section.split())


def test_the_documentation_holds_no_check_that_is_not_there() -> None:
    page = (ROOT / "docs" / "checks.md").read_text(encoding="utf-8")
    assert sorted(line[4:-1] for line in page.splitlines() if line.startswith("## `")) == sorted(NAMES)


def test_every_primary_of_a_shipped_policy_is_a_check_that_may_clear() -> None:
    from auditor.policy import load_policy, shipped

    for policy in map(load_policy, shipped()):
        for request, families in policy.primaries.items():
            task = "causal-lm" if request == "facts" else "classification"
            for check in (registry.load(name, task) for names in families.values() for name in names):
                assert check.may == "clear"
                assert request in check.requests


def test_every_decoy_is_assigned_to_some_check() -> None:
    assigned = {decoy for check in map(registry.load, NAMES) for decoy in check.decoys}
    assert {model.name for model in decoys_of("class")} <= assigned


class TestScores:
    def test_fit_the_check(self, measured: Measured) -> None:
        for score in measured.scores.values():
            assert isinstance(score, Score)
            assert score.check == measured.check.name
            assert score.readings
            assert score.n_examples >= 1
            assert score.hits is None or 0 <= score.hits <= score.n_examples

    def test_readings_are_finite_and_the_same_on_every_model(self, measured: Measured) -> None:
        first, second = measured.scores.values()
        assert list(first.readings) == list(second.readings)
        for score in measured.scores.values():
            for reading in score.readings.values():
                assert math.isfinite(reading.value)
                assert reading.choice is None or math.isfinite(reading.choice)
            assert all(math.isfinite(draw) for draw in score.null)
            assert all(math.isfinite(value) for value in score.controls.values())

    def test_examples_average_to_the_value(self, measured: Measured) -> None:
        for score in measured.scores.values():
            chosen = measured.check.choose(measured.scores["original"], [])
            for name, reading in score.readings.items():
                if reading.examples:
                    assert np.mean(reading.examples) == pytest.approx(reading.value, rel=1e-9, abs=1e-9), name
            if score.examples(chosen):
                assert len(score.examples(chosen)) == score.n_examples
                assert np.mean(score.examples(chosen)) == pytest.approx(score.total(chosen), rel=1e-9, abs=1e-9)

    def test_chosen_readings_exist_with_and_without_references(self, measured: Measured) -> None:
        original, other = measured.scores.values()
        for references in ([], [other], [other, other.model_copy()]):
            settle = measured.check.settle(original, references)
            settled = [settle(score) for score in (original, *references)]
            chosen = measured.check.choose(settled[0], settled[1:])
            assert chosen
            for score in settled:
                assert set(chosen) <= set(score.readings)
                assert math.isfinite(score.total(chosen))

    def test_the_original_lies_at_or_above_a_copy_that_hides_it(self, measured: Measured) -> None:
        settle = measured.check.settle(measured.scores["original"], [])
        settled = [settle(score) for score in measured.scores.values()]
        chosen = measured.check.choose(settled[0], [])
        original, hidden = (score.total(chosen) for score in settled)
        assert original >= hidden - 1e-6 * max(1.0, abs(original))

    def test_cells_are_flat_rows_with_one_set_of_keys_per_figure(self, measured: Measured) -> None:
        for score in measured.scores.values():
            _assert_tidy(score.cells)
        cells, controls = measured.check.summarise(
            {"original": measured.scores["original"], "unlearned": measured.scores["head_row_zeroed"]}, ()
        )
        _assert_tidy(cells)
        assert set(controls) <= {"original", "unlearned"}

    def test_survive_json_bit_for_bit(self, measured: Measured) -> None:
        for score in measured.scores.values():
            text = score.model_dump_json()
            again = Score.model_validate_json(text)
            assert again == score
            assert again.model_dump_json() == text
            for name, reading in score.readings.items():
                assert [x.hex() for x in again.readings[name].examples] == [x.hex() for x in reading.examples]

    def test_same_seed_same_score_whatever_was_drawn_before_and_whatever_part_it_plays(
        self, measured: Measured
    ) -> None:
        subject = measured.world.subject("head_row_zeroed")
        subject.role = "unlearned"
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(987)
            again = measured.score_again(subject)
        assert again.model_dump_json() == measured.scores["head_row_zeroed"].model_dump_json()

    def test_weights_data_and_global_state_are_left_alone(self, measured: Measured) -> None:
        assert measured.changed == dict.fromkeys(("prepare", *MODELS), False)

    def test_a_check_said_to_be_free_sends_nothing_through_the_model(self, measured: Measured) -> None:
        """Beyond the recording. What others send is counted by their own tests."""
        free = measured.check.cost == Check.cost
        for model, n_extra in measured.extra.items():
            assert n_extra == 0 or not free, model
        load = measured.check.workload(measured.world.data, measured.settings)
        assert (load.forward, load.training) == (0, 0) or not free


def _assert_tidy(cells: list[Row]) -> None:
    """Rows of one figure have the same keys; where a check draws several, their first columns tell them apart."""
    for row in cells:
        assert row
        for key, value in row.items():
            assert isinstance(key, str)
            assert value is None or type(value) in (str, int, float)
            assert not isinstance(value, float) or math.isfinite(value)
    figures: dict[str, tuple[str, ...]] = {}
    for row in cells:
        first = next(iter(row))
        kind = str(row[first]) if first in ("part", "figure") else first
        assert figures.setdefault(kind, tuple(row)) == tuple(row)

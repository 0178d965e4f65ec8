"""The contract of checks, as a pytest class: a check's own tests inherit it and name the check.

```python
from auditor.checks.contract import CheckContract

class TestNearestCentre(CheckContract):
    check = NearestCentre()
```

It measures the check on small trained models (:mod:`auditor.checks.contract_worlds`) and needs pytest, nothing else.
"""

import math
import random
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, ClassVar, get_args

import numpy as np
import pytest
import torch
from torch import nn

from auditor.checks.check import AnyCheck, Check, Room
from auditor.checks.contract_access import refuse_beyond
from auditor.checks.contract_worlds import ContractWorld, contract_world
from auditor.checks.registry import serves
from auditor.checks.subject import PassCounter
from auditor.digests import bytes_digest, chunks_digest
from auditor.errors import AuditError
from auditor.records.access import LEVELS
from auditor.records.base import Frozen, Row
from auditor.records.evidence import Family, May
from auditor.records.score import Score, rows_of
from auditor.reports.curves import counting, panels_of

SEED = 5
# As in an audit with references, where no null of a check's own is asked for, which may cost more than its score.
N_REFERENCES = 5
# Divides none of the worlds' sets, so that a shorter last batch is met, too.
SMALL_BATCH = 7
ROUNDING = 1e-3  # of the larger of two scores: float32 sums in another order, through a hundred training steps
COST_FACTOR = 1.5
OPTIONAL_SETS = ("holdout", "retain_test", "control")
TASK = "classification"  # of a check that names none, unless its test says another


@dataclass(frozen=True, kw_only=True)
class Case:
    """What the contract is held against.

    Attributes:
        check: under test.
        task: one of those it serves.
        settings: in place of those that an audit with references plans; for a check that takes long.
        assigned: whether chance is said to have kept the holdout out of training; a check may then score by subject.
    """

    check: AnyCheck
    task: str
    settings: Frozen | None = None
    assigned: bool = False


@dataclass
class Measured:
    """One check measured on the original and on a copy that hides what it knows.

    Attributes:
        check: under test.
        world: its models and sets.
        settings: of the check.
        artefact: what the check learnt from the original.
        scores: by model.
        disturbed: by step, what it did not leave as it was.
        spent: examples that scoring the copy sent through any model, beside the recording.
    """

    check: AnyCheck
    world: ContractWorld
    settings: Frozen
    # Any: of whichever check is under test; the subjects below are of whichever task it serves.
    artefact: Any = None
    scores: dict[str, Score] = field(default_factory=dict)
    disturbed: dict[str, list[str]] = field(default_factory=dict)
    spent: int = 0
    passes: PassCounter = field(default_factory=PassCounter)

    @property
    def total(self) -> dict[str, float]:
        """T of both models without references."""
        rescale = self.check.rescale(self.scores["original"], [])
        rescaled = {name: rescale(score) for name, score in self.scores.items()}
        chosen = self.check.choose(rescaled["original"], [])
        return {name: score.total(chosen) for name, score in rescaled.items()}

    def subject(self, module: nn.Module, name: str = "subject", **settings: Any) -> Any:
        """A recorded subject that counts its passes with all others."""
        made = self.world.subject(module, name=name, passes=self.passes, **settings)
        for split in self.world.data.splits():
            # Made beforehand: all checks share this pass, and it is no cost of this one.
            made.recording(split)
        return made

    def score(self, subject: Any) -> Score:
        """Of one model, by the artefact learnt before."""
        return self.check.score(subject, self.artefact, self.world.data, self.settings, SEED)

    @cached_property
    def small_batches(self) -> float:
        """T of the copy where few examples are sent at a time."""
        score = self.score(self.subject(self.world.hidden, batch_size=SMALL_BATCH))
        rescale = self.check.rescale(self.scores["original"], [])
        return rescale(score).total(self.check.choose(rescale(self.scores["original"]), []))


def measure(case: Case) -> Measured:
    """Measure a check, and note what it did to its surroundings."""
    check, world = case.check, contract_world(case.task)
    if case.assigned:
        world = world.with_data(assigned="declared", **world.by_chance)
    settings = case.settings or check.planned_settings(N_REFERENCES)
    found = Measured(check=check, world=world, settings=settings)
    original = found.subject(world.original, "original")
    with _watched(found, "prepare", original):
        found.artefact = check.prepare(original, world.data, found.settings, SEED)
    for name, module in {"original": world.original, "hidden": world.hidden}.items():
        subject = found.subject(module, name)
        before = found.passes.examples
        with _watched(found, name, subject):
            found.scores[name] = found.score(subject)
        # Of the last model; what `prepare` cost is paid once in an audit.
        found.spent = found.passes.examples - before
    return found


class CheckContract:
    """What every check has to keep to. Same data, same models, one after another.

    Attributes:
        check: the check under test.
        task: which of its tasks; the first it serves by default.
        settings: for a check that takes long; those that an audit with references plans by default.
    """

    check: ClassVar[AnyCheck]
    task: ClassVar[str | None] = None
    settings: ClassVar[Frozen | None] = None

    @pytest.fixture(scope="class")
    @classmethod
    def case(cls) -> Case:
        """The check, and the task it is tested in."""
        return Case(check=cls.check, task=cls.task or next(iter(cls.check.tasks), TASK), settings=cls.settings)

    # Once for all tests of a check: an attack on the text world takes longer than the tests do.
    @pytest.fixture(scope="class")
    @classmethod
    def measured(cls, case: Case) -> Measured:
        """The check, measured once for all tests."""
        return measure(case)

    def test_says_what_it_is(self, case: Case) -> None:
        """Name, family, rights, and whole sentences for the report."""
        check, task = case.check, case.task
        assert check.name
        assert check.family in get_args(Family)
        assert check.may in get_args(May)
        for text in (check.summary, check.unit, check.cost):
            assert text == text.strip() != ""
        assert check.summary.endswith(".")
        # The report goes on with a number: "… 77 % of what the original knew".
        assert check.finds[:1].isupper()
        assert not check.finds.endswith((".", " "))
        assert check.caveats
        assert all(caveat.endswith(".") for caveat in check.caveats)
        assert (type(check).__doc__ or "").strip()
        assert serves(check, task)
        assert set(check.requests) <= {"class", "sample", "facts"}
        assert check.requests
        assert set(check.needs) <= {"forget", "retain", "holdout", "control"}
        assert check.access in LEVELS

    def test_decoys_are_made_for_its_task(self, case: Case) -> None:
        """Only a check that may clear has to see through any."""
        check, task = case.check, case.task
        assert set(check.decoys) <= set(contract_world(task).decoys)
        assert check.may == "clear" or not check.decoys

    def test_settings_have_defaults_and_survive_the_plan(self, case: Case) -> None:
        """The plan holds them as JSON."""
        check = case.check
        assert issubclass(check.settings_type, Frozen)
        for settings in (check.settings_type(), check.planned_settings(0), check.planned_settings(N_REFERENCES)):
            assert check.settings_type.model_validate(settings.model_dump(mode="json")) == settings

    def test_declared_needs_are_enough(self, measured: Measured) -> None:
        """A set that it does not name may be absent."""
        check = measured.check
        # Taken away and not trusted to be unused.
        needs = {*check.needs, *(("holdout",) if measured.world.data.by_chance else ())}
        world = measured.world.with_data(**{name: None for name in OPTIONAL_SETS if name not in needs})
        original = world.subject(world.original, name="original")
        artefact = check.prepare(original, world.data, measured.settings, SEED)
        score = check.score(world.subject(original.module), artefact, world.data, measured.settings, SEED)
        assert_fits(score, check)

    def test_scores_fit_the_check(self, measured: Measured) -> None:
        """Finite readings, the same on every model, whose examples average to the value."""
        first, second = measured.scores.values()
        assert list(first.readings) == list(second.readings)
        for score in measured.scores.values():
            assert_fits(score, measured.check)

    def test_chosen_readings_exist_with_and_without_references(self, measured: Measured) -> None:
        """Whatever is chosen, and rescaled to one scale, every model has it."""
        original, other = measured.scores.values()
        for references in ([], [other], [other, other.model_copy()]):
            rescale = measured.check.rescale(original, references)
            rescaled = [rescale(score) for score in (original, *references)]
            chosen = measured.check.choose(rescaled[0], rescaled[1:])
            assert chosen
            for score in rescaled:
                assert set(chosen) <= set(score.readings)
                assert math.isfinite(score.total(chosen))
                if examples := score.examples(chosen):
                    assert len(examples) == score.n_examples
                    assert np.mean(examples) == pytest.approx(score.total(chosen), rel=1e-9, abs=1e-9)

    def test_the_original_lies_at_or_above_a_copy_that_hides_it(self, measured: Measured) -> None:
        """More is more knowledge: hiding adds none."""
        original, hidden = measured.total["original"], measured.total["hidden"]
        assert original >= hidden - ROUNDING * max(abs(original), abs(hidden))

    def test_cells_are_flat_rows_with_one_set_of_keys_per_figure(self, measured: Measured) -> None:
        """So that figures, tables and exports need to know no check."""
        for score in measured.scores.values():
            _assert_tidy(score.rows)
        scores = {"original": measured.scores["original"], "unlearned": measured.scores["hidden"]}
        rows, controls = measured.check.summarise(scores, ())
        _assert_tidy(rows)
        assert set(controls) <= set(scores)

    def test_figures_and_captions_are_declared_for_every_kind_of_row(self, measured: Measured) -> None:
        """What is recorded for people is drawn, with axes named and a caption in whole sentences."""
        figures = measured.check.figures
        assert figures
        scores = {"original": measured.scores["original"], "unlearned": measured.scores["hidden"]}
        more, _ = measured.check.summarise(scores, ())
        rows = [*(row for name, score in scores.items() for row in rows_of(name, score)), *more]
        roles = {name: name for name in scores}
        drawn: set[tuple[str, ...]] = set()
        for figure in figures:
            assert figure.caption.endswith(".")
            assert figure.x_label
            assert figure.y_label
            found = counting(rows, figure, roles)
            assert all(panel.lines for panel in panels_of(found, figure, roles)[0])
            drawn |= {tuple(row) for row in found}
        # By their columns: a figure may leave out splits that would only crowd it.
        assert drawn == {tuple(row) for row in rows}
        assert counting(rows, figures[0], roles)
        assert not figures[0].aside, "the first stands open"

    def test_scores_survive_json_bit_for_bit(self, measured: Measured) -> None:
        """An audit that is resumed, and a reviewer, read them from a file."""
        for score in measured.scores.values():
            text = score.model_dump_json()
            again = Score.model_validate_json(text)
            assert again == score
            assert again.model_dump_json() == text
            for name, reading in score.readings.items():
                # By their digits: equality takes −0.0 for 0.0.
                assert [x.hex() for x in again.readings[name].examples] == [x.hex() for x in reading.examples]

    def test_same_seed_same_score_whatever_was_drawn_before_and_whatever_part_it_plays(
        self, measured: Measured
    ) -> None:
        """Neither the global random state nor the model's role reaches a score."""
        subject = measured.subject(measured.world.hidden, "unlearned")
        # Without devices: to keep the state of a GPU would start it.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(987)
            again = measured.score(subject)
        assert again.model_dump_json() == measured.scores["hidden"].model_dump_json()

    def test_the_batch_size_does_not_matter_beyond_rounding(self, measured: Measured) -> None:
        """Where memory is short, batches are made smaller for one model alone."""
        hidden = measured.total["hidden"]
        scale = max(abs(hidden), abs(measured.total["original"]))
        assert measured.small_batches == pytest.approx(hidden, abs=ROUNDING * scale)

    def test_weights_data_and_global_state_are_left_alone(self, measured: Measured) -> None:
        """The next check meets the same model."""
        assert measured.disturbed == {step: [] for step in ("prepare", *measured.scores)}

    def test_no_more_of_a_model_is_used_than_it_says(self, measured: Measured) -> None:
        """Where an audit is held to what a model gives out, nothing behind that is looked at."""
        check = measured.check
        subject = measured.subject(measured.world.hidden)
        if not refuse_beyond(check.access, subject):
            return
        held = Room(fits=lambda copies: True, width=None, access=check.access)
        settings = check.fitted(measured.settings, held, {})
        assert check.access_of(settings) == check.access
        score = check.score(subject, measured.artefact, measured.world.data, settings, SEED)
        assert_fits(score, check)

    def test_costs_are_as_stated(self, measured: Measured) -> None:
        """The estimate before an audit rests on them; a check that says it is free sends nothing through a model."""
        n_layers = len(measured.subject(measured.world.original).layers())
        load = measured.check.workload(measured.world.data, measured.settings, n_layers)
        stated = load.forward + load.training
        assert stated / COST_FACTOR <= measured.spent <= stated * COST_FACTOR
        assert stated == 0 or measured.check.cost != Check.cost

    @pytest.mark.parametrize("form", ["says nothing", "computes nothing"])
    def test_a_model_it_can_read_nothing_from_is_scored_or_refused_in_words(
        self, measured: Measured, form: str
    ) -> None:
        """No wreck ends an audit with a traceback or becomes a NaN."""
        broken = measured.subject(_broken(measured, form))
        try:
            score = measured.score(broken)
        # The auditor's own errors are the refusal in words; any other would be a traceback.
        except AuditError:
            return
        assert_fits(score, measured.check)
        # Clauses may arise in either: a score knows one model, and what stands out shows beside the others.
        rescale = measured.check.rescale(measured.scores["original"], [measured.scores["hidden"]])
        for clause in (*_clauses(score), *_clauses(rescale(score))):
            assert clause is None or _is_clause(clause)


def assert_fits(score: Score, check: AnyCheck) -> None:
    """Assert what holds of every score."""
    assert isinstance(score, Score)
    assert score.check == check.name
    assert score.readings
    assert score.n_examples >= 1
    assert score.hits is None or 0 <= score.hits <= score.n_examples
    for name, reading in score.readings.items():
        assert math.isfinite(reading.value)
        assert reading.choice is None or math.isfinite(reading.choice)
        if reading.examples:
            assert np.mean(reading.examples) == pytest.approx(reading.value, rel=1e-9, abs=1e-9), name
        if reading.sides is not None:
            assert all(map(math.isfinite, (*reading.sides.forget, *reading.sides.holdout)))
    assert all(math.isfinite(draw) for draw in score.null)
    assert all(math.isfinite(value) for value in score.controls.values())
    assert all(_is_clause(clause) for clause in _clauses(score) if clause is not None)


def _clauses(score: Score) -> tuple[str | None, str | None]:
    """What a score says of its own worth."""
    return score.cannot_clear_because, score.not_applicable_because


def _is_clause(words: str) -> bool:
    """Whether the words can follow "because": they stand inside a sentence of the report."""
    return words == words.strip() != "" and not words.endswith(".") and "\n" not in words


def _broken(measured: Measured, form: str) -> nn.Module:
    """The original with its last map, or with every weight, set to zero."""
    made = measured.subject(measured.world.original)
    part = made.head() if form == "says nothing" else made.module
    with torch.no_grad():
        for parameter in part.parameters():
            parameter.zero_()
    module: nn.Module = made.module
    return module


@contextmanager
def _watched(found: Measured, step: str, subject: Any) -> Iterator[None]:
    """Note what a piece of work did not leave as it was."""
    before = _surroundings(found, subject)
    yield
    after = _surroundings(found, subject)
    found.disturbed[step] = [name for name in after if after[name] != before[name]]


def _surroundings(found: Measured, subject: Any) -> dict[str, object]:
    numpy_state = np.random.get_state(legacy=False)  # the global stream, which a check must not touch
    return {
        "weights": _digest(subject.weights().values()),
        "training mode": subject.module.training,
        "gradients": tuple(p.requires_grad for p in subject.module.parameters()),
        # torch has no public way to ask for hooks; one that is left would run in every later check.
        "hooks": sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in subject.module.modules()),
        "recordings": _digest(
            tensor for split in found.world.data.splits() for tensor in _tensors(subject.recording(split))
        ),
        "data": found.world.data.digest,
        "torch's random state": _digest([torch.get_rng_state()]),
        "numpy's random state": bytes_digest(numpy_state["state"]["key"].tobytes()),
        "Python's random state": hash(random.getstate()),
        "whether gradients are recorded": torch.is_grad_enabled(),
        "threads": torch.get_num_threads(),
    }


def _tensors(recording: Any) -> Iterator[torch.Tensor]:
    for each in fields(recording):
        value = getattr(recording, each.name)
        yield from (value.values() if isinstance(value, Mapping) else [value])


def _digest(tensors: Iterable[torch.Tensor]) -> str:
    # float64 holds all smaller types exactly, and NumPy has no bfloat16.
    return chunks_digest(tensor.detach().cpu().double().numpy().tobytes() for tensor in tensors)


def _assert_tidy(rows: list[Row]) -> None:
    """Rows of one figure have the same keys; where a check draws several, their first columns tell them apart."""
    figures: dict[str, tuple[str, ...]] = {}
    for row in rows:
        assert row
        for key, value in row.items():
            assert isinstance(key, str)
            # Exactly these: a bool is an int and a NumPy number a float to isinstance, and neither is a plain value.
            assert value is None or type(value) in (str, int, float)
            assert not isinstance(value, float) or math.isfinite(value)
        first = next(iter(row))
        kind = str(row[first]) if first in ("part", "figure") else first
        assert figures.setdefault(kind, tuple(row)) == tuple(row)

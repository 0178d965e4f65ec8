"""How long units took: written beside the audit, and the ground of the next estimate. No score depends on it."""

import json
from pathlib import Path

import pytest

import auditor
from auditor.records.events import Event
from auditor.records.spec import make_spec, read_spec
from auditor.run.estimate import estimate
from auditor.run.preparing import Prepared, prepare
from auditor.run.timings import Remembered, Stopwatch, Timings, kind_of, remembered, usual


def prepared(folder: Path, **changes: object) -> Prepared:
    return prepare(make_spec(read_spec(folder / "audit.toml"), {"audit": changes}), folder, {})


def test_every_unit_stands_in_the_file(fresh: Path) -> None:
    results = auditor.compare(config=fresh / "audit.toml", out=fresh / "out").results
    found = Timings.model_validate_json((fresh / "out" / "timings.json").read_bytes())
    assert {(unit.check, unit.model) for unit in found.units} == {
        (check.name, model.name) for check in results.plan.checks for model in results.plan.models
    }
    assert not any(unit.reused for unit in found.units)
    assert 0 < sum(unit.seconds for unit in found.units) <= found.seconds
    again = auditor.compare(config=fresh / "audit.toml", out=fresh / "again")
    assert again.results.to_json() == results.to_json()
    repeated = Timings.model_validate_json((fresh / "again" / "timings.json").read_bytes())
    assert all(unit.reused for unit in repeated.units)


def test_what_took_long_before_is_expected_to_take_as_long(fresh: Path) -> None:
    made = prepared(fresh)
    watch = Stopwatch(made.plan, made.timings)
    for model in made.plan.models:
        for check in made.plan.checks:
            watch.hear(Event(check=check.name, model=model.name, reused=False, failed=False, seconds=60.0))
    watch.remember()
    units = len(made.plan.models) * len(made.plan.checks)
    assert estimate(prepared(fresh)).seconds == pytest.approx(60.0 * units)
    # Another batch size is another use of the machine.
    other = prepared(fresh, batch_size=8)
    assert all(seconds is None for _, _, seconds in usual(remembered(other.timings), other.plan))


def test_what_is_stored_is_not_counted_again(fresh: Path) -> None:
    auditor.compare(config=fresh / "audit.toml")
    assert estimate(prepared(fresh)).seconds == 0.0


def test_the_median_of_several_and_no_more_than_are_kept(fresh: Path) -> None:
    made = prepared(fresh)
    original = made.plan.models_of("original")[0]
    check = made.plan.checks[0]
    for seconds in (5.0, 1.0, 3.0):
        watch = Stopwatch(made.plan, made.timings)
        watch.hear(Event(check=check.name, model=original.name, reused=False, failed=False, seconds=seconds))
        watch.hear(Event(check=check.name, model="unlearned", reused=True, failed=False, seconds=0.0))
        watch.remember()
    known = {(c.name, m.name): seconds for c, m, seconds in usual(remembered(made.timings), made.plan)}
    assert known[check.name, original.name] == 3.0
    assert known[check.name, "unlearned"] is None, "what was reused says nothing"
    for _ in range(60):
        watch = Stopwatch(made.plan, made.timings)
        watch.hear(Event(check=check.name, model=original.name, reused=False, failed=False, seconds=7.0))
        watch.remember()
    assert len(remembered(made.timings).seconds[kind_of(made.plan, check, original)]) == 50


@pytest.mark.parametrize("text", ["{", "[]", '{"seconds": {"x": ["soon"]}}'])
def test_a_damaged_memory_is_an_empty_one(tmp_path: Path, text: str) -> None:
    (tmp_path / "timings.json").write_text(text)
    assert remembered(tmp_path / "timings.json") == Remembered() == remembered(tmp_path / "none.json")


def test_it_is_plain_json(fresh: Path) -> None:
    auditor.compare(config=fresh / "audit.toml", out=fresh / "out")
    kept = json.loads((fresh / ".audit" / "timings.json").read_text())
    assert all(isinstance(seconds, list) for seconds in kept["seconds"].values())

"""Audits where chance held subjects out, as a user runs them: drawn, planned, audited, reported, verified."""

import json
import shlex
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import auditor
from auditor.cli import main
from auditor.models.references import save_directory
from auditor.records.assignment import AssignmentRecord, read_assignment
from auditor.records.results import Results, read_results
from auditor.records.spec import make_spec
from auditor.review import verification
from auditor.run.preparing import prepare
from auditor.tasks.causal_lm.readers import read_facts, write_facts
from auditor.tasks.causal_lm.sets import Facts
from tests.documented_world import blocks
from tests.people_worlds import TextWorld

PAGE = "docs/what-do-i-need.md"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), prog_name="audit")


def block(start: str) -> str:
    (found,) = [text for _, text in blocks(PAGE) if text.startswith(start)]
    return found


@pytest.fixture(scope="module")
def folder(text_world: TextWorld, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's files: models, sets as if they had been drawn, the record, and the page's audit.toml."""
    made = tmp_path_factory.mktemp("assigned")
    people = text_world.people
    for name, model in (("original", "original"), ("unlearned", "refusal"), ("base", "reference 0")):
        save_directory(text_world.modules[model], text_world.encoder.tokenizer, made / name)
    (made / "assigned").mkdir()
    write_facts(people.forget, made / "assigned" / "forget.jsonl")
    write_facts(people.holdout, made / "assigned" / "holdout.jsonl")
    write_facts(people.retain, made / "retain.jsonl")
    record = AssignmentRecord(
        seed=0,
        nonce="0" * 64,
        pool=Facts(people.forget.items + people.holdout.items).digest,
        forget=people.forget.digest,
        holdout=people.holdout.digest,
        n_forget=6,
        n_holdout=6,
    )
    (made / "assigned" / "assignment.json").write_text(record.model_dump_json(), encoding="utf-8")
    (made / "audit.toml").write_text(block("[models]") + '\n[audit]\nchecks = ["few_shot", "relearning"]\n')
    return made


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="module")
def audited(folder: Path) -> Path:
    """The audit of the refusal-tuned model."""
    auditor.compare("original", "unlearned", config=folder / "audit.toml", out=folder / "audit-out")
    return folder / "audit-out"


def test_the_pages_draw(tmp_path: Path, text_world: TextWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    people = text_world.people
    pool = Facts(people.forget.items + people.holdout.items)
    write_facts(pool, tmp_path / "pool.jsonl")
    done = run(*shlex.split(block("audit assign"))[1:])
    assert done.exit_code == 0, done.output
    record = read_assignment(tmp_path / "assigned" / "assignment.json")
    assert f"commitment, to publish now: {record.commitment}" in done.stdout
    drawn = {name: read_facts(f"assigned/{name}.jsonl", tmp_path) for name in ("forget", "holdout")}
    assert sorted(drawn["forget"].subjects + drawn["holdout"].subjects) == sorted(pool.subjects)
    assert (record.forget, record.holdout) == (drawn["forget"].digest, drawn["holdout"].digest)
    again = run("assign", "pool.jsonl", "--out", "assigned")
    assert again.exit_code == 2
    assert "a draw is not repeated" in again.stderr
    # Without a seed nobody can guess which subjects it was.
    other = run("assign", "pool.jsonl", "--out", "other")
    assert other.exit_code == 0
    assert read_assignment(tmp_path / "other" / "assignment.json").nonce != record.nonce


def test_the_plan_says_what_road_is_open(here: Path) -> None:
    done = run("compare", "original", "unlearned", "--dry-run")
    assert done.exit_code == 0, done.output
    assert "chance divided 6 forget and 6 holdout subjects: holdout is the null" in done.stdout
    words = "DELETED is out of reach: 6 forget and 6 holdout subjects, DELETED needs 20 of either"
    assert words in " ".join(done.stdout.split())
    assert "references, DELETED needs" not in done.stdout


def test_a_model_that_saw_neither_is_planned_as_the_page_says(here: Path) -> None:
    page = tomllib.loads(block("# of any recipe"))
    done = run("compare", "original", "unlearned", "--neither", *page["models"]["neither"], "--dry-run")
    assert done.exit_code == 0, done.output
    said = " ".join(done.stdout.split())
    assert "neither 1 neither base" in said
    assert "With 6 holdout subjects and no other model: resolution" in said
    assert "With 6 holdout subjects and 1 model that saw neither: resolution" in said
    assert "With 5 references: resolution" in said


@pytest.mark.parametrize("model", ["original", "unlearned"])
def test_a_model_of_the_pair_saw_something(here: Path, model: str) -> None:
    done = run("compare", "original", "unlearned", "--neither", model, "--dry-run")
    assert done.exit_code == 2
    assert "held against itself, a model shows nothing: leave it out of models.neither" in " ".join(done.stderr.split())


def test_a_model_that_saw_neither_has_no_part_without_an_assignment(here: Path) -> None:
    plain = here / "plain.toml"
    plain.write_text((here / "audit.toml").read_text().partition("[assignment]")[0])
    done = run("compare", "original", "unlearned", "--config", "plain.toml", "--neither", "base", "--dry-run")
    assert done.exit_code == 2
    assert "no [assignment] says so: leave it out" in " ".join(done.stderr.split())


def test_a_suppressed_model_is_seen_without_any_reference(audited: Path) -> None:
    results = read_results(audited / "results.json")
    assert results.verdict.outcome == "SUPPRESSED"
    assert not results.plan.models_of("reference")
    relearning = results.of("relearning")
    assert relearning is not None
    assert relearning.null_kind == "holdout"
    assert relearning.rho is not None
    assert relearning.rho.value > 0.25
    assert [row.model for row in relearning.contrast][:2] == ["original", "unlearned"]
    (road,) = results.roads
    assert (road.null, road.models, set(road.resolutions)) == ("holdout", 0, {"few_shot", "relearning"})


def test_the_report_shows_both_sides_of_every_model(audited: Path) -> None:
    report = (audited / "report.html").read_text(encoding="utf-8")
    assert "Forget and holdout subjects of every model" in report
    assert "6 forget and 6 holdout subjects divided by chance, committed as" in report
    assert "the subjects it was never taught" in report
    assert "the references were trained as stated" not in report
    assert "With 6 holdout subjects and no other model: resolution" in report


def test_a_reviewer_checks_the_draw(audited: Path, here: Path) -> None:
    assert "not checked    assignment" in run("verify", "audit-out").stdout
    done = run("verify", "audit-out", "--assignment", "assigned/assignment.json")
    assert done.exit_code == 0, done.output
    assert "holds          assignment" in done.stdout
    results = read_results(audited / "results.json")
    elsewhere = [
        item.model_copy(update={"digest": "0" * 64}) if item.name == "holdout" else item for item in results.plan.data
    ]
    other_sets = results.plan.model_copy(update={"data": tuple(elsewhere)})
    (finding,) = verification._assignment(other_sets, here / "assigned" / "assignment.json")
    assert (finding.state, "made on another holdout set" in finding.words) == ("fails", True)
    other = json.loads((here / "assigned" / "assignment.json").read_text())
    (here / "other.json").write_text(json.dumps({**other, "seed": 1}))
    forged = run("verify", "audit-out", "--assignment", "other.json")
    assert forged.exit_code == 1
    assert "DOES NOT HOLD  assignment" in forged.stdout


def test_another_road_than_was_open_is_found(audited: Path, tmp_path: Path) -> None:
    shutil.copytree(audited, tmp_path / "forged")
    results = json.loads((audited / "results.json").read_text())
    results["roads"][0]["pass_probability"] = 0.999
    (tmp_path / "forged" / "results.json").write_text(json.dumps(results))
    done = run("verify", str(tmp_path / "forged"))
    assert done.exit_code == 1
    assert "its roads do not follow from the scores" in " ".join(done.output.split())


def test_sets_that_were_not_drawn_are_refused(here: Path) -> None:
    done = run("compare", "original", "unlearned", "--forget", "retain.jsonl", "--dry-run")
    assert done.exit_code == 2
    assert "is the record of another draw than data.forget comes from" in done.stderr


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scores of the original and of what never was taught serve both audits of them."""
    return tmp_path_factory.mktemp("store")


@pytest.mark.slow
def test_a_never_taught_model_is_left_open_by_few_subjects_alone(text_world: TextWorld, store: Path) -> None:
    results = declared(text_world, "retrain", store)
    assert results.verdict.outcome == "INCONCLUSIVE"
    # First what is lacking, then the primaries, which say the same of what they measured.
    assert [reason.kind for reason in results.verdict.reasons] == ["too few subjects", "no power", "no power"]
    assert all("6 forget and 6 holdout subjects" in words for words in results.verdict.sentences)
    assert results.plan.assignment is not None
    assert results.plan.assignment.commitment is None


@pytest.mark.slow
def test_a_cheap_model_that_saw_neither_says_how_hard_each_subject_is(text_world: TextWorld, store: Path) -> None:
    results = declared(text_world, "retrain", store, references=[text_world.modules["reference 0"]])
    relearning = results.of("relearning")
    assert relearning is not None
    assert relearning.null_kind == "holdout", "one reference is no null, and not asked to be"
    assert all(row.slope is not None for row in relearning.contrast)
    assert results.verdict.outcome == "INCONCLUSIVE"


def declared(world: TextWorld, subject: str, store: Path, **more: Any) -> Results:
    return auditor.compare(
        world.modules["original"],
        world.modules[subject],
        forget=world.people.forget,
        retain=world.people.retain,
        holdout=world.people.holdout,
        tokenizer=world.encoder.tokenizer,
        options={
            "assignment": {"kind": "random"},
            "audit": {"checks": ["few_shot", "relearning"], "store": str(store)},
        },
        **more,
    ).results


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ("", "assignment.kind is for facts, or listed samples of images"),
        (
            '\n[data]\nforget = "forget.npz"\nretain = "retain.npz"\n',
            'assignment.kind = "random" is for listed samples',
        ),
    ],
)
def test_an_assignment_that_nothing_can_rest_on_is_refused(fresh: Path, part: str, words: str) -> None:
    """Bare weights, and a class: left unsaid, the audit would rest on something else than its user believes."""
    config = fresh / "audit.toml"
    models = config.read_text().partition("[data]")[0]
    config.write_text(models + part + '\n[assignment]\nkind = "random"\n')
    done = run("compare", "--dry-run", *(() if part else ("--checks", "weight_delta")))
    assert done.exit_code == 2
    assert words in done.stderr


@pytest.mark.parametrize(("kind", "kept"), [("random", True), (None, False)])
def test_checks_keep_a_null_of_their_own_where_references_are_none(
    text_world: TextWorld, kind: str | None, kept: bool
) -> None:
    """Under a draw nothing is held against references, however many there are."""
    people, names = text_world.people, ("concept_vectors", "sae_restoration")
    given: dict[str, Any] = {
        "original": text_world.modules["original"],
        "unlearned": text_world.modules["refusal"],
        "references": [text_world.modules["reference 0"], text_world.modules["reference 1"]],
        **{name: getattr(people, name) for name in ("forget", "retain", "holdout")},
        "tokenizer": text_world.encoder.tokenizer,
    }
    options = {"assignment": {"kind": kind} if kind else {}, "audit": {"checks": list(names)}}
    planned = prepare(make_spec({}, options), Path(), given).plan.checks
    draws = {check.name: check.settings["null_draws"] for check in planned if check.name in names}
    assert draws == dict.fromkeys(names, 999 if kept else 0)

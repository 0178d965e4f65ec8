"""``audit discover``: the forgotten group stands out, its audit gets other examples, equal models differ nowhere."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from auditor.discovery import ranked
from auditor.models.references import save_directory
from auditor.tasks.causal_lm.readers import read_facts, write_facts
from auditor.tasks.causal_lm.sets import Facts
from tests.command_line import audit
from tests.people_worlds import TextWorld


@pytest.fixture
def digits(documented: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Original, suppressed and deleted model, and every digit in one file."""
    for name in ("original.pt", "suppressed.pt", "unlearned.pt", "network.py"):
        shutil.copy(documented / name, tmp_path / name)
    shutil.copy(documented / "everything.npz", tmp_path / "pool.npz")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def people(text_world: TextWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("original", "retrain", "refusal"):
        save_directory(text_world.modules[name], text_world.encoder.tokenizer, tmp_path / name)
    write_facts(Facts(text_world.people.forget.items + text_world.people.retain.items), tmp_path / "pool.jsonl")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def loaded(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as held:
        return dict(held)


IMAGES = ("--pool", "pool.npz", "--architecture", "network.py:build")


@pytest.mark.parametrize("subject", ["suppressed.pt", "unlearned.pt"])
def test_the_forgotten_class_stands_out_and_its_audit_gets_examples_that_were_not_searched(
    digits: Path, subject: str
) -> None:
    done = audit("discover", "original.pt", subject, *IMAGES, "--out", "found")
    assert done.exit_code == 0, done.output
    assert "stands out among 10 classes (level 0.05): 3\n" in done.stdout
    assert f"audit init original.pt {subject} --forget found/forget.npz --retain found/retain.npz" in done.stdout
    forget, retain = (loaded(digits / "found" / f"{name}.npz") for name in ("forget", "retain"))
    assert set(forget["labels"]) == {3}
    assert set(retain["labels"]) == set(range(10)) - {3}
    whole = loaded(digits / "pool.npz")
    assert len(forget["labels"]) == pytest.approx((whole["labels"] == 3).sum() / 2, abs=1)


def test_models_that_answer_alike_differ_nowhere(digits: Path) -> None:
    done = audit("discover", "original.pt", "original.pt", *IMAGES, "--out", "found")
    assert done.exit_code == 3, done.output
    assert "nothing stands out" in done.stdout
    assert not (digits / "found").exists()


@pytest.mark.parametrize("subject", ["retrain", "refusal"])
def test_forgotten_people_stand_out(people: Path, text_world: TextWorld, subject: str) -> None:
    done = audit("discover", "original", subject, "--pool", "pool.jsonl", "--out", "found")
    assert done.exit_code == 0, done.output
    found = set(read_facts("found/forget.jsonl", people).subjects)
    assert found == set(text_world.people.forget.subjects)


def test_a_pool_whose_facts_are_about_nobody(people: Path) -> None:
    (people / "pool.jsonl").write_text('{"prompt": "Who ?", "answer": "nobody"}\n' * 8)
    done = audit("discover", "original", "retrain", "--pool", "pool.jsonl")
    assert (done.exit_code, "pool.jsonl: fact 1 names no subject" in done.stderr) == (2, True), done.output


def test_a_pool_of_too_few_classes_or_examples(digits: Path) -> None:
    whole = loaded(digits / "pool.npz")
    threes = np.flatnonzero(whole["labels"] == 3)
    for chosen, said in (
        (whole["labels"] < 4, "the pool has 4 classes, and what is usual is known from 5 on; give more"),
        (np.setdiff1d(np.arange(len(whole["labels"])), threes[3:]), "of '3' the pool has 3 examples, and 4 are needed"),
    ):
        np.savez(digits / "few.npz", **{key: values[chosen] for key, values in whole.items()})
        done = audit("discover", "original.pt", "unlearned.pt", "--pool", "few.npz", *IMAGES[2:])
        assert (done.exit_code, said in done.stderr) == (2, True), done.stderr


def test_what_was_found_is_not_replaced(digits: Path) -> None:
    (digits / "found").mkdir()
    done = audit("discover", "original.pt", "unlearned.pt", *IMAGES, "--out", "found")
    assert (done.exit_code, "found exists already" in done.stderr) == (2, True)


def test_bare_weights_have_no_answers(digits: Path) -> None:
    done = audit("discover", "original.pt", "unlearned.pt", "--pool", "pool.npz")
    assert (done.exit_code, "models.architecture (--architecture)" in done.stderr) == (2, True), done.output


def test_groups_that_are_hard_for_any_model_do_not_stand_out() -> None:
    """Retrains differ more on hard groups: by factors, which is the scale they are held against each other on."""
    random = np.random.default_rng(0)
    names = [str(i // 20) for i in range(400)]
    found = 0
    for _ in range(200):
        hardness = np.repeat(random.lognormal(-2, 1, 20), 20)
        original = -np.abs(random.normal(size=400)) * hardness
        other = -np.abs(random.normal(size=400)) * hardness
        found += any(group.stands_out for group in ranked(names, original, other))
    assert found <= 20, "of 200 at a level of .05; more than 20 has a chance of one in a thousand"


def test_answers_that_differ_in_the_last_digit_do_not_stand_out() -> None:
    original = np.zeros(60)
    other = np.concatenate([np.full(6, 1e-9), np.zeros(54)])
    assert not any(group.stands_out for group in ranked([str(i // 6) for i in range(60)], original, other))


def test_equal_examples_stand_in_one_half_alone(digits: Path) -> None:
    whole = loaded(digits / "pool.npz")
    np.savez(digits / "twice.npz", **{key: np.concatenate([values, values]) for key, values in whole.items()})
    done = audit("discover", "original.pt", "unlearned.pt", "--pool", "twice.npz", *IMAGES[2:], "--out", "found")
    assert done.exit_code == 0, done.output
    kept = loaded(digits / "found" / "forget.npz")["images"]
    assert len(kept) == len(np.unique(kept, axis=0)) == pytest.approx((whole["labels"] == 3).sum() / 2, abs=1)

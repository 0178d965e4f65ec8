"""Wrong inputs are refused, and odd ones named, before the first score: in compare, --dry-run, plan and doctor."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import load_file, save_file

from auditor.cli import main
from auditor.errors import DataError, ModelError, UsageError
from auditor.loading.preprocessing import Preprocessing
from auditor.models.references import save_directory
from auditor.models.training import initial_weights
from auditor.probes.outputs.text import Outputs as TextOutputs
from auditor.probes.outputs.text import Settings as TextSettings
from auditor.records.plan import Plan
from auditor.records.results import read_results
from auditor.records.spec import make_spec
from auditor.run.accuracy_checks import judge
from auditor.run.preparing import prepare
from auditor.tasks.causal_lm.accuracy import accuracy as measure
from auditor.tasks.causal_lm.input_checks import check_facts
from auditor.tasks.causal_lm.readers import write_facts
from auditor.tasks.causal_lm.sets import Fact, Facts
from auditor.tasks.classification.input_checks import check_examples
from auditor.tasks.classification.sets import Examples
from auditor.tasks.task import Accuracy
from auditor.zoo.text.people import people_world
from auditor.zoo.text.people_model import people_model, word_tokenizer
from tests.made_records import plan
from tests.people_worlds import TextWorld


def random_images(n: int, classes: int = 3, seed: int = 0) -> Examples:
    raw = torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
    return Examples(raw=raw, labels=torch.arange(n) % classes)


@pytest.fixture
def sets() -> dict[str, Examples]:
    return {"forget": random_images(12, seed=1), "retain": random_images(30, seed=2)}


class TestExamples:
    def test_ordinary_sets_give_no_line(self, sets: dict[str, Examples]) -> None:
        assert check_examples(sets) == []

    def test_one_class_in_retain(self, sets: dict[str, Examples]) -> None:
        retain = replace(sets["retain"], labels=torch.full((30,), 4))
        with pytest.raises(DataError, match=r"retain: every example has label 4; give data\.retain examples of two"):
            check_examples({**sets, "retain": retain})

    @pytest.mark.parametrize("name", ["forget", "holdout"])
    def test_0_to_255_beside_0_to_1(self, sets: dict[str, Examples], name: str) -> None:
        other = random_images(12, seed=3)
        with pytest.raises(
            DataError, match=rf"{name}: values reach 25\d.*retain 0\.99.*give data\.{name} and data\.retain"
        ):
            check_examples({**sets, name: replace(other, raw=other.raw * 255)})

    def test_bytes_beside_0_to_1_are_the_same_scale(self, sets: dict[str, Examples]) -> None:
        other = random_images(12, seed=3)
        assert check_examples({**sets, "holdout": replace(other, raw=(other.raw * 255).to(torch.uint8))}) == []

    def test_one_set_normalised_already(self, sets: dict[str, Examples]) -> None:
        forget = replace(sets["forget"], raw=(sets["forget"].raw - 0.5) / 0.3)
        (line,) = check_examples({**sets, "forget": forget})
        assert line == "forget holds negative values and retain has none: was one of the two normalised already?"

    @pytest.mark.parametrize(("std", "odd"), [(0.02, True), (0.3, False)])
    def test_a_normalisation_that_no_data_has(self, sets: dict[str, Examples], std: float, odd: bool) -> None:
        prepared = Preprocessing(mean=(0.5,), std=(std,))
        lines = check_examples({name: replace(x, preprocessing=prepared) for name, x in sets.items()})
        assert [line.startswith("data.mean and data.std put inputs up to 25 standard") for line in lines] == [
            True
        ] * odd

    def test_near_duplicates_are_named_and_others_are_not(self, sets: dict[str, Examples]) -> None:
        noise = 0.004 * torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        raw = sets["retain"].raw.clone()
        raw[4:7] = (sets["forget"].raw[:3] + noise).clamp(0, 1)
        (line,) = check_examples({**sets, "retain": replace(sets["retain"], raw=raw)})
        assert line.startswith(
            "near duplicates: 3 examples of retain all but equal examples of forget (positions 4, 5, 6)"
        )

    def test_different_digits_are_no_near_duplicates(self) -> None:
        from sklearn.datasets import load_digits

        raw = torch.tensor(load_digits().images, dtype=torch.float32)[:, None] / 16
        whole = Examples(raw=raw, labels=torch.tensor(load_digits().target))
        few, many = whole.take(torch.arange(400)), whole.take(torch.arange(400, 1797))
        assert check_examples({"forget": few, "retain": many}) == []


def test_facts_of_the_same_words_are_named() -> None:
    forget = Facts((Fact(prompt="Where does Bo live?", answer="Oslo"), Fact(prompt="Who is Al?", answer="a baker")))
    retain = Facts((Fact(prompt="Where is Cy?", answer="Bern"), Fact(prompt="where does Bo live", answer="Oslo.")))
    (line,) = check_facts({"forget": forget, "retain": retain})
    assert line.startswith("near duplicates: 1 facts of retain all but equal facts of forget (positions 1)")
    assert check_facts({"forget": forget, "retain": retain.take([0])}) == []


def accuracy(forget: float = 1.0, kept: float = 0.95, alone: float | None = None) -> Accuracy:
    return Accuracy(forget=forget, kept=kept, kept_alone=kept if alone is None else alone, n_kept=500)


def with_references(*kept: float, original: Accuracy, unlearned: Accuracy | None = None) -> dict[str, Accuracy]:
    found = {f"reference {i + 1}": accuracy(0.0, value) for i, value in enumerate(kept)}
    return {"original": original, "unlearned": unlearned or accuracy(0.0), **found}


def stating(value: float) -> Plan:
    base = plan()
    models = base.asked.models.model_copy(update={"original_accuracy": value})
    return base.model_copy(update={"asked": base.asked.model_copy(update={"models": models})})


class TestAccuracies:
    def test_what_fits_passes(self) -> None:
        judge(plan(), with_references(0.94, 0.95, 0.96, original=accuracy(kept=0.92)))
        judge(plan(), {"unlearned": accuracy()})

    def test_exchanged_models(self) -> None:
        with pytest.raises(
            UsageError, match=r"right on 98 % of the forget set and the original on 2 %: did you exchange"
        ):
            judge(plan(), {"original": accuracy(forget=0.02), "unlearned": accuracy(forget=0.98)})
        judge(plan(), {"original": accuracy(forget=0.5), "unlearned": accuracy(forget=0.6)})

    def test_an_original_below_every_reference(self) -> None:
        with pytest.raises(
            UsageError, match=r"right on 80 % of retain, .* every reference on 94 % or more: check the check"
        ):
            judge(plan(), with_references(0.94, 0.95, original=accuracy(kept=0.8)))

    @pytest.mark.parametrize("references", [(0.84, 0.95), (0.7, 0.95, 0.99)])
    def test_what_is_tolerated_or_how_references_differ_is_no_fault(self, references: tuple[float, ...]) -> None:
        judge(plan(), with_references(*references, original=accuracy(kept=0.8)))

    def test_answering_with_more_classes_is_no_fault(self) -> None:
        judge(plan(), with_references(0.94, 0.95, original=accuracy(kept=0.8, alone=0.94)))

    def test_what_the_user_says(self) -> None:
        judge(stating(0.92), {"original": accuracy(kept=0.95)})
        with pytest.raises(
            UsageError, match=r"models\.original_accuracy = 0\.92, and the original is right on 60 % of"
        ):
            judge(stating(0.92), {"original": accuracy(kept=0.6)})


def audit(command: str, *options: str) -> Result:
    return CliRunner().invoke(main, [command, *options], prog_name="audit")


def exchanged(folder: Path) -> None:
    pair = [folder / f"{name}.safetensors" for name in ("original", "unlearned")]
    tensors = [load_file(path) for path in pair]
    for path, held in zip(pair, reversed(tensors), strict=True):
        save_file(held, path)


def scrambled(folder: Path) -> None:
    """An original that confuses the kept classes in a third of the cases, with references that do not."""
    held = load_file(folder / "original.safetensors")
    held["3.bias"][1] += 8.0
    save_file(held, folder / "original.safetensors")


def forget_in_bytes(folder: Path) -> None:
    held = dict(np.load(folder / "forget.npz"))
    np.savez(folder / "forget.npz", images=held["images"] * 255, labels=held["labels"])


def one_class(folder: Path) -> None:
    held = dict(np.load(folder / "retain.npz"))
    kept = held["labels"] == 1
    np.savez(folder / "retain.npz", images=held["images"][kept], labels=held["labels"][kept])


def stated(folder: Path) -> None:
    text = (folder / "audit.toml").read_text().replace("[models]", "[models]\noriginal_accuracy = 0.2")
    (folder / "audit.toml").write_text(text)


WRONG: dict[str, tuple[Callable[[Path], None], str]] = {
    "exchanged": (exchanged, "did you exchange the two?"),
    "scrambled": (scrambled, "every reference on"),
    "another scale": (forget_in_bytes, "one of the two is on another scale"),
    "one class": (one_class, "retain: every example has label 1"),
    "stated": (stated, "models.original_accuracy = 0.2"),
}


@pytest.mark.parametrize("how", WRONG)
def test_what_is_surely_wrong_stops_every_command_before_a_score(how: str, fresh: Path) -> None:
    spoil, words = WRONG[how]
    spoil(fresh)
    for command in (("compare",), ("compare", "--dry-run"), ("plan",)):
        done = audit(*command)
        assert (done.exit_code, words in done.stderr) == (2, True), done.output
    examined = audit("doctor")
    assert (examined.exit_code, words in examined.stdout) == (1, True), examined.output
    assert not list(fresh.glob(".audit/scores/*"))
    assert not (fresh / "audit-out" / "results.json").exists()


def test_what_is_odd_is_a_line_in_every_command_and_at_the_top_of_the_report(fresh: Path) -> None:
    (fresh / "unlearned.safetensors").write_bytes((fresh / "original.safetensors").read_bytes())
    with (fresh / "audit.toml").open("a") as file:
        file.write("[request]\nkind = 'class'\n")
    line = "the unlearned model holds the same weights as the original: was one file given twice?"
    assert f"note: {line}" in audit("compare", "--dry-run").stdout
    assert f"inputs: {line}" in audit("doctor").stdout
    done = audit("compare")
    assert f"note: {line}" in done.stdout
    assert done.stdout.index(line) < done.stdout.index("resolution")
    assert line in read_results(fresh / "audit-out" / "results.json").plan.notes
    report = (fresh / "audit-out" / "report.html").read_text(encoding="utf-8")
    assert "was one file given twice?" in report.partition("<svg")[0]


def test_no_model_is_run_again_for_what_the_scores_say(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import auditor
    from auditor.run import preflight

    def refuse(*arguments: object) -> None:
        raise AssertionError("a pass was made")

    monkeypatch.setattr(preflight, "_of_a_pass", refuse)
    auditor.compare(config=plain / "audit.toml")


def test_a_wrong_normalisation_is_a_line(fresh: Path) -> None:
    text = (fresh / "audit.toml").read_text().replace("[data]", "[data]\nmean = [0.5]\nstd = [0.02]")
    (fresh / "audit.toml").write_text(text)
    assert "standard deviations from 0, where 1 to 5 are usual" in audit("doctor").stdout


@pytest.fixture
def directories(tmp_path: Path) -> Path:
    """Two language models of which the second was made with another tokenizer, and their facts."""
    people = people_world(1, forget=4, retain=6, holdout=2)
    for name, word in (("original", "zzz"), ("other", "aaa")):
        tokenizer = word_tokenizer((*people.words, word))
        save_directory(initial_weights(people_model(len(tokenizer), layers=1, width=16), 0), tokenizer, tmp_path / name)
    for name in ("forget", "retain"):
        write_facts(getattr(people, name), tmp_path / f"{name}.jsonl")
    return tmp_path


def prepared(folder: Path, unlearned: str, **models: Any) -> Plan:
    tables = {
        "models": {"original": "original", "unlearned": unlearned, **models},
        "data": {"forget": "forget.jsonl", "retain": "retain.jsonl"},
    }
    return prepare(make_spec(tables, {}), folder, {}).plan


def test_another_tokenizer(directories: Path) -> None:
    with pytest.raises(
        ModelError, match=r"other: its tokenizer\.json gives other tokens for retain facts than the one used"
    ):
        prepared(directories, "other")
    notes = prepared(directories, "other", tokenizer="original").notes
    assert any(note.startswith("other: its tokenizer.json gives other tokens for retain facts") for note in notes)
    shutil.copy(directories / "original" / "tokenizer.json", directories / "other" / "tokenizer.json")
    assert not any("tokenizer" in note for note in prepared(directories, "other").notes)


def test_accuracy_of_facts_is_the_share_of_first_choices(text_world: TextWorld) -> None:
    found = measure(text_world.subject("original"), text_world.data)
    outputs = TextOutputs().score(text_world.subject("original"), None, text_world.data, TextSettings(), 0)
    assert found.kept == pytest.approx(outputs.retain_accuracy)
    assert found.forget > 0.9
    assert measure(text_world.subject("retrain"), text_world.data).forget < 0.6

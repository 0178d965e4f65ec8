"""Fingerprints: what made a reference is read, held against its file, and never mixed."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from auditor.cli import main
from auditor.digests import file_digest
from auditor.errors import ModelError, SpecError
from auditor.models import fingerprints
from auditor.models.fingerprints import Fingerprint, Made
from auditor.models.references import save
from auditor.records.plan import Plan, PlannedModel, Role
from auditor.records.spec import RecipeSpec, make_spec, read_spec
from auditor.review.plan_diff import content_changes
from auditor.run.preparing import prepare
from tests.tiny_world import write_tiny_world

RETAIN = "a" * 64
SHARED = Fingerprint(recipe=RecipeSpec(), retain=RETAIN, architecture="b" * 64, auditor_version="1.0")
SLOWER = RecipeSpec(learning_rate=0.0015)


def made(shared: Fingerprint = SHARED, trained_by: RecipeSpec | None = None, file: str = "c" * 64) -> Made:
    return Made(fingerprint=shared, digest=shared.digest, trained_by=trained_by or shared.recipe, seed=0, file=file)


def changed(**fields: Any) -> Fingerprint:
    return Fingerprint.model_validate({**SHARED.model_dump(), **fields})


def reference(folder: Path, name: str, role: Role = "reference", of: Made | None = None) -> PlannedModel:
    """A planned model with a file of its own and, where ``of`` is given, a fingerprint beside it that fits the file."""
    source = f"{name.replace(' ', '-')}.pt"
    (folder / source).write_bytes(name.encode())
    digest = file_digest(folder / source)
    if of is not None:
        fingerprints.write(folder / source, of.model_copy(update={"file": digest}))
    return PlannedModel(name=name, role=role, source=source, file_digest=digest, digest="d" * 64)


def test_the_seed_and_the_file_are_no_part_of_what_has_to_agree() -> None:
    other = Made(fingerprint=SHARED, digest=SHARED.digest, trained_by=SLOWER, seed=9, file="f" * 64)
    assert other.fingerprint.digest == made().fingerprint.digest
    assert other.perturbed
    assert not made().perturbed


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"recipe": RecipeSpec(epochs=30)}, "recipe.epochs 20 → 30"),
        ({"retain": "e" * 64}, f"retain {'a' * 12}… → {'e' * 12}…"),
        ({"architecture": "e" * 64}, f"architecture {'b' * 12}… → {'e' * 12}…"),
        ({"base": "e" * 64}, f"base none → {'e' * 12}…"),
        ({"auditor_version": "1.1"}, "auditor_version 1.0 → 1.1"),
    ],
)
def test_what_differs_is_named_before_and_after(fields: dict[str, Any], words: str) -> None:
    assert fingerprints.differences(SHARED, changed(**fields)) == [words]
    assert changed(**fields).digest != SHARED.digest


def test_a_fingerprint_comes_back_as_written(tmp_path: Path) -> None:
    path, folder = tmp_path / "reference-1.pt", tmp_path / "reference-2"
    folder.mkdir()
    for model in (path, folder):
        assert fingerprints.read(model) is None
        fingerprints.write(model, made(trained_by=SLOWER))
        assert fingerprints.read(model) == made(trained_by=SLOWER)
    assert {p.name for p in tmp_path.iterdir()} == {"reference-1.fingerprint.json", "reference-2"}
    assert [p.name for p in folder.iterdir()] == ["fingerprint.json"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is no fingerprint of this version .* train the reference again, or delete the fingerprint"),
        (made().model_dump_json().replace('"epochs":20', '"epochs":30', 1), "was changed by hand"),
        (made().model_dump_json().replace('"seed"', '"sede"'), "is no fingerprint"),
        (made().model_dump_json().replace('"1.0"', '"\\u202e<script>"'), "is no fingerprint"),
        (" " * (fingerprints.MOST_BYTES + 1), "has more than 65536 bytes"),
    ],
)
def test_a_file_that_is_no_fingerprint_is_refused(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "reference-1.pt"
    fingerprints.place(path).write_text(text)
    with pytest.raises(ModelError, match=words):
        fingerprints.read(path)


def test_references_of_one_making_and_their_perturbed_ones_are_taken_together(tmp_path: Path) -> None:
    models = [
        reference(tmp_path, "reference 1", of=made()),
        reference(tmp_path, "reference 2", of=made()),
        reference(tmp_path, "perturbed 1", "perturbed", of=made(trained_by=SLOWER)),
    ]
    found = fingerprints.of_models(models, tmp_path)
    assert [one.digest for one in found.values()] == [SHARED.digest] * 3
    assert fingerprints.notes(models, found, RETAIN) == ()


@pytest.mark.parametrize("role", ["reference", "perturbed"])
def test_references_made_differently_are_not_pooled(role: Role, tmp_path: Path) -> None:
    other = made(changed(recipe=RecipeSpec(epochs=30), auditor_version="1.1"))
    models = [reference(tmp_path, "reference 1", of=made()), reference(tmp_path, f"{role} 2", role, of=other)]
    with pytest.raises(SpecError, match=r"epochs 20 → 30; auditor_version 1\.0 → 1\.1.* cannot be pooled: leave those"):
        fingerprints.of_models(models, tmp_path)


def test_a_perturbed_reference_is_not_counted_as_a_reference(tmp_path: Path) -> None:
    models = [reference(tmp_path, "reference 1", of=made(trained_by=SLOWER))]
    with pytest.raises(SpecError, match=r"perturbed recipe.* models\.perturbed instead of models\.references"):
        fingerprints.of_models(models, tmp_path)


def test_a_fingerprint_of_another_file_is_refused(tmp_path: Path) -> None:
    model = reference(tmp_path, "reference 1", of=made()).model_copy(update={"file_digest": "e" * 64})
    with pytest.raises(ModelError, match=r"reference-1\.pt is not the file that reference-1\.fingerprint\.json"):
        fingerprints.of_models([model], tmp_path)


def test_what_is_taken_on_trust_is_said(tmp_path: Path) -> None:
    models = [reference(tmp_path, f"reference {i}", of=made() if i in (3, 4) else None) for i in range(1, 7)]
    found = fingerprints.of_models(models, tmp_path)
    without, elsewhere = fingerprints.notes(models, found, "e" * 64)
    assert without.startswith("without a fingerprint: references 1-2, references 5-6. By what recipe")
    assert without.endswith("is your word")
    assert elsewhere.startswith("trained on another set than data.retain: references 3-4.")
    assert fingerprints.notes([], {}, RETAIN) == ()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fingerprints") / "world"
    config = write_tiny_world(folder)
    text = config.read_text().replace('["reference-*.safetensors"]', '["references/reference-*"]')
    config.write_text(text.replace("[data]", 'perturbed = ["references/perturbed-*"]\n\n[data]'))
    with config.open("a") as file:
        file.write("[recipe]\nepochs = 1\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        done = CliRunner().invoke(main, ["reference", "--count", "2"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    # Every reference goes through the reading process here, and not once more in each test's copy.
    planned(folder)
    return folder


def planned(folder: Path, references: list[str] | None = None) -> Plan:
    over = {} if references is None else {"models": {"references": tuple(references)}}
    return prepare(make_spec(read_spec(folder / "audit.toml"), over), folder, {}).plan


class TestInAnAudit:
    """The plan of a tiny audit whose references `audit reference` trained."""

    @pytest.fixture
    def own(self, folder: Path, tmp_path: Path) -> Path:
        return shutil.copytree(folder, tmp_path / "own")

    def test_the_plan_names_the_fingerprint_of_each_reference(self, own: Path) -> None:
        plan = planned(own)
        models = {model.name: model.fingerprint for model in plan.models if model.role != "decoy"}
        assert list(models) == ["original", "reference 1", "reference 2", "perturbed 1", "perturbed 2", "unlearned"]
        assert models["original"] is models["unlearned"] is None
        [digest] = {value for value in models.values() if value is not None}
        recorded = fingerprints.read(own / "references" / "reference-1.pt")
        assert recorded is not None
        assert digest == recorded.digest
        retain = next(item.digest for item in plan.data if item.name == "retain")
        assert recorded.fingerprint.retain == retain, "what an audit calls retain is what they were trained on"
        assert not [note for note in plan.notes if "fingerprint" in note or "another set" in note]

    def test_references_without_one_are_the_users_word(self, own: Path) -> None:
        [note] = [n for n in planned(own, ["reference-*.safetensors"]).notes if "fingerprint" in n]
        assert note.startswith("without a fingerprint: references 1-2.")

    def test_references_of_two_recipes_are_refused_before_anything_is_scored(
        self, own: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(own)
        config = Path("audit.toml")
        config.write_text(config.read_text().replace("epochs = 1", "epochs = 2"))
        assert CliRunner().invoke(main, ["reference", "--count", "1", "--out", "second"]).exit_code == 0
        options = ["--reference", "references/reference-*", "--reference", "second/reference-*", "--dry-run"]
        done = CliRunner().invoke(main, ["compare", *options])
        assert done.exit_code == 2
        assert "recipe.epochs 1 → 2" in done.output
        assert not list(Path(".audit").rglob("scores/*"))

    def test_a_reference_that_was_replaced_is_refused(self, own: Path) -> None:
        weights = torch.load(own / "references" / "reference-1.pt", weights_only=True)
        module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
        module.load_state_dict({name: value * 1.01 for name, value in weights.items()})
        save(module, own / "references" / "reference-1.pt")
        with pytest.raises(ModelError, match="is not the file that"):
            planned(own)

    def test_a_reviewer_without_the_fingerprints_can_rerun_it(self, own: Path) -> None:
        before = planned(own)
        for path in (own / "references").glob("*.json"):
            path.unlink()
        after = planned(own)
        assert before != after
        assert content_changes(before, after) == []
        models = tuple(m.model_copy(update={"fingerprint": m.fingerprint and "e" * 64}) for m in before.models)
        other = before.model_copy(update={"models": models})
        assert {c.field.rpartition(".")[2] for c in content_changes(before, other)} == {"fingerprint"}

"""What docs/architecture.md promises: a check, a null, a reader, an executor, a task, a file and entry points each.

The code is that of docs/extending.md. The check is tried in test_packaging.py beside this file, in whole audits of both
tasks.
"""

import tomllib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import auditor
from auditor.audit import AuditResult
from auditor.checks import registry as checks
from auditor.errors import DataError, SpecError
from auditor.inference.combine import combine
from auditor.inference.compared import CheckScores
from auditor.inference.nulls import asked, planned
from auditor.loading.preprocessing import Preprocessing
from auditor.models.references import job
from auditor.probes.few_shot.images import FewShot
from auditor.records.plan import PlannedNull
from auditor.records.policy import load_policy
from auditor.records.score import Reading, Score
from auditor.records.spec import make_spec, read_spec
from auditor.run.executors.registry import load
from auditor.tasks import registry as tasks
from auditor.tasks.causal_lm.readers import read_facts
from auditor.tasks.classification.readers import files
from auditor.tasks.classification.readers.files import read_examples
from auditor.zoo import catalogue
from tests.installed import install_groups, shown_in_the_docs

POLICY = load_policy("default")
MODULES = {"perturbed_recipe": 2, "tables": 3, "one_process_each": 4, "load_meters": 5}
"""Files of docs/extending.md, and which of its blocks of Python each is."""


def install(site: Path, module: str) -> None:
    """One module, with the entry points that the page gives it."""
    blocks = [tomllib.loads(shown_in_the_docs("toml", i))["project"]["entry-points"] for i in range(5)]
    groups = next(block for block in blocks if module in str(block))
    install_groups(site, f"{module}_package", {module: shown_in_the_docs("python", MODULES[module])}, groups)


def score(value: float) -> Score:
    return Score(check="few_shot", readings={"it": Reading(value=value)}, n_examples=1000)


def held_against(perturbed: list[float], unlearned: float, references: dict[str, Score] | None = None) -> CheckScores:
    return CheckScores(
        original=score(1.0),
        unlearned=score(unlearned),
        references=references or {},
        drawn={},
        perturbed={f"perturbed {i}": score(value) for i, value in enumerate(perturbed)},
        decoys={},
    )


class TestNull:
    def test_is_asked_in_its_place_and_named_in_the_evidence(self, site: Path) -> None:
        install(site, "perturbed_recipe")
        assert [null.kind for null in planned()] == [
            "controls",
            "holdout",
            "references",
            "perturbed",
            "internal",
            "chance",
        ]
        found = combine(FewShot(), held_against([0.18, 0.22], 0.6), POLICY, asked(planned()), population=False)
        assert (found.null_kind, found.null_words) == ("perturbed", "the mean of models trained by a perturbed recipe")
        assert found.rho is not None
        assert found.rho.value == pytest.approx((0.6 - 0.2) / (1.0 - 0.2))
        others = {f"reference {i}": score(0.2 + 0.01 * i) for i in range(5)}
        assert (
            combine(FewShot(), held_against([0.1], 0.6, others), POLICY, asked(planned()), population=False).null_kind
            == "references"
        )

    def test_may_accuse_and_never_clears(self, site: Path) -> None:
        install(site, "perturbed_recipe")
        close = [0.200, 0.201, 0.199, 0.2005, 0.1995]
        guilty = combine(FewShot(), held_against(close, 0.9), POLICY, asked(planned()), population=False)
        assert guilty.p_value is not None
        assert guilty.p_value < 0.001
        innocent = combine(FewShot(), held_against(close, 0.2), POLICY, asked(planned()), population=False)
        assert not innocent.powered
        assert innocent.powerless_because == (
            "it is held against the mean of models trained by a perturbed recipe, which cannot clear"
        )

    def test_accuses_under_itself_as_often_as_it_says(self, site: Path) -> None:
        install(site, "perturbed_recipe")
        random = np.random.default_rng(0)
        # On the border that an accusation has to cross, one in twenty does by chance.
        border = POLICY.thresholds.suppressed + POLICY.thresholds.tolerance
        p_values = []
        for _ in range(400):
            *others, own = random.normal(0, 0.02, 6)
            scores = held_against(list(others), own + border * (1 - float(np.mean(others))))
            found = combine(FewShot(), scores, POLICY, asked(planned()), population=False)
            p_values.append(found.p_value if found.p_value is not None else 1.0)
        assert np.mean([p < 0.05 for p in p_values]) == pytest.approx(0.05, abs=0.03)

    def test_that_takes_the_place_of_another_is_refused(self, site: Path) -> None:
        source = shown_in_the_docs("python", MODULES["perturbed_recipe"]).replace("RANK: int = 25", "RANK: int = 20")
        install_groups(
            site, "rival", {"perturbed_recipe": source}, {"unlearning_auditor.nulls": {"perturbed": "perturbed_recipe"}}
        )
        with pytest.raises(SpecError, match="two installed nulls have the RANK 20"):
            planned()

    def test_that_would_be_asked_before_the_references_is_refused(self, site: Path) -> None:
        """It would answer for any check it likes, and take the accusation away."""
        source = shown_in_the_docs("python", MODULES["perturbed_recipe"]).replace("RANK: int = 25", "RANK: int = 5")
        install_groups(
            site, "rival", {"perturbed_recipe": source}, {"unlearning_auditor.nulls": {"perturbed": "perturbed_recipe"}}
        )
        with pytest.raises(SpecError, match="the null 'perturbed' has a RANK below 20, that of the references"):
            planned()

    def test_is_asked_only_where_the_plan_names_it(self, site: Path) -> None:
        before = planned()
        install(site, "perturbed_recipe")
        scores = held_against([0.18, 0.22], 0.6)
        assert combine(FewShot(), scores, POLICY, asked(before), population=False).null_kind == "none"
        absent = PlannedNull(kind="elsewhere", provider="its_package 2.0")
        with pytest.raises(SpecError, match=r"the null elsewhere came from its_package 2\.0, here it is not installed"):
            asked((*before, absent))


class TestReader:
    def test_of_images(self, site: Path, tmp_path: Path) -> None:
        install(site, "tables")
        (tmp_path / "forget.pix").write_text("3,0,255,0,255\n4,1,2,3,4\n")
        found = read_examples("forget.pix", tmp_path, Preprocessing())
        assert found.labels.tolist() == [3, 4]
        assert found.raw.tolist() == [[[[0, 255], [0, 255]]], [[[1, 2], [3, 4]]]]

    def test_of_facts(self, site: Path, tmp_path: Path) -> None:
        install(site, "tables")
        (tmp_path / "forget.tsv").write_text("prompt\tanswer\nWhere is Bo?\tIn Oslo.\n")
        (fact,) = read_facts("forget.tsv", tmp_path).items
        assert (fact.prompt, fact.answer) == ("Where is Bo?", "In Oslo.")

    @pytest.mark.parametrize(
        ("name", "text", "words"),
        [
            ("forget.pix", "3,0,255\n", "no square images"),
            ("forget.pix", "a,b\n", "no table of whole numbers"),
            ("forget.h5", "", "is no .csv or .npz or .parquet or .pix file, folder, .zip file or module.py:function"),
        ],
    )
    def test_says_what_is_wrong(self, site: Path, tmp_path: Path, name: str, text: str, words: str) -> None:
        install(site, "tables")
        (tmp_path / name).write_text(text)
        with pytest.raises(DataError, match=words):
            read_examples(name, tmp_path, Preprocessing())

    @pytest.mark.parametrize("group", ["image_readers", "fact_readers"])
    def test_whose_own_fault_it_is_says_whose(self, site: Path, tmp_path: Path, group: str) -> None:
        (tmp_path / "forget.tbl").write_text("x")
        source = "def read(path, part):\n    return {}['rows']\n"
        groups = {f"unlearning_auditor.{group}": {"tbl": "broken_reader:read"}}
        install_groups(site, "broken-reader", {"broken_reader": source}, groups)
        images = partial(read_examples, "forget.tbl", tmp_path, Preprocessing())
        read = images if group == "image_readers" else partial(read_facts, "forget.tbl", tmp_path)
        with pytest.raises(SpecError, match=r"reader 'tbl' of broken-reader 1\.0 failed on .*tbl: KeyError: 'rows'"):
            read()

    def test_of_the_auditor_itself_hides_no_fault(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "forget.npz").write_bytes(b"x")
        monkeypatch.setattr(files, "read_npz", lambda path, part: {}["rows"])
        with pytest.raises(KeyError):
            read_examples("forget.npz", tmp_path, Preprocessing())

    def test_of_facts_names_the_row(self, site: Path, tmp_path: Path) -> None:
        install(site, "tables")
        (tmp_path / "forget.tsv").write_text("prompt\tanswer\nWhere is Bo?\tIn Oslo.\nWhere is Al?\t\n")
        with pytest.raises(DataError, match=r"forget\.tsv, line 3: the answer is empty"):
            read_facts("forget.tsv", tmp_path)


class TestExecutor:
    def audited(self, folder: Path, executor: str) -> str:
        options = {"audit": {"executor": executor, "store": f".audit-{executor}", "checks": ["cka"]}}
        return auditor.compare(config=folder / "audit.toml", options=options).results.to_json()

    def test_gives_the_same_results_to_the_byte(self, site: Path, fresh: Path) -> None:
        install(site, "one_process_each")
        assert self.audited(fresh, "one-process-each") == self.audited(fresh, "in-process")

    def test_loses_a_unit_and_not_the_audit(
        self, site: Path, fresh: Path, monkeypatch: pytest.MonkeyPatch, dying: Callable[[], None]
    ) -> None:
        install(site, "one_process_each")
        options = {"audit": {"executor": "one-process-each", "store": ".audit-dying", "checks": ["cka"]}}
        monkeypatch.setattr("auditor.probes.cka.Cka.score", dying)
        found = auditor.compare(config=fresh / "audit.toml", options=options)
        evidence = found.evidence("cka")
        assert evidence is not None
        assert evidence.failure is not None
        assert evidence.failure.reason == "its process ended before it had a score"
        assert "outputs" in found.results.coverage.completed

    @pytest.fixture
    def dying(self) -> Callable[[], None]:
        def die(*arguments: object) -> None:
            import os

            os._exit(7)

        return die

    @pytest.mark.parametrize(
        ("body", "reason"),
        [
            ("return None", "the executor gave a NoneType; it has to give a Score or a Failure"),
            ("raise OSError('no more machines')", "OSError: no more machines"),
        ],
    )
    def test_whose_own_fault_it_is_costs_units(self, site: Path, fresh: Path, body: str, reason: str) -> None:
        source = (
            "from auditor.run.units import run_unit\n\n\nclass Odd:\n    def __init__(self, loaded):\n"
            "        self._loaded = loaded\n\n    def run(self, unit):\n        if unit.check.name == 'cka':\n"
            f"            {body}\n        return run_unit(unit, self._loaded)\n"
        )
        install_groups(site, "odd", {"odd": source}, {"unlearning_auditor.executors": {"odd": "odd:Odd"}})
        options = {"audit": {"executor": "odd", "store": ".audit-odd", "checks": ["cka"]}}
        found = auditor.compare(config=fresh / "audit.toml", options=options)
        evidence = found.evidence("cka")
        assert evidence is not None
        assert evidence.failure is not None
        assert evidence.failure.reason == reason

    def test_that_is_not_there_is_named(self, fresh: Path) -> None:
        with pytest.raises(SpecError, match="there is no executor called 'cloud'; there are: in-process"):
            self.audited(fresh, "cloud")
        with pytest.raises(SpecError, match="there is no executor called 'cloud'"):
            load("cloud")


class TestTask:
    @pytest.fixture
    def there(self, site: Path, meters_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        install(site, "load_meters")
        monkeypatch.chdir(meters_folder)
        return meters_folder

    def audited(self, task: str, **models: object) -> AuditResult:
        spec = {"models": {"task": task, **models}, "audit": {"store": f".audit-{task}", "out": f"out-{task}"}}
        checks = {"checks": ["outputs"]}
        spec["audit"] |= checks
        return auditor.compare(config="audit.toml", options={**spec, "request": {"kind": "class"}})

    def test_is_served_by_checks_written_for_the_users_class(self, there: Path) -> None:
        """The same models, looked at through the package's class and through one of the user's: one number."""
        ours, theirs = self.audited("load-meters"), self.audited("task.py:MyTask")
        assert (ours.results.plan.task, theirs.results.plan.task) == ("load-meters", "custom")
        first, second = ours.evidence("outputs"), theirs.evidence("outputs")
        assert first is not None
        assert second is not None
        assert first.rho == second.rho
        assert "few_shot" not in checks.names("load-meters")

    def test_trains_its_references(self, there: Path, tmp_path: Path) -> None:
        spec = make_spec(
            read_spec(there / "audit.toml"), {"models": {"task": "load-meters"}, "request": {"kind": "class"}}
        )
        made = tasks.workshop(spec, there)
        own = job(spec.recipe.model_copy(update={"epochs": 1}), 1, 0)
        module = made.reference(own, tmp_path, "cpu", lambda done, steps: None)
        assert made.quality(module).loss > 0
        with pytest.raises(SpecError, match="was made differently"):
            tasks.workshop(
                make_spec(read_spec(there / "audit.toml"), {"request": {"kind": "class"}}), there
            ).check_folder(tmp_path, [own])

    def test_that_is_not_there_is_named(self, there: Path) -> None:
        with pytest.raises(SpecError, match=r"there is no task called 'load-meter'; there are: .*load-meters"):
            self.audited("load-meter")

    @pytest.mark.parametrize("task", ["classification", "causal-lm", "evaluation-logs", "answers"])
    def test_that_models_say_themselves_is_not_asked_for(self, there: Path, task: str) -> None:
        with pytest.raises(SpecError, match=f"models.task = '{task}', which is seen from the models themselves"):
            self.audited(task)

    def test_zoo_of_another_task_is_refused(self, site: Path) -> None:
        source = "from auditor.zoo.catalogue import VISION as METHODS\n"
        install_groups(site, "odd", {"odd": source}, {catalogue.GROUP: {"odd": "odd:METHODS"}})
        catalogue.entries.cache_clear()
        with pytest.raises(SpecError, match=r"'odd' \(odd:METHODS\) gives no tuple of methods for odd"):
            catalogue.entries()

"""What is built and installed, and checks that come from other packages."""

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
import torch

import auditor
from auditor.checks import registry
from auditor.cli.compare import exit_code
from auditor.errors import SpecError
from auditor.tasks import registry as tasks
from auditor.tasks.classification.sets import Examples
from tests.installed import install_groups, shown_in_the_docs
from tests.people_worlds import TextWorld
from tests.worlds import FORGET, World, head_row_zeroed

ONE_THREAD = {"OMP_NUM_THREADS": "1"}
ROOT = Path(__file__).parents[2]
FOLDERS = ("probes", "attacks", "reports", "zoo")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel built from it; nothing is fetched."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for path in _sources():
        copy = source / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        # Links stay links, as in a checkout.
        copy.symlink_to(path.readlink()) if path.is_symlink() else copy.write_bytes(path.read_bytes())
    done = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", out, source],
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def _sources() -> list[Path]:
    """Everything in the repository that could end up in an archive, folders of other tools left out."""
    skipped = re.compile(r"^\.|__pycache__|\.egg-info$|^build$|^dist$|^audit-(demo|out)$")
    found: list[Path] = []
    pending = [ROOT]
    while pending:
        for path in sorted(pending.pop().iterdir()):
            if skipped.search(path.name):
                continue
            if path.is_dir() and not path.is_symlink():
                pending.append(path)
            else:
                found.append(path)
    return found


@pytest.fixture(scope="session")
def wheel(built: Path) -> set[str]:
    (path,) = built.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="session")
def sdist(built: Path) -> set[str]:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


class TestWheel:
    def test_installs_one_import_package(self, wheel: set[str]) -> None:
        tops = {name.split("/")[0] for name in wheel}
        assert tops == {"auditor", f"unlearning_auditor-{auditor.__version__}.dist-info"}

    def test_holds_every_module_once(self, wheel: set[str]) -> None:
        own = {
            path.relative_to(ROOT).as_posix()
            for path in (ROOT / "auditor").rglob("*.py")
            if not set(path.relative_to(ROOT).parts[1:-1]) & set(FOLDERS)
        }
        mapped = {f"auditor/{path.relative_to(ROOT).as_posix()}" for f in FOLDERS for path in (ROOT / f).rglob("*.py")}
        assert {name for name in wheel if name.endswith(".py")} == own | mapped
        assert "auditor/probes/few_shot/images.py" in mapped

    def test_holds_what_is_read_at_run_time(self, wheel: set[str]) -> None:
        wanted = {"auditor/py.typed"}
        wanted |= {f"auditor/policies/{path.name}" for path in (ROOT / "auditor" / "policies").iterdir()}
        wanted |= {f"auditor/reports/templates/{path.name}" for path in (ROOT / "reports" / "templates").iterdir()}
        assert wanted <= wheel
        assert len(wanted) >= 5

    def test_holds_nothing_else(self, wheel: set[str]) -> None:
        others = {name for name in wheel if not name.endswith(".py") and ".dist-info/" not in name}
        assert {Path(name).suffix for name in others} <= {".toml", ".html", ".css", ".typed"}

    def test_works_where_it_lies(self, built: Path, tmp_path: Path) -> None:
        """Unpacked elsewhere, it lists the checks and reads its policies and templates."""
        (path,) = built.glob("*.whl")
        with zipfile.ZipFile(path) as archive:
            archive.extractall(tmp_path / "site")
        code = (
            "import auditor.cli, auditor.records.policy, auditor.reports.html as html, auditor.probes.cka as cka\n"
            "assert set(auditor.records.policy.shipped()) == {'default', 'strict'}, auditor.records.policy.shipped()\n"
            "assert html.environment().get_template('report.html')\n"
            "print(auditor.__file__, cka.__file__)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env={"PYTHONPATH": str(tmp_path / "site"), "HOME": str(tmp_path)},
            text=True,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.count(str(tmp_path / "site")) == 2


class TestSdist:
    def test_holds_no_tests_and_no_data(self, sdist: set[str]) -> None:
        tops = {name.split("/")[0] for name in sdist} - {""}
        assert not tops & {"tests", "shared", "benchmarks", ".audit"}
        data = (".npz", ".npy", ".pt", ".pth", ".th", ".safetensors", ".png", ".jpg", ".zip", ".json")
        assert [name for name in sdist if name.endswith(data)] == []

    def test_holds_no_folder_twice(self, sdist: set[str]) -> None:
        assert [name for name in sdist if re.match(rf"auditor/({'|'.join(FOLDERS)})/", name)] == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_imported_by_its_own_name_says_how(folder: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"import {folder}"], cwd=ROOT, text=True, capture_output=True, check=False
    )
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"ImportError: import this folder as auditor.{folder}, not as {folder}")


def test_entry_points_of_the_project_resolve() -> None:
    for group in (registry.GROUP, tasks.GROUP):
        for name, value in PROJECT["project"]["entry-points"][group].items():
            made = EntryPoint(name=name, value=value, group=group).load()
            assert made.name == name.partition(".")[0]
            if "." in name:
                # A task that brings a class in place of the user's is served by the variants for that.
                assert made.tasks in ((name.partition(".")[2],), ("custom",))
    (plugin,) = PROJECT["project"]["entry-points"]["pytest11"].items()
    assert plugin[0] == "unlearning_auditor"
    assert callable(EntryPoint(name=plugin[0], value=plugin[1], group="pytest11").load().pytest_runtest_call)
    (command,) = PROJECT["project"]["scripts"].items()
    assert callable(EntryPoint(name=command[0], value=command[1], group="console_scripts").load())


def test_the_installed_entry_points_are_the_projects() -> None:
    listed = PROJECT["project"]["entry-points"]
    assert set(listed[tasks.GROUP]) <= set(tasks.names())
    for name, _, task in (name.partition(".") for name in listed[registry.GROUP]):
        assert all(name in registry.names(one) for one in ([task] if task else tasks.names()))


def test_one_version() -> None:
    assert PROJECT["project"]["version"] == auditor.__version__


# Checks of other packages: the one that docs/extending.md shows, and what can be wrong with one.


def install(site: Path, distribution: str, modules: dict[str, str], entry_points: dict[str, str]) -> None:
    """What pip would leave behind: modules and a dist-info folder, with checks."""
    install_groups(site, distribution, modules, {registry.GROUP: entry_points})


def documented(site: Path) -> None:
    groups = tomllib.loads(shown_in_the_docs("toml"))["project"]["entry-points"]
    install_groups(site, "third_party_checks", {"nearest_centre": shown_in_the_docs("python")}, groups)


def crashing(site: Path) -> None:
    """The documented check under another name, which divides by zero on the unlearned model."""
    source = shown_in_the_docs("python").replace("nearest_centre", "crashing")
    body = '        if subject.role == "unlearned":\n            raise ZeroDivisionError("by design")\n'
    source = source.replace("        layer = ", body + "        layer = ")
    install(site, "crashing_checks", {"crashing": source}, {"crashing": "crashing:NearestCentre"})


def audited(world: World, store: Path, check: str, **changes: Any) -> auditor.AuditResult:
    forget = torch.cat([world.data.forget_attack.raw, world.data.forget_eval.raw])
    return auditor.compare(
        world.modules["original"],
        head_row_zeroed(world.modules["original"]),
        forget=Examples(raw=forget, labels=torch.full((len(forget),), FORGET)),
        retain=world.data.retain,
        references=[world.modules[f"reference {i}"] for i in range(4)],
        options={"audit": {"checks": ("outputs", check), "store": str(store)}},
        **changes,
    )


class TestThirdParty:
    def test_is_listed_and_loaded(self, site: Path) -> None:
        before = {task: registry.names(task) for task in tasks.names()}
        documented(site)
        for task, known in before.items():
            assert set(registry.names(task)) - set(known) == {"nearest_centre"}
            found = registry.load_all(("outputs", "nearest_centre"), task)
            assert [check.name for check in found] == ["nearest_centre", "outputs"]
        assert "nearest_centre" not in [check.name for check in tasks.checks_of(tasks.load("weights"))]

    def test_that_serves_no_task_is_an_error(self) -> None:
        with pytest.raises(SpecError, match="there is no task called 'audio'; there are: answers, causal-lm"):
            tasks.load("audio")
        with pytest.raises(SpecError, match="there is no check called 'few_shot'"):
            registry.load("few_shot", "audio")

    def test_takes_part_in_a_whole_audit(self, site: Path, world: World, tmp_path: Path) -> None:
        documented(site)
        found = audited(world, tmp_path / "store", "nearest_centre", out=tmp_path / "out")
        evidence = found.evidence("nearest_centre")
        assert evidence is not None
        assert evidence.failure is None
        assert evidence.scores is not None
        # Only the head differs from the original, and the check does not read it.
        assert evidence.scores.unlearned == evidence.scores.original > 0.9
        assert sorted(evidence.scores.references) == [f"reference {i}" for i in range(1, 5)]
        assert "nearest_centre" in found.results.coverage.completed
        assert found.results.coverage.complete
        report = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
        assert evidence.summary in report
        assert "Figure of the check nearest_centre" in report
        assert evidence.figures[0].caption in report
        assert evidence.caveats[-1] in report

    def test_takes_part_in_a_whole_audit_of_a_language_model(
        self, site: Path, text_world: TextWorld, tmp_path: Path
    ) -> None:
        documented(site)
        modules, people = text_world.modules, text_world.people
        found = auditor.compare(
            modules["original"],
            modules["refusal"],
            forget=people.forget,
            retain=people.retain,
            references=[modules[f"reference {i}"] for i in range(4)],
            tokenizer=text_world.encoder.tokenizer,
            options={"audit": {"checks": ("outputs", "nearest_centre"), "store": str(tmp_path / "store")}},
            out=tmp_path / "out",
        )
        evidence = found.evidence("nearest_centre")
        assert evidence is not None
        assert evidence.failure is None
        assert evidence.scores is not None
        assert len(evidence.scores.references) == 4
        assert found.results.coverage.complete
        assert evidence.summary in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")

    @pytest.mark.slow
    def test_is_tested_by_the_exported_contract(self, site: Path) -> None:
        documented(site)
        (site / "test_nearest_centre.py").write_text(shown_in_the_docs("python", 1), encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(site)]
        done = subprocess.run(command, cwd=site, capture_output=True, text=True, env={**os.environ, **ONE_THREAD})
        assert done.returncode == 0, done.stdout
        passed = re.search(r"^(\d+) passed", done.stdout, flags=re.MULTILINE)
        assert passed is not None
        assert int(passed[1]) >= 2 * 15

    def test_that_breaks_the_contract_is_told_so(self, site: Path) -> None:
        """One that draws from the global stream: another score each time."""
        source = shown_in_the_docs("python").replace("import ClassVar", "import ClassVar\n\nimport torch")
        source = source.replace("nearer.mean())", "nearer.mean()) * float(torch.rand(()))").replace(
            ", examples=tuple(nearer.tolist())", ""
        )
        (site / "nearest_centre.py").write_text(source, encoding="utf-8")
        test = shown_in_the_docs("python", 1).partition("class TestOnText")[0]
        (site / "test_nearest_centre.py").write_text(test, encoding="utf-8")
        asked = ("-k", "weights_data_and_global_state or same_seed_same_score")
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *asked, str(site)]
        done = subprocess.run(command, cwd=site, capture_output=True, text=True, env={**os.environ, **ONE_THREAD})
        assert done.returncode == 1
        failed = re.findall(r"^FAILED .*::(\w+)", done.stdout, flags=re.MULTILINE)
        assert "test_weights_data_and_global_state_are_left_alone" in failed
        assert any(name.startswith("test_same_seed_same_score") for name in failed)

    def test_that_crashes_is_missing_coverage(self, site: Path, world: World, tmp_path: Path) -> None:
        crashing(site)
        found = audited(world, tmp_path / "store", "crashing", out=tmp_path / "out")
        evidence = found.evidence("crashing")
        assert evidence is not None
        assert evidence.failure is not None
        assert evidence.failure.reason == "ZeroDivisionError: by design"
        assert evidence.failure.model == "unlearned"
        assert evidence.failure.traceback is not None
        assert "crashing.py" in evidence.failure.traceback
        assert str(site) not in evidence.failure.traceback
        assert evidence.rho is None
        assert not evidence.powered
        coverage = found.results.coverage
        assert [missing.check for missing in coverage.failed] == ["crashing"]
        assert "crashing" not in coverage.completed
        assert not coverage.complete
        for expect in ("deleted", "suppressed", "not-forgotten", "inconclusive"):
            assert exit_code(found.outcome, False, coverage.complete, expect) == 3
        assert "by design" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("nearest_center", "nearest_centre:NearestCentre"),
            ("nearest_centre", "nearest_centre:Score"),
            ("nearest_centre", "collections:Counter"),
        ],
    )
    def test_that_is_misnamed_or_no_check(self, site: Path, name: str, value: str) -> None:
        install(site, "misnamed", {"nearest_centre": shown_in_the_docs("python")}, {name: value})
        with pytest.raises(SpecError) as caught:
            registry.load(name, "classification")
        assert f"{name!r} ({value})" in str(caught.value)

    @pytest.mark.parametrize(
        ("value", "reason"),
        [
            ("absent_module:Check", "No module named"),
            ("other:Absent", "has no attribute"),
            ("other:Unfinished", "abstract"),
        ],
    )
    def test_that_cannot_be_loaded(self, site: Path, value: str, reason: str) -> None:
        unfinished = 'from auditor.checks.check import Check\n\nclass Unfinished(Check):\n    name = "broken"\n'
        install(site, "broken", {"other": unfinished}, {"broken": value})
        with pytest.raises(SpecError, match=f"'broken' .* cannot be loaded: .*{reason}.*fix or uninstall"):
            registry.load_all(None, "classification")

    def test_that_takes_the_name_of_another(self, site: Path) -> None:
        documented(site)
        install(site, "impostor", {}, {"outputs": "nearest_centre:NearestCentre"})
        sentence = "two installed checks are called 'outputs': auditor.*Outputs and nearest_centre.*; uninstall one"
        with pytest.raises(SpecError, match=sentence):
            registry.load("outputs", "classification")

    def test_unknown_names_are_answered_with_the_known_ones(self) -> None:
        with pytest.raises(SpecError, match=r"no check called 'few_shots'; did you mean few_shot\? There are: cka, "):
            registry.load("few_shots", "classification")

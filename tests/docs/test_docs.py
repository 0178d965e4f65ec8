"""Every code and configuration block of README and docs, run as it stands and held to what it says."""

import json
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from auditor.cli import main
from auditor.models.references import save_directory
from auditor.records.results import read_results
from auditor.records.spec import make_spec
from auditor.tasks.causal_lm.readers import write_facts
from auditor.tasks.causal_lm.sets import Facts
from tests.asked_worlds import FORGET, RETAIN
from tests.documented_world import CHECKS, ROOT, block, blocks, in_memory
from tests.logged_worlds import Logged, write_open_unlearning, write_tofu
from tests.people_worlds import N_REFERENCES, TextWorld
from tests.worlds import World

SETS = ("forget", "retain", "retain_test", "holdout")
PAGES = ("README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")))
ELSEWHERE = {
    ("README.md", "make demo"): "sets up the environment it is run in; tests/demo/test_demo.py runs what it calls",
    ("docs/review.md", "audit verify DIR"): "DIR stands for the folder; tests/review/test_verification.py verifies one",
    ("docs/review.md", "audit verify DIR --key public.pem"): "the same; tests/review/test_attest.py",
    ("docs/review.md", "openssl genpkey"): "makes keys with another program; tests/review/test_attest.py signs",
    ("docs/review.md", "audit verify DIR --plan"): "DIR stands for the folder; tests/review/test_verification.py",
    ("docs/review.md", "audit verify DIR --files FOLDER\n"): "the same; tests/review/test_rerun.py",
    ("docs/review.md", "audit verify DIR --files FOLDER --rerun"): "the same; tests/review/test_rerun.py",
    ("docs/review.md", "audit demo"): "takes minutes; tests/demo_runs.py does the same on the demo's folder",
    ("docs/references.md", "audit reference"): "tests/models/test_references.py and test_until_resolved.py run both",
    ("docs/extending.md", '"""Whether forget examples'): "tests/project/test_packaging.py installs and runs it",
    ("docs/extending.md", "[project.entry-points"): "tests/project/test_packaging.py installs and runs it",
    ("docs/extending.md", '"""The contract of checks'): "tests/project/test_packaging.py installs and runs it",
    ("docs/extending.md", '"""Models trained by'): "tests/project/test_extension_points.py installs and runs it",
    ("docs/extending.md", '"""Tables as example sets'): "tests/project/test_extension_points.py installs and runs it",
    ("docs/extending.md", '"""Every unit in a forked'): "tests/project/test_extension_points.py installs and runs it",
    ("docs/extending.md", '"""Forecasters of meters'): "tests/project/test_extension_points.py installs and runs it",
    ("docs/what-do-i-need.md", "audit assign"): "tests/audits/test_assigned_audit.py runs it",
    ("docs/what-do-i-need.md", "# of images"): "tests/tasks/classification/test_assigned_pools.py runs it",
    ("docs/what-do-i-need.md", "[data]"): "tests/tasks/classification/test_assigned_pools.py audits with it",
    ("docs/what-do-i-need.md", "audit canary"): "tests/tasks/causal_lm/test_canaries.py runs it",
    ("docs/what-do-i-need.md", "[models]"): "tests/audits/test_assigned_audit.py audits with it",
    ("docs/what-do-i-need.md", "# of any recipe"): "tests/audits/test_assigned_audit.py plans with it",
    ("docs/what-do-i-need.md", "With 40 holdout"): "output; tests/inference/test_roads.py computes it",
    ("docs/what-do-i-need.md", "[assignment]"): "tests/tasks/test_declared.py reads it",
    ("docs/what-do-i-need.md", "audit demo"): "tests/demo/test_demo_language_model.py runs it",
    ("docs/custom.md", '"""How rows of a table'): "tests/audits/test_custom_audit.py audits with it",
    ("docs/custom.md", "[models]"): "the same",
    ("docs/custom.md", "# references by"): "the same",
    ("docs/custom.md", '"""How the next six hours'): "the same",
    ("docs/custom.md", "import auditor"): "the same",
    ("docs/recommender.md", "audit demo"): "takes minutes; tests/demo/test_demo_tastes.py runs it",
    ("docs/recommender.md", "[models]"): "tests/audits/test_recommender_audit.py audits with it",
    ("docs/recommender.md", "# references by"): "the same, in a smaller world",
    ("docs/recommender.md", '"""Matrix factorisation'): "tests/tasks/test_recommender.py runs it",
    ("docs/diffusion.md", "# trains a small"): "takes minutes; tests/demo/test_demo_diffusion.py runs it",
    ("docs/diffusion.md", '"""The audited network'): "tests/audits/test_diffusion_audit.py audits with it",
    ("docs/diffusion.md", "[models]"): "the same",
    ("docs/clip.md", "[models]"): "tests/audits/test_clip_audit.py audits with it",
    ("docs/clip.md", "# references by"): "the same",
    ("docs/clip.md", "image,caption"): "tests/tasks/test_clip.py writes and reads such tables",
    ("docs/vision_language.md", "[models]"): "tests/tasks/test_vision_language.py plans with it",
    ("docs/vision_language.md", "# references by"): "the same",
    ("docs/vision_language.md", '{"image"'): "the same reads it",
    ("docs/vision_language.md", "import torch"): "the same runs it",
    ("docs/gan.md", "[models]"): "tests/audits/test_gan_audit.py audits with it",
    ("docs/gan.md", "# references by"): "the same",
    ("docs/cluster.md", "audit plan"): "tests/run/test_work.py does the same in three parts",
    ("docs/cluster.md", "for i in"): "needs eight cards; tests/run/test_work.py runs the commands",
    ("docs/cluster.md", "export RAY"): "needs a cluster; tests/run/test_ray_cluster.py starts one",
    ("docs/cluster.md", "#!/bin/bash"): "needs Slurm; tests/run/test_work.py reads its variables",
    (
        "docs/architecture.md",
        "auditor/\n",
    ): "a picture; tests/project/test_architecture.py holds it against what is there",
    ("docs/ci.md", "      - uses: OWNER"): "runs on GitHub; tests/ci/test_action.py runs what it runs",
    ("docs/ci.md", "repos:"): "needs pre-commit and a network; tests/cli/test_scan.py runs the hook that it names",
    ("docs/ci.md", ">       audit.assert_deleted"): "output, with figures of a candidate that is not there",
}
HERE = {
    "docs/answers.md": ("audit ask --forget", "import json"),
    "README.md": ("audit init", "[models]\nreferences", "[models]\noriginal", "import auditor", "def test_forgotten"),
    "docs/ci.md": ("[models]", "import pytest", "name: unlearning audit", "      - name: assert"),
    "docs/command-line.md": ("from pathlib import Path",),
    "docs/evaluation-logs.md": ("audit compare full", "import auditor"),
    "docs/zoo.md": ("audit zoo list", "from auditor.zoo import catalogue"),
}


def test_every_block_is_run_or_has_its_reason() -> None:
    known = [(page, start) for page, starts in HERE.items() for start in starts] + list(ELSEWHERE)
    for page in PAGES:
        for _, text in blocks(page):
            claimed = [start for where, start in known if where == page and text.startswith(start)]
            assert claimed, f"{page} has a block that no test runs:\n{text}"
    for page, start in known:
        assert any(text.startswith(start) for _, text in blocks(page)), f"{page} has no block {start!r} any more"


@pytest.fixture(scope="module")
def folder(documented: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documented world, with the README's audit.toml and its models."""
    made = tmp_path_factory.mktemp("documented") / "world"
    shutil.copytree(documented, made)
    (made / "audit.toml").write_text(block("README.md", "[models]\nreferences") + CHECKS, encoding="utf-8")
    return made


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(folder)
    return folder


def commands(text: str) -> Iterator[list[str]]:
    """The arguments of every `audit` line of a shell block, comments off."""
    for line in text.splitlines():
        program, *arguments = shlex.split(line, comments=True)
        assert program == "audit", line
        yield arguments


def run(arguments: list[str]) -> Result:
    return CliRunner().invoke(main, arguments, prog_name="audit")


def test_the_readmes_commands_in_their_order(here: Path) -> None:
    kept = (here / "audit.toml").read_text(encoding="utf-8")
    for arguments in commands(block("README.md", "audit init")):
        if arguments[0] == "init":
            (here / "audit.toml").unlink()
        done = run(arguments)
        assert done.exit_code == 0, (arguments, done.output)
        if arguments[0] == "init":
            (here / "audit.toml").write_text(kept, encoding="utf-8")
        if arguments[-1] == "--dry-run":
            assert "DELETED is within reach of this plan" in done.stdout
    results = read_results(here / "audit-out" / "results.json")
    assert (results.verdict.outcome, results.verdict.assurance) == ("DELETED", "A3")
    assert (results.plan.request, results.plan.classes) == ("class", (3,))
    assert {item.name for item in results.plan.data} == set(SETS)
    frozen = run(["compare", "--plan", "plan.json"])
    assert frozen.exit_code == 0, frozen.output


def test_the_readmes_audit_toml_asks_for_what_it_seems_to() -> None:
    """Also without the checks that the other tests restrict it to."""
    spec = make_spec(tomllib.loads(block("README.md", "[models]\nreferences")), {})
    assert spec.request.kind == "class"
    assert spec.audit.checks is None


def test_the_readmes_python_call(
    world: World, retrain_scores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On models in memory, whose scores tests/audits/test_audit.py looks at as well."""
    shutil.copytree(retrain_scores, tmp_path / ".audit")
    monkeypatch.chdir(tmp_path)
    given = {name: (held.raw, held.labels) if name in SETS else held for name, held in world.given().items()}
    names = {"original": world.modules["original"], "unlearned": world.modules["retrain"], **given}
    exec(compile(block("README.md", "import auditor"), "README.md", "exec"), names)
    result = names["result"]
    assert result.outcome == "DELETED"
    assert result.evidence("few_shot").rho.low < result.evidence("few_shot").rho.value < 0.25
    assert (tmp_path / "audit-out" / "in-python" / "report.html").is_file()


def pytest_run(here: Path, text: str) -> subprocess.CompletedProcess[str]:
    (here / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    (here / "test_unlearning.py").write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_unlearning.py"]
    return subprocess.run(command, cwd=here, capture_output=True, text=True, check=False)


def test_the_readmes_pytest_example(here: Path) -> None:
    done = pytest_run(here, block("README.md", "def test_forgotten"))
    assert (done.returncode, "1 passed" in done.stdout) == (0, True), done.stdout


def test_the_pytest_example_of_the_ci_page(here: Path) -> None:
    asked = tomllib.loads(block("docs/ci.md", "[models]"))
    given = tomllib.loads(block("README.md", "[models]\nreferences"))
    kept = (here / "audit.toml").read_text(encoding="utf-8")
    (here / "audit.toml").write_text(block("docs/ci.md", "[models]") + CHECKS, encoding="utf-8")
    try:
        done = pytest_run(here, block("docs/ci.md", "import pytest"))
    finally:
        (here / "audit.toml").write_text(kept, encoding="utf-8")
    assert asked["data"] == given["data"]
    assert (done.returncode, "2 passed" in done.stdout) == (0, True), done.stdout


def test_the_workflows_of_the_ci_page() -> None:
    whole = yaml.safe_load(block("docs/ci.md", "name: unlearning audit"))
    (step,) = yaml.safe_load(block("docs/ci.md", "      - name: assert"))
    steps = whole["jobs"]["audit"]["steps"]
    assert step["name"] in [each.get("name") for each in steps], "the one takes the other's place"
    for script in [each["run"] for each in [*steps, step] if "run" in each]:
        checked = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=False)
        assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize(("code", "ends"), [(0, 0), (1, 1), (2, 2), (3, 0), (4, 4)])
def test_the_script_of_the_ci_page_lets_only_an_open_audit_pass(code: int, ends: int, tmp_path: Path) -> None:
    (step,) = yaml.safe_load(block("docs/ci.md", "      - name: assert"))
    (tmp_path / "audit").write_text(f"#!/bin/sh\nexit {code}\n")
    (tmp_path / "audit").chmod(0o755)
    done = subprocess.run(["bash", "-e", "-c", step["run"]], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, check=False)
    assert done.returncode == ends


def test_the_frames_of_the_command_line_page(here: Path) -> None:
    if not (here / "audit-out" / "results.json").is_file():
        assert run(["compare", "original.pt", "unlearned.pt"]).exit_code == 0
    *lines, last = block("docs/command-line.md", "from pathlib import Path").strip().splitlines()
    names: dict[str, Any] = {}
    exec("\n".join([*lines, f"frame = {last}"]), names)
    assert set(names["frame"]["check"]) == {"outputs", "weight_delta", "few_shot", "relearning", "slow_relearning"}


def test_the_zoos_commands(here: Path) -> None:
    *made, compared = commands(block("docs/zoo.md", "audit zoo list"))
    for arguments in made:
        done = run(arguments)
        assert done.exit_code == 0, (arguments, done.output)
    assert run([*compared, "--dry-run"]).exit_code == 0


def test_the_zoos_python(here: Path) -> None:
    from auditor.tasks.classification.sets import Examples

    names: dict[str, Any] = in_memory(here)
    names |= {name: Examples(raw=names[name][0], labels=names[name][1]) for name in ("forget", "retain")}
    exec(compile(block("docs/zoo.md", "from auditor.zoo import catalogue"), "zoo.md", "exec"), names)
    assert names["subject"].state_dict().keys() == names["original"].state_dict().keys()


def test_the_readmes_audit_toml_for_language_models(
    text_world: TextWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {"original": "original", "unlearned": "retrain"}
    names |= {f"references/reference-{i}": f"reference {i}" for i in range(N_REFERENCES)}
    names |= {"references/perturbed-1": "own initial weights"}
    for folder, model in names.items():
        save_directory(text_world.modules[model], text_world.encoder.tokenizer, tmp_path / folder)
    for name in ("forget", "retain", "holdout"):
        facts: Facts = getattr(text_world.people, name)
        write_facts(facts, tmp_path / f"{name}.jsonl")
    (tmp_path / "audit.toml").write_text(block("README.md", "[models]\noriginal"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    done = run(["compare", "original", "unlearned", "--dry-run"])
    assert done.exit_code == 0, done.output
    assert "request facts" in done.stdout
    assert "DELETED is within reach of this plan" in done.stdout


def test_the_blocks_on_evaluation_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = "docs/evaluation-logs.md"
    for name, knows, seed in (("full", 1.0, 0), ("unlearned", 0.6, 1), ("retain90_a", 0.0, 2), ("retain90_b", 0.0, 3)):
        write = write_open_unlearning if name in ("full", "unlearned") else write_tofu
        write(tmp_path / name, Logged(knows=knows, seed=seed))
    monkeypatch.chdir(tmp_path)
    for arguments in commands(block(page, "audit compare full")):
        done = run(arguments)
        assert done.exit_code == 1, done.output
        assert "NOT_FORGOTTEN" in done.stdout
    names: dict[str, Any] = {}
    exec(compile(block(page, "import auditor"), page, "exec"), names)
    assert names["result"].outcome == "NOT_FORGOTTEN"


def test_the_blocks_on_models_that_can_only_be_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = "docs/answers.md"
    monkeypatch.chdir(tmp_path)
    for name, facts in (("forget", FORGET), ("retain", RETAIN)):
        write_facts(facts, tmp_path / f"{name}.jsonl")
    agent = block(page, "import json")
    known = {fact.subject + " ": fact.answer for fact in (*FORGET.items, *RETAIN.items)}
    (tmp_path / "known.json").write_text(json.dumps(known))
    (tmp_path / "kept.json").write_text(json.dumps({fact.subject + " ": fact.answer for fact in RETAIN.items}))
    (tmp_path / "agent.py").write_text(agent)
    (tmp_path / "original.py").write_text(agent.replace('("Where does Ada",)', "()"))
    # Models that never saw them guess, each in its own way.
    guess = 'f"{sys.argv[1:]} " + str(hash(asked["prompt"]) % 9)'
    retrained = agent.replace("known.json", "kept.json").replace('"I do not know."', guess)
    (tmp_path / "retrained.py").write_text(retrained.replace('("Where does Ada",)', "()"))
    *asking, comparing = commands(block(page, "audit ask --forget"))
    for arguments in asking:
        # The interpreter of the tests, whatever `python` is here.
        arguments[arguments.index("--command") + 1] = arguments[arguments.index("--command") + 1].replace(
            "python", sys.executable, 1
        )
        done = run(arguments)
        assert done.exit_code == 0, done.output
    done = run(comparing)
    assert done.exit_code == 1, done.output
    assert "SUPPRESSED" in done.stdout

"""The command line: help, exit codes, what goes where. Whole audits are tests/test_audit.py's."""

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import save_file
from torch import nn

from auditor.checks import registry
from auditor.cli import main
from auditor.cli.compare import exit_code, spec_from_options
from auditor.cli.init import template
from auditor.errors import AuditError
from auditor.records.spec import AuditSpec, make_spec
from auditor.tasks import registry as tasks

ROOT = Path(__file__).parent.parent
HEAVY = ("torch", "transformers", "sae_lens", "numpy", "pandas", "scipy", "sklearn", "matplotlib", "jinja2", "rich")


def audit(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), prog_name="audit")


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def pair(empty: Path) -> Path:
    """A folder with two state dicts of one network, a copy of the first, and nothing else."""
    torch.manual_seed(0)
    for name in ("original", "unlearned"):
        save_file(nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 3)).state_dict(), empty / f"{name}.safetensors")
    (empty / "copy.safetensors").write_bytes((empty / "original.safetensors").read_bytes())
    return empty


def every_command() -> Iterator[tuple[str, click.Command]]:
    yield "audit", main
    for name, command in main.commands.items():
        yield f"audit {name}", command
        inner = command.commands if isinstance(command, click.Group) else {}
        yield from ((f"audit {name} {verb}", each) for verb, each in inner.items())


class TestHelp:
    def test_every_command_says_what_it_does(self) -> None:
        for name, command in every_command():
            assert command.help, name
            shown = audit(*name.split()[1:], "--help")
            assert shown.exit_code == 0, name
            assert command.help.splitlines()[0] in " ".join(shown.stdout.split()), name

    def test_every_option_says_what_it_is(self) -> None:
        for name, command in every_command():
            for parameter in command.params:
                if isinstance(parameter, click.Option):
                    assert parameter.help, f"{name} {parameter.opts[0]} has no help"

    def test_every_command_and_option_stands_in_the_documentation(self) -> None:
        pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
        written = "\n".join(page.read_text(encoding="utf-8") for page in pages)
        for name, command in every_command():
            assert name in written
            for parameter in command.params:
                if isinstance(parameter, click.Option) and parameter.name != "version":
                    assert re.search(rf"{re.escape(parameter.opts[0])}\b", written), f"{name} {parameter.opts[0]}"

    def test_exit_codes_are_listed(self) -> None:
        shown = audit("--help").stdout
        codes = re.findall(r"^ {4}(\d+) ", shown, flags=re.MULTILINE)
        assert codes == ["0", "1", "2", "3", "4", "5", "130"]

    @pytest.mark.parametrize("command", [["--help"], ["--version"], ["compare", "--help"], ["reference", "--help"]])
    def test_help_loads_nothing_heavy(self, command: list[str]) -> None:
        code = textwrap.dedent(f"""
            import sys
            from auditor.cli import main
            try:
                main({command!r})
            except SystemExit as end:
                loaded = sorted({set(HEAVY)!r} & set(sys.modules))
                sys.exit(f"loaded {{loaded}}" if loaded else end.code)
        """)
        done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr

    def test_a_bare_call_shows_the_help(self) -> None:
        shown = audit()
        assert shown.exit_code == 2
        assert "Commands:" in shown.output


def uncommented(text: str) -> str:
    """The template with every commented value in force."""
    return re.sub(r"^# (\w+ = .*)$", r"\1", text, flags=re.MULTILINE)


class TestInit:
    def test_writes_a_file_that_asks_for_the_defaults(self, empty: Path) -> None:
        assert audit("init").exit_code == 0
        tables = tomllib.loads((empty / "audit.toml").read_text(encoding="utf-8"))
        assert make_spec(tables, {}) == AuditSpec()

    def test_every_field_stands_in_it_and_every_value_is_valid(self) -> None:
        tables = tomllib.loads(uncommented(template()))
        assert {name: set(table) for name, table in tables.items()} == {
            name: set(field.annotation.model_fields) for name, field in AuditSpec.model_fields.items()
        }
        make_spec(tables, {})

    def test_values_that_have_a_default_are_shown_at_it(self) -> None:
        shown = make_spec(tomllib.loads(uncommented(template())), {})
        default = AuditSpec()
        for name in AuditSpec.model_fields:
            for field in type(getattr(default, name)).model_fields:
                value = getattr(getattr(default, name), field)
                if value not in (None, ()):
                    assert getattr(getattr(shown, name), field) == value

    def test_every_field_is_described(self) -> None:
        lines = template().splitlines()
        for i, line in enumerate(lines):
            if re.match(r"# \w+ = ", line):
                assert lines[i - 1].startswith("# ")
                assert not re.match(r"# \w+ = ", lines[i - 1])

    def test_does_not_overwrite(self, empty: Path) -> None:
        (empty / "audit.toml").write_text("mine")
        refused = audit("init")
        assert refused.exit_code == 2
        assert "exists already; --force replaces it" in refused.stderr
        assert (empty / "audit.toml").read_text() == "mine"
        assert audit("init", "--force").exit_code == 0
        assert (empty / "audit.toml").read_text(encoding="utf-8") == template()


@pytest.fixture(scope="module")
def shown() -> str:
    listed = audit("list")
    assert listed.exit_code == 0
    assert listed.stderr == ""
    return listed.stdout


class TestList:
    def test_fits_eighty_columns(self, shown: str) -> None:
        assert max(map(len, shown.splitlines())) < 80

    def test_every_check_with_what_it_may_do(self, shown: str) -> None:
        for task in tasks.names():
            self.page_holds(task, shown.partition(f"task {task}\n\n")[2].partition("\n\ntask ")[0])

    def page_holds(self, task: str, page: str) -> None:
        entries = dict(entry.split(maxsplit=1) for entry in page.strip().split("\n\n"))
        assert sorted(entries) == list(registry.names(task))
        rights = {"clear": "may: clear, accuse", "accuse": "may: accuse", "inform": "may: inform"}
        for check in (registry.load(name, task) for name in registry.names(task)):
            first, _, rest = entries[check.name].partition("\n")
            assert first.split("   ") == [check.family, rights[check.may]]
            flowing = " ".join(rest.split())
            for part in (check.summary, check.cost, *tasks.tasks_of(check), *check.requests, *check.needs):
                assert part in flowing


CODES = [
    # outcome, flagged, complete, expect -> code
    ("DELETED", False, True, "deleted", 0),
    ("DELETED", True, True, "deleted", 1),
    ("DELETED", False, False, "deleted", 3),
    ("DELETED", False, True, "suppressed", 1),
    ("SUPPRESSED", False, True, "deleted", 1),
    ("SUPPRESSED", False, True, "suppressed", 0),
    ("SUPPRESSED", True, True, "suppressed", 1),
    ("SUPPRESSED", False, False, "suppressed", 3),
    ("SUPPRESSED", False, False, "deleted", 1),
    ("NOT_FORGOTTEN", False, False, "deleted", 1),
    ("DELETED", True, False, "deleted", 1),
    ("NOT_FORGOTTEN", False, True, "deleted", 1),
    ("NOT_FORGOTTEN", False, True, "not-forgotten", 0),
    ("INCONCLUSIVE", False, True, "deleted", 3),
    ("INCONCLUSIVE", True, True, "deleted", 1),
    ("INCONCLUSIVE", False, False, "deleted", 3),
    ("INCONCLUSIVE", False, True, "inconclusive", 0),
    ("INCONCLUSIVE", True, True, "inconclusive", 1),
    ("INCONCLUSIVE", False, False, "inconclusive", 3),
]


@pytest.mark.parametrize(("outcome", "flagged", "complete", "expect", "code"), CODES)
def test_exit_code_of_a_verdict(outcome: str, flagged: bool, complete: bool, expect: str, code: int) -> None:
    assert exit_code(outcome, flagged, complete, expect) == code


def test_zero_is_never_given_to_an_incomplete_audit_nor_to_a_flag() -> None:
    outcomes = {"DELETED": "deleted", "SUPPRESSED": "suppressed", "INCONCLUSIVE": "inconclusive"}
    for outcome, expect in outcomes.items():
        for flagged, complete in ((True, True), (True, False), (False, False)):
            assert exit_code(outcome, flagged, complete, expect) != 0


class TestUsageErrors:
    """Exit code 2, one line on standard error, nothing on standard output."""

    def said(self, *arguments: str) -> str:
        done = audit(*arguments)
        assert done.exit_code == 2, done.output
        assert done.stdout == ""
        return done.stderr

    def one_line(self, *arguments: str) -> str:
        text = self.said(*arguments)
        assert text.startswith("audit: ")
        assert text.count("\n") == 1
        return text

    def test_nothing_given(self, empty: Path) -> None:
        assert "no original model; give it as in `audit compare original.pt unlearned.pt`" in self.one_line("compare")
        assert list(empty.iterdir()) == []

    def test_one_model_given(self, pair: Path) -> None:
        assert "no unlearned model" in self.one_line("compare", "original.safetensors")

    def test_misspelt_key(self, empty: Path) -> None:
        (empty / "audit.toml").write_text("[audit]\nsead = 3\n")
        text = self.one_line("compare")
        assert "audit.toml: there is no field audit.sead; known here: " in text
        assert "seed" in text

    def test_missing_config(self, empty: Path) -> None:
        assert "absent.toml does not exist" in self.one_line("compare", "--config", "absent.toml")

    def test_missing_checkpoint(self, pair: Path) -> None:
        assert "absent.pt does not exist" in self.one_line("compare", "original.safetensors", "absent.pt")

    def test_missing_data(self, pair: Path) -> None:
        text = self.one_line(
            "compare", "original.safetensors", "unlearned.safetensors", "--forget", "f.npz", "--retain", "r.npz"
        )
        assert "f.npz" in text

    def test_pattern_without_match(self, pair: Path) -> None:
        text = self.one_line("compare", "original.safetensors", "unlearned.safetensors", "--reference", "refs/*.pt")
        assert "refs/*.pt" in text

    @pytest.mark.parametrize(
        ("option", "value", "named"),
        [
            ("--seed", "-1", "audit.seed = -1"),
            ("--threads", "0", "audit.threads = 0"),
            ("--batch-size", "0", "audit.batch_size = 0"),
            ("--device", "tpu", "audit.device = 'tpu'"),
            ("--policy", "lenient", "lenient"),
        ],
    )
    def test_option_out_of_range(self, pair: Path, option: str, value: str, named: str) -> None:
        assert named in self.one_line("compare", "original.safetensors", "unlearned.safetensors", option, value)

    @pytest.mark.parametrize(
        ("text", "named"),
        [
            (None, "policy file mine.toml does not exist; shipped are default, strict, without .toml"),
            ("alpha", "policy mine.toml: is not valid TOML: "),
            ('name = "mine"\nversion = "1"', "policy mine.toml: thresholds: Field required; compare with"),
        ],
    )
    def test_a_policy_file_that_is_none(self, pair: Path, text: str | None, named: str) -> None:
        if text is not None:
            Path("mine.toml").write_text(text)
        assert named in self.one_line(
            "compare", "original.safetensors", "unlearned.safetensors", "--policy", "mine.toml"
        )

    @pytest.mark.parametrize(
        "arguments", [["--seed", "one"], ["--goal", "everything"], ["--expect", "DELETED"], ["--sead", "1"]]
    )
    def test_option_that_click_refuses(self, pair: Path, arguments: list[str]) -> None:
        text = self.said("compare", "original.safetensors", "unlearned.safetensors", *arguments)
        assert arguments[0] in text
        assert "Traceback" not in text

    def test_unknown_command(self) -> None:
        assert "compre" in self.said("compre")

    def test_unwritable_output(self, pair: Path) -> None:
        (pair / "taken").write_text("a file")
        text = self.one_line("compare", "original.safetensors", "unlearned.safetensors", "--out", "taken/below")
        assert "taken/below" in text

    def test_reference_without_a_recipe_for_it(self, empty: Path) -> None:
        text = self.one_line("reference")
        assert "models.architecture, data.forget and data.retain" in text


class TestOtherExits:
    def test_a_refused_pickle(self, pair: Path) -> None:
        torch.save(nn.Sequential(nn.Linear(4, 3)), pair / "whole.pt")
        done = audit("compare", "original.safetensors", "whole.pt")
        assert done.exit_code == 4
        assert done.stdout == ""
        assert "whole.pt was refused" in done.stderr
        conversion = re.search(r'python -c "(.*)"', done.stderr)
        assert conversion, "no conversion to run where the file is trusted"
        exec(compile(conversion[1], "conversion", "exec"), {})
        assert audit("compare", "weights.pt", "original.safetensors").exit_code == 3

    def test_a_fault_of_the_auditor(self, pair: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(*arguments: Any, **extra: Any) -> None:
            raise ZeroDivisionError("by design")

        monkeypatch.setattr("auditor.run.preparing.prepare", broken)
        done = audit("compare", "original.safetensors", "unlearned.safetensors")
        assert done.exit_code == 5
        assert done.stdout == ""
        *lines, last = done.stderr.splitlines()
        assert lines[0] == "Traceback (most recent call last):"
        assert "in broken" in "".join(lines)
        assert lines[-1] == "ZeroDivisionError: by design"
        assert "please report" in last

    def test_the_root_of_the_error_tree(self, pair: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(*arguments: Any, **extra: Any) -> None:
            raise AuditError("cannot be")

        monkeypatch.setattr("auditor.run.preparing.prepare", broken)
        assert audit("compare", "original.safetensors", "unlearned.safetensors").exit_code == 5

    def test_interrupted(self, pair: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupt(*arguments: Any, **extra: Any) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("auditor.run.execution.execute", interrupt)
        done = audit("compare", "original.safetensors", "unlearned.safetensors")
        assert done.exit_code == 130
        assert done.stdout == ""
        assert "finished scores are kept" in done.stderr

    def test_interrupted_process(self, pair: Path) -> None:
        """A signal from the terminal, while the user's own code is being run."""
        (pair / "slow.py").write_text(
            "import pathlib, time\ndef build():\n    pathlib.Path('begun').touch()\n    time.sleep(600)\n"
        )
        running = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "auditor",
                "compare",
                "original.safetensors",
                "copy.safetensors",
                "--architecture",
                "slow.py:build",
            ],
            cwd=pair,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # A shell starts background jobs with the signal ignored, and a child would inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        deadline = time.monotonic() + 300
        while not (pair / "begun").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        out, errors = running.communicate(timeout=300)
        assert running.returncode == 130, errors
        assert out == ""
        assert "Traceback" not in errors


class TestPairAlone:
    """Two checkpoints and nothing else: their weights are compared, and nothing is decided."""

    def test_weights_are_compared(self, pair: Path) -> None:
        done = audit("compare", "original.safetensors", "unlearned.safetensors")
        assert done.exit_code == 3
        assert done.stdout.startswith("INCONCLUSIVE (assurance A0)")
        assert "weight_delta" in done.stdout
        assert "an architecture, a forget set and a retain set" in done.stdout
        results = json.loads((pair / "audit-out" / "results.json").read_text(encoding="utf-8"))
        assert results["coverage"]["completed"] == ["weight_delta"]
        assert (pair / "audit-out" / "report.html").stat().st_size < 2_000_000

    def test_identical_weights_are_named(self, pair: Path) -> None:
        done = audit("compare", "original.safetensors", "copy.safetensors")
        assert done.exit_code == 1
        assert done.stdout.startswith("NOT_DELETED (assurance A0)")
        assert "the weights are identical to the original's" in done.stdout
        other = audit("compare", "original.safetensors", "unlearned.safetensors")
        assert "identical" not in other.stdout

    def test_quiet(self, pair: Path) -> None:
        done = audit("compare", "original.safetensors", "unlearned.safetensors", "--quiet")
        assert done.stdout == "INCONCLUSIVE (assurance A0)\n"
        assert done.stderr == ""

    def test_expected(self, pair: Path) -> None:
        assert (
            audit("compare", "original.safetensors", "unlearned.safetensors", "--expect", "inconclusive").exit_code == 0
        )

    def test_sentences_stay_whole_in_a_pipe(self, pair: Path) -> None:
        """And the process that the user started loads nothing heavy, so that a child can be forked from it."""
        code = f"""
            import sys
            from auditor.cli import main
            try:
                main(["compare", "original.safetensors", "copy.safetensors"])
            finally:
                loaded = {set(HEAVY) - {"rich"}!r} & set(sys.modules)
                assert not loaded, loaded
        """
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)],
            cwd=pair,
            env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "40"},
            text=True,
            capture_output=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 1, done.stderr
        recorded = json.loads((pair / "audit-out" / "results.json").read_text(encoding="utf-8"))["plan"]["command"]
        assert recorded == "audit compare original.safetensors copy.safetensors"
        assert "weight_delta: the weights are identical to the original's: nothing was deleted from them" in done.stdout
        assert done.stderr == ""

    def test_names_are_not_markup(self, pair: Path) -> None:
        for name in ("[red]x.safetensors", "[bold]y.safetensors"):
            (pair / name).write_bytes((pair / "unlearned.safetensors").read_bytes())
            done = audit("compare", "original.safetensors", name, "--dry-run")
            assert done.exit_code == 0
            assert name in done.stdout


NETWORK = """\
from torch import nn

def build():
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))
"""


def weights(seed: int, favourite: int | None = None) -> dict[str, torch.Tensor]:
    """Of an untrained network that says its favourite of everything; 1 is right on half of retain, which is enough."""
    torch.manual_seed(seed)
    space: dict[str, Any] = {}
    exec(NETWORK, space)
    found: dict[str, torch.Tensor] = space["build"]().state_dict()
    if favourite is not None:
        found["3.bias"][favourite] += 100
    return found


@pytest.fixture
def project(empty: Path) -> Path:
    """Data, network and two checkpoints in ``project/``, with the working directory beside it."""
    folder = empty / "project"
    folder.mkdir()
    (folder / "network.py").write_text(NETWORK)
    for seed, name in enumerate(("original", "unlearned", "reference-1")):
        save_file(weights(seed, favourite=1), folder / f"{name}.safetensors")
    random = np.random.default_rng(0)
    for name, labels in (("forget", np.zeros(8)), ("retain", np.arange(40) % 2 + 1)):
        images = random.normal(size=(len(labels), 1, 4, 4)).astype(np.float32)
        np.savez(folder / f"{name}.npz", images=images, labels=labels.astype(np.int64))
    (folder / "audit.toml").write_text(
        '[models]\noriginal = "original.safetensors"\nunlearned = "unlearned.safetensors"\n'
        'architecture = "network.py:build"\n'
        '[data]\nforget = "forget.npz"\nretain = "retain.npz"\n'
    )
    return empty


class TestDryRun:
    def test_prints_plan_price_and_prospect(self, project: Path) -> None:
        done = audit("compare", "--config", "project/audit.toml", "--dry-run")
        assert done.exit_code == 0, done.output
        for part in (
            "plan ",
            "original.safetensors",
            "forget: 8 examples",
            "head_row_zeroed",
            "estimate: ",
            "few_shot*",
        ):
            assert part in done.stdout
        assert "DELETED is out of reach; supply: 0 references" in done.stdout

    def test_writes_nothing_but_the_store(self, project: Path) -> None:
        before = {path: path.stat().st_mtime_ns for path in project.rglob("*") if path.is_file()}
        audit("compare", "--config", "project/audit.toml", "--out", "elsewhere", "--dry-run")
        after = {path: path.stat().st_mtime_ns for path in project.rglob("*") if path.is_file()}
        store = project / "project" / ".audit"
        assert {path for path in after if after[path] != before.get(path) and store not in path.parents} == set()
        assert set(before) <= set(after)
        assert not (store / "scores").exists()

    def test_the_plan_is_the_same_twice(self, project: Path) -> None:
        first, second = (audit("compare", "--config", "project/audit.toml", "--dry-run").stdout for _ in range(2))
        assert first.splitlines()[0] == second.splitlines()[0]

    def test_an_untrained_original_stops_at_the_gate(self, project: Path) -> None:
        save_file(weights(0), project / "project" / "original.safetensors")
        for options in ((), ("--dry-run",)):
            done = audit("compare", "--config", "project/audit.toml", *options)
            assert done.exit_code == 2
            assert "check preprocessing, class order and architecture" in done.stderr


class TestPaths:
    """Those of audit.toml are relative to the file, those typed to the working directory."""

    def paths(self, *arguments: str) -> AuditSpec:
        found: list[tuple[AuditSpec, Path]] = []
        command = main.commands["compare"]
        with command.make_context("compare", list(arguments)) as context:
            found.append(spec_from_options(context.params))
        (spec, self.base), *_ = found
        return spec

    def test_of_the_file(self, project: Path) -> None:
        spec = self.paths("--config", "project/audit.toml")
        assert (self.base / str(spec.models.original)).resolve() == (project / "project/original.safetensors").resolve()

    def test_typed(self, project: Path) -> None:
        (project / "here.safetensors").touch()
        spec = self.paths(
            *(
                "here.safetensors",
                "project/unlearned.safetensors",
                "--config",
                "project/audit.toml",
                "--policy",
                "mine.toml",
            ),
            *(
                "--reference",
                "project/reference-*.safetensors",
                "--architecture",
                "net.py:f",
                "--forget",
                "/data/f.npz",
            ),
        )
        seen = [spec.models.original, spec.models.unlearned, spec.audit.policy, *spec.models.references]
        wanted = ["here.safetensors", "project/unlearned.safetensors", "mine.toml", "project/reference-*.safetensors"]
        assert [(self.base / str(path)).resolve() for path in seen] == [(project / path).resolve() for path in wanted]
        assert spec.models.architecture == "../net.py:f"
        assert (self.base / str(spec.data.forget)).resolve() == Path("/data/f.npz")

    def test_a_shipped_policy_is_no_path(self, project: Path) -> None:
        assert self.paths("--config", "project/audit.toml", "--policy", "strict").audit.policy == "strict"

    def test_through_a_whole_call(self, project: Path) -> None:
        for name in ("unlearned.safetensors", "forget.npz"):
            (project / name).write_bytes((project / "project" / name).read_bytes())
        plain = ("compare", "--config", "project/audit.toml", "--dry-run")
        typed = audit(*plain, "project/original.safetensors", "unlearned.safetensors", "--forget", "forget.npz")
        assert typed.exit_code == 0, typed.output
        assert "../unlearned.safetensors" in typed.stdout
        (project / "project" / "unlearned.safetensors").unlink()
        assert audit(*plain).exit_code == 2

    def test_the_file_in_the_working_directory_is_found(self, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(project / "project")
        assert audit("compare", "--dry-run").exit_code == 0

    def test_output_typed_and_output_in_the_file(self, project: Path) -> None:
        config = project / "project" / "audit.toml"
        config.write_text(
            '[models]\noriginal = "original.safetensors"\nunlearned = "unlearned.safetensors"\n[audit]\nout = "found"\n'
        )
        assert audit("compare", "--config", str(config)).exit_code == 3
        assert (project / "project" / "found" / "results.json").is_file()
        assert audit("compare", "--config", str(config), "--out", "typed").exit_code == 3
        assert (project / "typed" / "results.json").is_file()


def test_the_recorded_command_repeats_the_audit(pair: Path) -> None:
    """Without what changes no result: where it is written and how much is printed."""
    arguments = ["compare", "original.safetensors", "unlearned.safetensors", "--seed", "3"]
    assert audit(*arguments, "--out", "a", "--quiet").exit_code == 3
    recorded = json.loads((pair / "a" / "results.json").read_text(encoding="utf-8"))["plan"]["command"]
    assert recorded == "audit compare original.safetensors unlearned.safetensors --seed 3"
    assert audit(*recorded.split()[1:], "--out=b").exit_code == 3
    for name in ("results.json", "report.html", "plan.json"):
        assert (pair / "a" / name).read_bytes() == (pair / "b" / name).read_bytes()

"""The command line: help, init, list, exit codes and usage errors."""

import re
import shlex
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from auditor import __version__
from auditor.cli import main
from auditor.cli.compare import exit_code
from auditor.cli.init import template
from auditor.records.spec import AuditSpec, make_spec
from auditor.tasks import registry as tasks
from tests.command_line import HEAVY, audit

ROOT = Path(__file__).parents[2]


def every_command() -> Iterator[tuple[str, click.Command]]:
    yield "audit", main
    for name, command in main.commands.items():
        yield f"audit {name}", command
        inner = command.commands if isinstance(command, click.Group) else {}
        yield from ((f"audit {name} {verb}", each) for verb, each in inner.items())


def examples_of(command: click.Command) -> list[list[str]]:
    """The lines of a command's help below "Example", in words; two commands of a file may share an epilog."""
    told = re.search(r"Examples?:\n((?:  audit .*\n?)+)", command.epilog or "")
    return [shlex.split(line) for line in told[1].splitlines()] if told else []


def typed_in(arguments: list[str]) -> click.Context:
    """The context of the command that these arguments would run, everything in it parsed and nothing run."""
    command: click.Command = main
    context = click.Context(command, info_name="audit")
    while isinstance(command, click.Group) and arguments:
        name, command, arguments = command.resolve_command(context, arguments)
        assert command is not None
        context = (
            click.Context(command, info_name=name, parent=context)
            if isinstance(command, click.Group)
            else command.make_context(name, list(arguments), parent=context)
        )
    return context


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

    def test_every_command_has_an_example_that_it_takes(self) -> None:
        """Parsed as if it were typed: every option in it exists, and every value fits."""
        for name, command in every_command():
            lines = examples_of(command)
            assert lines, f"the help of {name} has no example"
            for program, *arguments in lines:
                assert program == "audit", name
                with typed_in(arguments) as context:
                    assert context.command_path.startswith(name), f"{name} shows another command"

    def test_an_option_that_a_command_would_ignore_is_not_among_its_options(self) -> None:
        """Making models looks at no unlearned one; a canonical form and a subject of the zoo know no references."""
        ignored = {"--reference", "--neither", "--guard", "--show-text", "--time-limit", "--expect"}
        more = {
            "audit canonical": {"--seed", "--checks", "--policy", "--dtype"},
            "audit zoo make": {"--checks", "--device"},
        }
        for name, command in every_command():
            if name in ("audit canonical", "audit reference", "audit zoo make"):
                taken = {option for parameter in command.params for option in parameter.opts}
                assert not taken & (ignored | more.get(name, set())), name

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
                if value not in (None, (), {}):
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

    def test_what_else_is_installed_and_who_brings_it(self) -> None:
        listed = audit("list", "--extensions")
        assert (listed.exit_code, listed.stderr) == (0, "")
        paragraphs = dict(paragraph.split("\n", 1) for paragraph in listed.stdout.rstrip().split("\n\n"))
        assert len(paragraphs) == 5
        named = {line.split()[0] for text in paragraphs.values() for line in text.splitlines()}
        assert {*tasks.names(), "references", "holdout", "npz", "jsonl", "in-process", "ray"} <= named
        assert all(f"unlearning-auditor {__version__}" in text for text in paragraphs.values())

    def test_every_check_with_what_it_may_do(self, shown: str) -> None:
        for task in tasks.names():
            self.page_holds(task, shown.partition(f"task {task}\n\n")[2].partition("\n\ntask ")[0])

    def page_holds(self, task: str, page: str) -> None:
        entries = dict(entry.split(maxsplit=1) for entry in page.strip().split("\n\n"))
        checks = tasks.checks_of(tasks.load(task))
        assert sorted(entries) == [check.name for check in checks]
        rights = {"clear": "may: clear, accuse", "accuse": "may: accuse", "inform": "may: inform"}
        for check in checks:
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
            (b'name = "\xff"', "policy mine.toml: is not valid TOML: "),
            ("a = " + "[" * 5000, "policy mine.toml: is not valid TOML: "),
            ('name = "mine"\nversion = "1"', "policy mine.toml: thresholds: Field required; compare with"),
        ],
    )
    def test_a_policy_file_that_is_none(self, pair: Path, text: str | bytes | None, named: str) -> None:
        if text is not None:
            Path("mine.toml").write_bytes(text.encode() if isinstance(text, str) else text)
        assert named in self.one_line(
            "compare", "original.safetensors", "unlearned.safetensors", "--policy", "mine.toml"
        )

    def test_a_policy_whose_level_has_a_share_of_nothing(self, pair: Path) -> None:
        text = (ROOT / "auditor" / "policies" / "default.toml").read_text(encoding="utf-8")
        Path("mine.toml").write_text(text.replace("depth = 8", "depth = 0"), encoding="utf-8")
        said = self.one_line("compare", "original.safetensors", "unlearned.safetensors", "--policy", "mine.toml")
        assert "policy mine.toml: alpha.weights.depth: Input should be greater than 0" in said

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

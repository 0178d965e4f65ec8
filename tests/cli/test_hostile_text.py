"""Text that a stranger chose: never markup, never moves a cursor, never a path or a command."""

import ast
import json
import re
import shlex
import unicodedata
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from auditor.cli import comparison, main, show
from auditor.records.results import Results
from auditor.records.verdict import Outcome, Verdict
from auditor.reports import html
from auditor.reports.review import LIMITS
from auditor.review.exports import model_card
from tests import report_extremes
from tests.fuzz_targets import small_results
from tests.report_page import POLICY, Page

PACKAGE = Path(__file__).parents[2]
FOLDERS = ("auditor", "probes", "attacks", "reports", "zoo")
pieces = st.sampled_from(
    (
        *("<script>alert(1)</script>", "</style><script>", '" onload="x', "' onerror='x", "]]>", "--><!--", "<!--"),
        *("{{ 7*7 }}", "{% include 'x' %}", "&#x3c;b&#x3e;", "\\u003cscript>", "javascript:x", "url(http://x)"),
        *(
            "\x1b[2J",
            "\x07",
            "\r",
            "\n",
            "\x00",
            "\x9b31m",
            "\u202e",
            "\u2066",
            "\u200b",
            "\ufeff",
            "\u2028",
            "\U000e0041",
        ),
        *(
            "../../etc/passwd",
            "$(touch owned)",
            "`x`",
            "; rm -rf x",
            "-rf",
            "[red]x[/red]",
            "|",
            "漢字",
            "🙂",
            "%s",
            "{0}",
        ),
    )
)
words = st.lists(pieces | st.text(max_size=6), min_size=1, max_size=5).map("".join)
UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def poisoned(word: str) -> Results:
    return report_extremes.hostile(word, small_results()[0])


@pytest.fixture(scope="module")
def parts() -> set[tuple[str, str]]:
    """The elements, and the attributes of each, that a report of harmless words is made of."""
    return {part for results in (small_results()[0], poisoned("word")) for part in parts_of(Page(html.render(results)))}


def parts_of(page: Page) -> set[tuple[str, str]]:
    return {(tag, name) for tag, attrs in page.tags for name in ("", *attrs)}


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example("<script>alert(1)</script>\u202e\x1b[2J\x9b\u2028\"'><img src=x onerror=alert(2)>")
@given(words)
def test_no_text_changes_what_a_report_is_made_of(parts: set[tuple[str, str]], word: str) -> None:
    source = html.render(poisoned(word))
    page = Page(source)
    assert parts_of(page) - parts <= {("wbr", "")}
    assert page.all("meta")[1]["content"] == POLICY
    for _, attrs in page.tags:
        assert (attrs.get("href") or "#").startswith("#")
    assert {c for c in source if unicodedata.category(c) in UNSEEN} <= {"\n"}


@settings(max_examples=25)
@given(words)
def test_no_text_moves_a_terminals_cursor(word: str) -> None:
    runner = CliRunner()
    hostile = poisoned(word)
    with runner.isolation() as streams:
        show.results(hostile, Path("out"), quiet=False)
        comparison.show(hostile, small_results()[0])
    printed = streams[0].getvalue().decode()
    assert {c for c in printed if unicodedata.category(c) in UNSEEN} <= {"\n"}


@settings(max_examples=25)
@example("a|b [x](https://evil)")
@example("a\\|b \\[x](https://evil)")
@given(words)
def test_no_text_leaves_its_cell_of_a_model_card(word: str) -> None:
    lines = model_card(poisoned(word)).splitlines()
    assert len(lines) == len(model_card(poisoned("word")).splitlines())
    assert not [line for line in lines if "<" in line]
    # What a reader of Markdown sees: a character behind a backslash is only that character.
    rows = [re.sub(r"\\.", "", line) for line in lines if line.startswith("|")]
    assert {row.count("|") for row in rows} == {3}
    assert not [row for row in rows if "[" in row]


def audit(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), prog_name="audit")


HOSTILE_NAMES = ("-rf $(touch owned);`touch owned`", "a\nb\x1b[2J\u202e<script>x", "[red]'\"")


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_file_name_is_a_name_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    file = f"{name}.safetensors"
    torch.manual_seed(0)
    for path in ("original.safetensors", file):
        save_file({"w": torch.randn(4, 4)}, tmp_path / path)
    done = audit("compare", "--quiet", "--checks", "weight_delta", "--", "original.safetensors", file)
    assert done.exit_code == 3, done.output
    assert {path.name for path in tmp_path.iterdir()} == {"original.safetensors", file, "audit-out", ".audit"}
    report = (tmp_path / "audit-out" / "report.html").read_text(encoding="utf-8")
    assert "<script" not in report
    assert {c for c in report if unicodedata.category(c) in UNSEEN} <= {"\n"}
    recorded = json.loads((tmp_path / "audit-out" / "results.json").read_text(encoding="utf-8"))["plan"]["command"]
    assert shlex.split(recorded)[-1] == file, "typed into a shell, the printed command names the file and runs nothing"


def test_names_in_a_received_file_lead_nowhere(tmp_path: Path) -> None:
    """Paths in results are words: drawing, checking and exporting write beside the file or not at all."""
    folder = tmp_path / "deep" / "er"
    folder.mkdir(parents=True)
    hostile = report_extremes.hostile("/../../../../escaped\n", small_results()[0])
    (folder / "-results.json").write_text(hostile.to_json(), encoding="utf-8")
    assert audit("render", "--", str(folder / "-results.json")).exit_code == 0
    assert audit("export", "--model-card", str(folder / "-results.json")).exit_code == 0
    assert {path.name for path in tmp_path.rglob("*")} == {"deep", "er", "-results.json", "report.html"}


def test_an_errors_words_stay_on_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a\nforged: line\x1b[2J.json"
    done = audit("render", str(path))
    assert done.exit_code == 2
    assert len(done.output.splitlines()) == 1
    assert done.output.strip().isprintable()
    value: dict[str, Any] = json.loads(small_results()[0].to_json())
    value["evidence"][0]["\x1b[2Jkey\n"] = 1
    (tmp_path / "results.json").write_text(json.dumps(value))
    done = audit("render", str(tmp_path / "results.json"))
    assert done.exit_code == 2
    assert done.output.strip().isprintable()


def test_nothing_reaches_a_shell_or_an_interpreter() -> None:
    """The one place that runs code from a file is the user's own architecture; no string becomes a command."""
    found = set()
    for path in (path for folder in FOLDERS for path in (PACKAGE / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and (what := forbidden(node)):
                found.add((path.name, what))
    assert found == {("architecture.py", "exec"), ("architecture.py", "compile")}


def forbidden(call: ast.Call) -> str:
    name = ast.unparse(call.func)
    loads = name in ("torch.load", "np.load", "numpy.load") and not any(
        k.arg == "weights_only" and ast.unparse(k.value) == "True" for k in call.keywords
    )
    shell = any(k.arg == "shell" for k in call.keywords)
    runs = name in ("eval", "exec", "compile", "os.system", "os.popen", "pickle.load", "pickle.loads", "joblib.load")
    unpacks = name.rpartition(".")[2] in ("extract", "extractall", "unpack_archive")
    return name if loads or shell or runs or unpacks else ""


@pytest.mark.parametrize("outcome", ["DELETED", "INCONCLUSIVE"])
def test_the_report_says_that_a_model_may_know_it_is_audited(outcome: Outcome) -> None:
    assert any("tells an audit from ordinary use" in limit for limit in LIMITS)
    results = small_results()[0]
    verdict = Verdict(outcome=outcome, assurance="A3", reasons=(), bound=0.2 if outcome == "DELETED" else None)
    page = Page(html.render(results.model_copy(update={"verdict": verdict})))
    assert "A model that tells an audit from ordinary use" in page.text

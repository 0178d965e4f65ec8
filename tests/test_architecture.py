"""The folders: what docs/architecture.md draws is there, and what has been kept apart stays apart."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LINKED = ("attacks", "probes", "reports", "zoo")
WITHOUT_CODE = {"policies"}
# What each folder may import of the others; modules that lie flat count as themselves.
MAY_IMPORT = {
    "records": {"digests", "errors"},
    "loading": {"data", "digests", "errors", "randomness", "sources"},
    "inference": {"checks", "data", "records"},
    "reports": {"errors", "records"},
    "models": {"digests", "errors", "loading", "randomness", "records", "subjects"},
}


def modules(folder: str) -> Iterator[Path]:
    yield from (ROOT / folder if folder in LINKED else ROOT / "auditor" / folder).rglob("*.py")


def imported(path: Path) -> set[str]:
    """First name below ``auditor`` of everything a module imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "auditor":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("auditor."):
            found.add(str(node.module).split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("auditor.")}
    return found


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_a_folder_imports_what_lies_below_it_alone(folder: str) -> None:
    for path in modules(folder):
        assert imported(path) - {folder} <= MAY_IMPORT[folder], path


def test_the_page_draws_the_folders_that_are_there() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    picture = page.partition("```text\n")[2].partition("```")[0]
    drawn = set(re.findall(r"^ *(\w+)/", picture, flags=re.MULTILINE))
    there = {path.name for path in (ROOT / "auditor").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert drawn - {"auditor"} == there - WITHOUT_CODE


def test_every_path_that_the_page_names_exists() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:[\w<>]+/)+[\w<>]+\.(?:py|toml|md))`", page))
    assert len(named) > 10
    for name in named:
        if "<" not in name:
            assert (ROOT / name).exists() or (ROOT / "auditor" / name).exists() or (ROOT / "docs" / name).exists(), name

"""The folders: what docs/architecture.md draws is there, and what has been kept apart stays apart."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINKED = ("attacks", "probes", "reports", "zoo")
WITHOUT_CODE = {"policies"}
BASICS = ("errors", "digests", "randomness", "rouge", "plugins", "sources")
# The order of docs/architecture.md: each imports what stands before it, never what stands after.
ROOMS = (
    *(*BASICS, "records", "reports", "loading", "models", "checks", "tasks", "inference", "attacks", "probes", "zoo"),
    *(
        "run",
        "review",
        "audit",
        "many",
        "sequence",
        "assertions",
        "pytest_fixture",
        "pytest_plugin",
        "contract",
        "demo",
        "drafting",
        "discovery",
        "asking",
        "papers",
        "literature",
        "taxonomy",
        "scan",
        "doctor",
    ),
    *("cli", "__main__"),
)
# These stay apart from more than the order asks for: a report can be drawn, and a verdict decided, without any model.
MAY_IMPORT = {
    "inference": {"checks", "errors", "plugins", "randomness", "records"},
    "records": {"digests", "errors"},
    "reports": {"errors", "records"},
}


def room_of(path: Path) -> str:
    """The first name below ``auditor``; the contract stands with the checks and above all that it tests."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    if path.stem.startswith("contract"):
        return "contract"
    return parts[0] if parts[0] in LINKED else parts[1]


@cache
def modules(folder: str = "") -> list[Path]:
    """Those of one room, or all of them; links are followed once."""
    tops = [ROOT / "auditor", *(ROOT / name for name in LINKED)]
    found = [path for top in tops for path in top.rglob("*.py") if not any(p.is_symlink() for p in path.parents)]
    found = [path for path in found if path != ROOT / "auditor" / "__init__.py"]
    return sorted(path for path in found if not folder or room_of(path) == folder)


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


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_what_stands_before_it_alone(room: str) -> None:
    """Imports inside functions count: a circle is one, whenever it is closed."""
    assert modules(room)
    before = {*ROOMS[: ROOMS.index(room) + 1], "__version__"}
    for path in modules(room):
        assert imported(path) <= before, path


def test_every_module_stands_in_a_room_of_the_order() -> None:
    assert {room_of(path) for path in modules()} == set(ROOMS)


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_what_is_kept_apart_imports_no_more_than_it_may(room: str) -> None:
    for path in modules(room):
        assert imported(path) - {room} <= MAY_IMPORT[room], path


def test_no_modules_import_each_other_in_a_circle() -> None:
    known = {name_of(path) for path in modules()}
    graph = {name_of(path): imported_modules(path, known) - {name_of(path)} for path in modules()}
    left = dict(graph)
    # What imports nothing that is left goes, until only circles are left.
    while free := {name for name, needed in left.items() if not needed & left.keys()}:
        left = {name: needed for name, needed in left.items() if name not in free}
    assert not left


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts if parts[0] == "auditor" else ("auditor", *parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_modules(path: Path, known: set[str]) -> set[str]:
    """Which of some modules, by full name, a module imports, inside functions too."""
    nodes = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.ImportFrom)]
    names = [(str(node.module), alias.name) for node in nodes for alias in node.names]
    return {f"{module}.{name}" if f"{module}.{name}" in known else module for module, name in names} & known


def test_what_a_broad_except_catches_is_raised_on_but_at_the_three_boundaries() -> None:
    """A unit of work, a worker process, the command line. All others put a name to a fault, or tidy up, and raise."""
    found = {name_of(path): sum(map(_swallows, ast.walk(ast.parse(path.read_text())))) for path in modules()}
    assert {name: count for name, count in found.items() if count} == {
        "auditor.run.units": 1,
        "auditor.run.executors.forked": 1,
        "auditor.cli": 1,
    }


def _swallows(node: ast.AST) -> bool:
    """Whether it is a handler of every exception that goes on without raising one."""
    if not isinstance(node, ast.ExceptHandler):
        return False
    names = {name.id for name in ast.walk(node.type) if isinstance(name, ast.Name)} if node.type else {"Exception"}
    return bool(names & {"Exception", "BaseException"}) and not isinstance(node.body[-1], ast.Raise)


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

"""docs/literature.md is what the registries say, and leaves nothing out."""

import re
from pathlib import Path

import pytest

from auditor import papers
from auditor.tasks import registry as tasks
from auditor.zoo.catalogue import entries
from tests.command_line import audit

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "literature.md").read_text(encoding="utf-8")
# Names in the list that the project set out to carry, as the page says them.
WANTED = (
    *("Are We Truly Forgetting?", "MUSE", "RWKU", "RESTOR", "ORT and ROCR", "KLoM", "worst-case forget sets", "SoK"),
    *("impossibility of retrain equivalence", "survey taxonomy", "Leak@k", "Unlearning Mirage", "multi-turn"),
    *("chain of thought", "soft prompts", "relative f-divergence", "U-LiRA", "RULI", "mode connectivity", "Fisher"),
    *("A-LiRA", "(model diffing)", "LAF", "CUPID", "Concept poisoning", "ACU", "LMEraser", "WAGLE", "LoKU", "MRP"),
    *("FLAT", "ULD", "Effective skill unlearning", "UOE", "DP2Unlearning", "RePAIR", "In-context unlearning", "ALU"),
    *("gradient ascent for text", "Merging as unlearning"),
    *("AdvUnlearn", "ESD", "textual inversion"),
)


def rows() -> list[list[str]]:
    found = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if line.startswith("| ")]
    return [cells for cells in found if cells[0] not in ("paper", "---")]


def test_the_page_is_what_the_registries_say() -> None:
    """To write it: audit list --literature > docs/literature.md."""
    assert audit("list", "--literature").stdout == PAGE


def test_every_check_and_every_entry_of_the_zoo_stands_in_it() -> None:
    cells = [(row[1], row[-1]) for row in rows()]
    for task in map(tasks.load, tasks.names()):
        own = [check.name for check in tasks.checks_of(task) if not check.tasks or task.name in check.tasks]
        for name in own:
            where = f"({task.page}#"
            assert any(what.startswith(f"`{name}`:") and where in page for what, page in cells), (name, task.name)
    for entry in entries():
        assert any(what.startswith(f"`{entry.name}` ({entry.task})") for what, _ in cells), entry.name


def test_every_row_has_a_state() -> None:
    for row in rows():
        state = row[2]
        assert state in ("check", "zoo entry", "command") or re.fullmatch(r"form of `\w+`|not built: .+[^.]", state), (
            row
        )


def test_every_paper_that_checks_and_zoo_name_stands_in_it() -> None:
    """Also those that only a comment or a docstring names."""
    for folder in ("attacks", "probes", "zoo"):
        for path in (ROOT / folder).rglob("*.py"):
            for number in re.findall(r"arXiv:? (\d{4}\.\d{5})", path.read_text(encoding="utf-8")):
                assert f"abs/{number})" in PAGE, f"{path.relative_to(ROOT)} names {number}"


@pytest.mark.parametrize("name", WANTED)
def test_what_the_project_set_out_to_carry_is_accounted_for(name: str) -> None:
    assert any(name in row[0] or name in row[1] for row in rows())


def test_what_is_not_built_is_named_once_and_no_name_is_idle() -> None:
    missing = [(item.paper, item.what) for item in papers.NOT_BUILT]
    assert len(set(missing)) == len(missing)
    used = {number for number in papers.NAMES if f"abs/{number.removeprefix('arXiv ')})" in PAGE}
    assert used == set(papers.NAMES)


def test_sections_that_are_linked_are_there() -> None:
    for page, anchor in set(re.findall(r"\((checks(?:-text)?\.md)#(\w+)\)", PAGE)):
        assert f"\n## `{anchor}`\n" in (ROOT / "docs" / page).read_text(encoding="utf-8")

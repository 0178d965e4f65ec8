"""docs/taxonomy.md is what the registries say, and places every method."""

from pathlib import Path

from auditor import taxonomy
from auditor.tasks import registry as tasks
from auditor.zoo.catalogue import entries

PAGE = (Path(__file__).parents[2] / "docs" / "taxonomy.md").read_text(encoding="utf-8")


def test_the_page_is_what_the_registries_say() -> None:
    """To write it: audit list --taxonomy > docs/taxonomy.md."""
    assert taxonomy.page() == PAGE


def test_every_mechanism_has_its_place_and_no_place_is_idle() -> None:
    assert set(taxonomy.FAMILIES) == {entry.family for entry in entries()}


def test_what_is_deleted_by_construction_means_to_remove_and_what_hides_does_not() -> None:
    for entry in entries():
        intent = taxonomy.FAMILIES[entry.family].intent
        if entry.truth == "deleted":
            assert intent == "removes", entry.name
        if entry.truth == "suppressed":
            assert intent == "suppresses", entry.name


def test_every_check_stands_in_it_once_for_its_tasks() -> None:
    for task in tasks.names():
        for check in tasks.checks_of(tasks.load(task)):
            assert any(f"| `{check.name}` |" in line and task in line for line in PAGE.splitlines()), (check.name, task)

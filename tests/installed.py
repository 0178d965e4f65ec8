"""Packages as pip leaves them behind, with the code that docs/extending.md shows."""

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from auditor import plugins
from auditor.inference import nulls

ROOT = Path(__file__).parent.parent


def shown_in_the_docs(language: str, number: int = 0) -> str:
    page = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    return str(re.findall(rf"^```{language}\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)[number])


def install_groups(
    site: Path, distribution: str, modules: Mapping[str, str], groups: Mapping[str, Mapping[str, str]]
) -> None:
    """What pip would leave behind: modules and a dist-info folder."""
    folder = site / f"{distribution}-1.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    lines = [
        line
        for group, entry_points in groups.items()
        for line in (f"[{group}]", *(f"{name} = {value}" for name, value in entry_points.items()))
    ]
    (folder / "entry_points.txt").write_text("\n".join(lines) + "\n")
    for name, source in modules.items():
        (site / f"{name}.py").write_text(source, encoding="utf-8")
    forget_what_is_installed()


def forget_what_is_installed() -> None:
    plugins.registered.cache_clear()
    nulls._installed.cache_clear()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder on the import path."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        if str(folder) in str(getattr(sys.modules[name], "__file__", None)):
            del sys.modules[name]
    forget_what_is_installed()

"""What the pages say of the checks of language models is what they declare."""

from pathlib import Path

import pytest

from auditor.checks import registry
from auditor.checks.check import Check
from auditor.tasks.causal_lm.decoys import recipes as text_decoys

PAGE = (Path(__file__).parents[2] / "docs" / "checks-text.md").read_text(encoding="utf-8")
NAMES = registry.names("causal-lm")
RIGHTS = {"clear": "May clear and accuse", "accuse": "May accuse", "inform": "Informs"}


def section(name: str) -> str:
    return PAGE.partition(f"\n## `{name}`\n")[2].partition("\n## ")[0]


@pytest.fixture(params=NAMES)
def check(request: pytest.FixtureRequest) -> Check:
    return registry.load(request.param, "causal-lm")


def test_every_check_stands_in_the_documentation(check: Check) -> None:
    text = section(check.name)
    assert RIGHTS[check.may] in text
    for need in {*check.needs, *check.decoys} - {"forget", "retain"}:
        assert need in text


def test_every_check_serves_facts_and_says_what_it_is(check: Check) -> None:
    assert not check.tasks or "causal-lm" in check.tasks
    assert "facts" in check.requests
    assert check.summary.endswith(".")
    assert all(caveat.endswith(".") for caveat in check.caveats)
    assert set(check.decoys) <= {model.name for model in text_decoys.planned("", "", 0)}


def test_the_page_holds_no_check_that_is_not_there() -> None:
    assert sorted(line[4:-1] for line in PAGE.splitlines() if line.startswith("## `")) == sorted(NAMES)


def test_every_primary_of_facts_may_clear() -> None:
    from auditor.records.policy import load_policy, shipped

    for policy in shipped():
        for names in load_policy(policy).primaries["facts"].values():
            assert all(registry.load(name, "causal-lm").may == "clear" for name in names)

"""The pytest plugin: a fixture and a marker for a model's own tests.

pytest imports this module in every run of an environment that holds the auditor, so it loads nothing but pytest
and the standard library; everything else is imported when a test asks for an audit.
"""

import inspect
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from auditor.assertions import summary
from auditor.errors import UnsafeInputError, UsageError
from auditor.pytest_fixture import Audit, Settings

if TYPE_CHECKING:
    from auditor.audit import AuditResult

_INCONCLUSIVE = ("fail", "skip", "xfail")
_FINISHED = pytest.StashKey[dict[Path, "AuditResult"]]()
_SUMMARY = "audit_summary"
_OPTIONS = {
    "config": ("FILE", "audit.toml of audits that name none (default: that of the root directory, if there is one)"),
    "out": ("FOLDER", "folder of the reports, relative to the root directory (default: audit.out of audit.toml)"),
    "inconclusive": ("|".join(_INCONCLUSIVE), "what an audit that cannot decide does to its test (default: fail)"),
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options, each with an ini key of the same name."""
    group = parser.getgroup("audit", "unlearning audits")
    for name, (metavar, text) in _OPTIONS.items():
        group.addoption(f"--audit-{name}", metavar=metavar, help=text)
        parser.addini(f"audit_{name}", text)


def pytest_configure(config: pytest.Config) -> None:
    """Announce the marker and refuse what the options cannot mean."""
    config.addinivalue_line(
        "markers",
        "audit(original, unlearned, config=..., expect=...): audit a pair of models before the test runs, "
        "and fail it where the outcome is not the expected one (default: what audit.toml says, or deleted)",
    )
    config.stash[_FINISHED] = {}
    inconclusive = _settings(config).inconclusive
    if inconclusive not in _INCONCLUSIVE:
        raise pytest.UsageError(f"audit_inconclusive is {inconclusive!r}; it takes {', '.join(_INCONCLUSIVE)}")


@pytest.fixture
def audit(request: pytest.FixtureRequest) -> Audit:
    """Audits pairs of models, and asserts what was found."""
    return _audit_of(request.node)


# Before pytest's own, which calls the test: a refuted mark fails it without running it.
@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    """Run the audits that a test is marked with; all of them, from the outermost marker on."""
    # pytest gives the marks from the innermost on.
    for marker in reversed(list(item.iter_markers("audit"))):
        # No line of the test is to blame, so a refuted mark shows its sentences and no traceback.
        refuted = _refuted(_audit_of(item), marker)
        if refuted is not None:
            pytest.fail(refuted, pytrace=False)


def pytest_terminal_summary(terminalreporter: "pytest.TerminalReporter") -> None:
    """One paragraph for every audit, from what the tests' reports carry: the same under pytest-xdist."""
    reports = [report for found in terminalreporter.stats.values() for report in found]
    properties = [pair for report in reports for pair in getattr(report, "user_properties", ())]
    # As a set: many tests may share one audit.
    paragraphs = {text for name, text in properties if name == _SUMMARY}
    if paragraphs:
        terminalreporter.section("unlearning audits")
        for paragraph in sorted(paragraphs):
            terminalreporter.write_line(paragraph)


def _refuted(audit: Audit, marker: pytest.Mark) -> str | None:
    """Why a mark does not hold, or None."""
    try:
        # Apart from the call, so that a TypeError in the audit is not taken for a misspelt mark.
        inspect.signature(audit.assert_marked).bind(*marker.args, **marker.kwargs)
    except TypeError as error:
        return f"pytest.mark.audit: {error}; it takes original, unlearned, config and expect"
    try:
        audit.assert_marked(*marker.args, **marker.kwargs)
    except (AssertionError, UsageError, UnsafeInputError) as error:
        return str(error)
    return None


def _audit_of(item: pytest.Item) -> Audit:
    return Audit(_settings(item.config), item.config.stash[_FINISHED], lambda result: _record(item, result))


def _settings(config: pytest.Config) -> Settings:
    given = {name: config.getoption(f"audit_{name}") or config.getini(f"audit_{name}") or None for name in _OPTIONS}
    return Settings(
        root=config.rootpath,
        config=given["config"],
        out=given["out"],
        inconclusive=given["inconclusive"] or _INCONCLUSIVE[0],
    )


def _record(item: pytest.Item, result: "AuditResult") -> None:
    """Attach a result to the test's report: from there it reaches JUnit XML, and the summary from any worker."""
    found = _properties(result)
    # A test may ask for the same audit twice.
    if not set(found) <= set(item.user_properties):
        item.user_properties.extend(found)


def _properties(result: "AuditResult") -> list[tuple[str, object]]:
    verdict = result.results.verdict
    rho = {e.check: e.rho for e in result.results.evidence if e.rho is not None}
    return [
        ("audit_outcome", verdict.outcome),
        ("audit_flags", ", ".join(verdict.flags)),
        ("audit_assurance", verdict.assurance),
        *([("audit_bound", f"{verdict.bound:.3f}")] if verdict.bound is not None else []),
        *((f"audit_rho_{name}", f"{r.value:.3f} [{r.low:.3f}, {r.high:.3f}]") for name, r in sorted(rho.items())),
        ("audit_plan", result.results.plan_digest),
        *([("audit_report", str(result.report))] if result.report is not None else []),
        (_SUMMARY, summary(result)),
    ]

"""The report in a browser: accessible by WCAG 2.2 AA in either colour scheme and on a phone, and short on paper.

It needs chromium, and axe-core's ``axe.min.js`` (``npm install axe-core`` in a folder of your own) named by AXE_CORE.
"""

import base64
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from auditor.records.verdict import Outcome
from auditor.reports.html import render
from tests.report_samples import sample

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
AXE = Path(os.environ.get("AXE_CORE", ""))
QUIET = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no chromium here: install it to hold the report against WCAG"),
]


def browse(folder: Path, page: Path, *flags: str) -> str:
    command = [str(BROWSER), *QUIET, f"--user-data-dir={folder / 'profile'}", *flags, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout


def audited_by_axe(source: str) -> str:
    """The page with everything unfolded, and a script in it that leaves what axe found in the page."""
    # The page forbids scripts to whoever opens it; this copy is opened by nobody else.
    source = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", source)
    source = re.sub(r"<details(?! class=\"[^\"]*\" open)", "<details open", source)
    run = (
        f"axe.run(document, {{runOnly: {json.dumps(RULES)}}}).then(found => {{"
        "const left = document.createElement('pre'); left.id = 'axe';"
        "left.textContent = btoa(unescape(encodeURIComponent(JSON.stringify("
        "[found.passes.length, found.violations.map(v => [v.id, v.nodes.map(n => n.html)])]))));"
        "document.body.append(left)})"
    )
    return source.replace("</body>", f"<script>{AXE.read_text(encoding='utf-8')}</script><script>{run}</script></body>")


@pytest.mark.skipif(not AXE.is_file(), reason="no axe-core here: name its axe.min.js by the variable AXE_CORE")
@pytest.mark.parametrize("flags", [(), ("--blink-settings=preferredColorScheme=0",), ("--window-size=390,844",)])
@pytest.mark.parametrize("outcome", ["SUPPRESSED", "DELETED", "INCONCLUSIVE"])
def test_axe_finds_nothing_against_wcag_aa(tmp_path: Path, outcome: Outcome, flags: tuple[str, ...]) -> None:
    page = tmp_path / "report.html"
    page.write_text(audited_by_axe(render(sample(outcome))), encoding="utf-8")
    shown = browse(tmp_path, page, "--dump-dom", "--virtual-time-budget=60000", *flags)
    left = re.search(r'<pre id="axe">([^<]*)</pre>', shown)
    assert left is not None, "axe did not finish"
    passed, violations = json.loads(base64.b64decode(left.group(1)))
    assert passed > 10, "it looked at something"
    assert violations == []


def test_axe_would_find_something(tmp_path: Path) -> None:
    """Grey on grey, in a page that is otherwise ours."""
    if not AXE.is_file():
        pytest.skip("no axe-core here: name its axe.min.js by the variable AXE_CORE")
    page = tmp_path / "report.html"
    source = render(sample("DELETED")).replace("--ink: #1b1d20", "--ink: #e0ddd8")
    page.write_text(audited_by_axe(source), encoding="utf-8")
    shown = browse(tmp_path, page, "--dump-dom", "--virtual-time-budget=60000")
    left = re.search(r'<pre id="axe">([^<]*)</pre>', shown)
    assert left is not None
    assert "color-contrast" in {name for name, _ in json.loads(base64.b64decode(left.group(1)))[1]}


def test_an_audit_of_many_checks_prints_on_twelve_pages_at_most(tmp_path: Path) -> None:
    page, paper = tmp_path / "report.html", tmp_path / "report.pdf"
    page.write_text(render(sample("SUPPRESSED")), encoding="utf-8")
    browse(tmp_path, page, f"--print-to-pdf={paper}", "--no-pdf-header-footer")
    pages = len(re.findall(rb"/Type\s*/Page[^s]", paper.read_bytes()))
    assert 3 < pages <= 12

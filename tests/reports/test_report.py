"""The report: what it says for every outcome, and what no results file can make it do."""

import hashlib
import os
import re
import subprocess
import sys
import unicodedata
from itertools import pairwise
from pathlib import Path
from typing import get_args

import pytest

from auditor.records.evidence import DecoyResult, Interval
from auditor.records.results import Results
from auditor.records.verdict import Outcome, Verdict
from auditor.reports import axis, check_figures, html, tables, text
from auditor.reports.figures import WIDTH
from tests import report_extremes
from tests import report_samples as samples
from tests.made_records import DOMAIN
from tests.report_page import POLICY, Page

OUTCOMES = get_args(Outcome)


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return {outcome: html.render(samples.sample(outcome)) for outcome in OUTCOMES}


@pytest.fixture(scope="module")
def hostile() -> str:
    return html.render(report_extremes.hostile())


def bare(outcome: Outcome) -> Results:
    """A sample with the evidence of the outputs alone, for what stands around the checks: figures take a second."""
    found = samples.sample(outcome)
    return found.model_copy(update={"evidence": tuple(e for e in found.evidence if e.check == "outputs")})


def section(source: str, check: str) -> str:
    """The part of a page about one check, as source."""
    start = re.search(rf'<h3 id="[^"]*">{check.replace("_", "_<wbr>")}</h3>', source)
    assert start is not None
    following = re.compile('<details class="check|<h2').search(source, start.end())
    assert following is not None
    return source[start.start() : following.start()]


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_the_verdict_leads_the_page_with_its_reasons(pages, outcome):
    page = Page(pages[outcome])
    bound = 0.2 if outcome == "DELETED" else None
    start = page.text.index(text.headline(outcome, bound).replace("\u00a0", " "))
    reasons = [page.text.index(reason.sentence.replace("-", "−")) for reason in samples.REASONS[outcome]]
    assert start < reasons[0]
    assert reasons == sorted(reasons)
    assert page.text.index("Why, in the verdict’s own terms") < reasons[0]
    assert reasons[-1] < page.text.index("What this does not prove") < page.text.rindex("All checks on one axis")
    assert "certified" not in page.text.lower()


def test_a_deletion_states_its_bound_rounded_up(pages):
    assert "Consistent with deletion: no more than 20 % of the original’s" in Page(pages["DELETED"]).text
    assert text.headline("DELETED", 0.3001).startswith("Consistent with deletion: no more than 31")
    assert text.headline("DELETED", 0.29).startswith("Consistent with deletion: no more than 29\u00a0%")
    assert "no more than 1\u00a0%" in text.headline("DELETED", 0.0), "never nothing at all"


@pytest.mark.parametrize("outcome", [o for o in OUTCOMES if o != "DELETED"])
def test_no_other_outcome_leads_with_deletion(pages, outcome):
    page = Page(pages[outcome])
    top = page.text[: page.text.index("All checks on one axis")]
    assert "Consistent with deletion" not in top


def test_flags_settlement_and_calibration_are_said(pages):
    page = Page(pages["INCONCLUSIVE"]).text
    assert "DAMAGED: The model lost performance" in page
    assert "What would settle it more forget examples" in page
    assert "Outside the calibrated domain" in page
    assert "What would settle it" not in Page(pages["DELETED"]).text


def test_a_policy_that_nothing_was_measured_of_says_so():
    base = bare("DELETED")
    policy = base.plan.policy.model_copy(update={"domains": ()})
    page = Page(html.render(base.model_copy(update={"plan": base.plan.model_copy(update={"policy": policy})}))).text
    assert "Thresholds not yet calibrated" in page


def test_measured_error_rates_are_quoted_inside_their_domain_only():
    base = bare("DELETED")
    policy = base.plan.policy.model_copy(update={"domains": (DOMAIN,)})
    inside = base.plan.model_copy(update={"policy": policy, "domain": DOMAIN})
    page = Page(html.render(base.model_copy(update={"plan": inside}))).text
    assert "suppressed or untouched models were called DELETED in 0 of 60 (at most 4.9 % at 95 % confidence)" in page
    assert "called SUPPRESSED, NOT_DELETED or NOT_FORGOTTEN in 1 of 40" in page
    assert "not yet calibrated" not in page
    assert "measured under the rules of version" not in page
    older = base.plan.model_copy(update={"policy": policy, "domain": DOMAIN.model_copy(update={"rules": "2"})})
    page = Page(html.render(base.model_copy(update={"plan": older}))).text
    assert "The error rates below were measured under the rules of version 2 of this policy" in page
    outside = base.plan.model_copy(update={"policy": policy, "domain": None})
    page = Page(html.render(base.model_copy(update={"plan": outside}))).text
    assert "Outside the calibrated domain" in page
    assert "classification, request class, up to 100,000 weights, 50 forget examples or more" in page
    assert "the request declares none (audit.domain), and for similar size, other data the error rates are not" in page
    assert "0 of 60" not in page


def test_powerless_checks_say_why_in_the_forest_plot_and_in_their_section(pages):
    source = pages["DELETED"]
    reason = "the smallest residue it can rule out is 2.09, more than the 0.35 that clearing needs"
    plot = source[source.index('<h2 id="axis">') : source.index("Checks without ρ")]
    assert f"No power to clear: {reason}." in plot
    assert f"No power to clear: {reason}" in section(source, "membership")


def test_checks_without_rho_are_listed_with_the_reason(pages):
    page = Page(pages["DELETED"]).text
    listed = page[page.index("Checks without ρ") : page.index("The checks, one by one What the verdict rests on")]
    assert "cka : informs, decides nothing" in listed
    assert "quantization : could not run: layer conv2 has a weight" in listed


def test_a_failure_is_shown_as_could_not_run_and_as_missing_coverage(pages):
    source = pages["DELETED"]
    own = section(source, "quantization")
    assert "Could not run (on unlearned): layer conv2" in own
    assert "<svg" not in own
    assert own.startswith('<h3 id="check-')
    page = Page(source).text
    coverage = page[page.rindex("What was looked at and what was not") :]
    assert "quantization could not run layer conv2" in coverage
    assert "concept_vectors not planned left out with --checks" in coverage
    assert "few_shot completed" in coverage
    assert "Coverage is incomplete: quantization gave no evidence" in page[: page.index("Contents")]


def test_a_planned_check_that_left_no_trace_is_not_passed_over():
    base = bare("DELETED")
    silent = base.coverage.model_copy(update={"planned": (*base.coverage.planned, "depth")})
    page = Page(html.render(base.model_copy(update={"coverage": silent}))).text
    assert "depth no evidence planned, and nothing came of it" in page


def test_decoys_are_a_table_of_check_by_decoy(pages):
    page = Page(pages["INCONCLUSIVE"]).text
    table = page[page.index("which check saw through which") :]
    row = table[table.index("few_shot (primary)") : table.index("relearning (primary)")]
    assert "detected, ρ = 1.02" in row
    assert "MISSED, ρ = 0.22 [0.02, 0.42]" in row


def test_a_miss_is_red_only_where_it_decides():
    missed = DecoyResult(rho=None, p_value=None, detected=False)
    for primary, mark in ((True, "bad"), (False, "bold")):
        few_shot = samples.sample("DELETED").of("few_shot")
        e = few_shot.model_copy(update={"primary": primary, "decoys": {"a": missed}, "assigned_decoys": ("a", "b")})
        rows = tables.decoys([e, e.model_copy(update={"decoys": {"b": missed}})]).rows
        assert [row.marks for row in rows[:2]] == [(mark, mark), (mark, mark)]


@pytest.mark.parametrize("outcome", get_args(Outcome))
def test_the_page_of_an_audit_stays_below_a_megabyte(pages, outcome):
    """The demo's reports, of all checks and eight references, are held to the same in tests/demo_runs.py."""
    assert len(pages[outcome].encode()) < 1_000_000


def test_decoys_that_were_not_a_checks_task_are_set_apart(pages):
    source = pages["DELETED"]
    table = source[source.index("which check saw through which") :]
    rows = dict(re.findall(r'<th scope="row">([^<]*)</th>(.*?)</tr>', table[: table.index("</table>")]))
    cells = {check: re.findall(r'<td class="(\w+)">(\w+)', row) for check, row in rows.items()}
    assert cells["few_shot (primary)"] == [("bold", "detected"), ("quiet", "seen"), ("bold", "detected")]
    assert cells["relearning (primary)"] == [("bold", "detected"), ("quiet", "seen"), ("quiet", "seen")]
    assert cells["outputs"] == [("quiet", "not")] * 3
    assert "MISSED" not in table


def test_the_strength_that_each_decoy_took_is_said():
    base = bare("DELETED")
    strengths = ("300 steps", "wrong about exactly the forget inputs")
    models = [m.model_copy(update={"strengths": strengths}) if m.role == "decoy" else m for m in base.plan.models]
    taken = {
        "head_row_zeroed": {"strength": 1.0, "suppressed": 1.0},
        "gradient_ascent": {"strength": 2.0, "suppressed": 0.0},
    }
    found = [e.model_copy(update={"controls": taken}) if e.check == "outputs" else e for e in base.evidence]
    planned = base.plan.model_copy(update={"models": tuple(models)})
    page = Page(html.render(base.model_copy(update={"plan": planned, "evidence": tuple(found)}))).text
    assert "set to zero; taken at strength 1 of 2 (300 steps) " in page
    assert (
        "labels; taken at strength 2 of 2 (wrong about exactly the forget inputs), and at none were its outputs" in page
    )


def test_a_decoy_that_no_primary_saw_is_named():
    known = samples.knowledge("DELETED")
    unseen = {
        name: result.model_copy(update={"detected": False}) for name, result in samples.few_shot(known).decoys.items()
    }
    table = tables.decoys([samples.few_shot(known, decoys=unseen), samples.cka(known)])
    assert table is not None
    assert table.rows[-1] == tables.Row(cells=("seen by a primary check", *["NONE"] * 3), marks=("bad",) * 3)


def test_every_check_with_known_cells_has_its_own_figure(pages):
    source = pages["SUPPRESSED"]
    for check in ("few_shot", "relearning", "outputs", "cka", "membership", "sae_restoration"):
        own = section(source, check)
        assert f"Figure of the check {check}" in own
        assert "Score of every model" not in own


def test_a_check_nobody_here_knows_gets_the_dot_plot(pages):
    own = section(pages["DELETED"], "acme_residue")
    assert own.count('<svg viewBox="') == 1
    assert "Score of every model, acme_residue" in own
    assert "gadget readings" in own


def test_curves_beside_the_score_are_folded_away(pages):
    source = section(pages["SUPPRESSED"], "relearning")
    shown, folded = source.split('<details class="aside">')[:2]
    titles = [re.findall(r"<text[^>]*>([^<]*)</text>", part) for part in (shown, folded)]
    attacks = {f"{arm} · attack {i}" for arm in ("as is", "row reset") for i in (1, 2)}
    assert attacks <= set(titles[0])
    assert "control class 7" in titles[1]
    assert not any("control class" in words for words in titles[0])
    few = section(pages["SUPPRESSED"], "few_shot").split('<details class="aside">')
    assert "conv3" in few[0]
    assert "conv3 (3 of 4) · k-NN" in few[1]
    assert "k-NN" not in few[0]


def test_known_names_with_unknown_columns_fall_back_too():
    odd = samples.few_shot(samples.knowledge("DELETED"), rows=[{"model": "original", "n": 3}])
    (drawing,) = check_figures.draw(odd, "a")
    assert "Score of every model" in drawing.svgs[0]


def test_intervals_beyond_the_axis_end_at_its_edges_with_an_arrow():
    wide = samples.unknown_check(samples.knowledge("DELETED"))
    (row,) = axis.build([wide], samples.sample("DELETED").plan.policy.thresholds, ()).rows
    assert (row.strip.left, row.strip.right, row.strip.before, row.strip.beyond) == (0, 100, True, True)
    assert row.strip.point is None, "it lies at 1.9"
    (row,) = axis.build(
        [wide.model_copy(update={"rho": samples.interval(0.5)})], samples.sample("DELETED").plan.policy.thresholds, ()
    ).rows
    assert not row.strip.before
    assert not row.strip.beyond
    assert row.strip.point == 50


def test_the_page_fetches_and_runs_nothing(pages, hostile):
    for source in (*pages.values(), hostile):
        page = Page(source)
        metas = page.all("meta")
        assert metas[1] == {"http-equiv": "Content-Security-Policy", "content": POLICY}
        assert not {tag for tag, _ in page.tags} & {
            "script",
            "img",
            "iframe",
            "object",
            "link",
            "base",
            "form",
        }
        for _, attrs in page.tags:
            assert not [name for name in attrs if name.startswith("on")]
            for name in ("href", "src", "xlink:href", "action"):
                assert (attrs.get(name) or "#").startswith("#")
        assert "url(http" not in source
        assert "@import" not in source


def test_hostile_text_never_appears_raw(hostile):
    assert "<script" not in hostile.lower()
    assert "<img" not in hostile.lower()
    assert "&lt;script&gt;" in hostile, "it is shown, but as text"
    left = {c for c in hostile if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")} - {"\n"}
    assert left == set()
    assert report_extremes.HOSTILE not in hostile


@pytest.mark.parametrize(
    "text_", ["$x_1$ $", "{{ 7*7 }}{% raw %}", "漢字 🙂 عربى", "]]>", "--><!--", "&amp;", "%s {0}"]
)
def test_text_of_any_kind_is_shown_as_it_is(text_):
    base = samples.sample("DELETED")
    odd = samples.unknown_check(samples.knowledge("DELETED")).model_copy(
        update={"check": text_, "unit": text_, "summary": text_}
    )
    page = Page(html.render(samples.assemble(base.plan, [odd], base.verdict)))
    assert page.text.count(text_) >= 4
    assert "49" not in page.text[: page.text.index("Contents")]


def test_a_result_without_any_evidence_renders():
    base = samples.sample("INCONCLUSIVE")
    unknown = samples.reason("outputs unknown", "outputs", "not measured")
    verdict = Verdict(outcome="INCONCLUSIVE", assurance="A0", reasons=(unknown,))
    plan = base.plan.model_copy(update={"models": (), "data": (), "checks": ()})
    page = Page(html.render(samples.assemble(plan, [], verdict))).text
    assert "No check gave a ρ." in page
    assert "Performance on the retain set was not measured." in page
    assert "none has shown that it would notice hidden knowledge" in page


def test_nesting_headings_ids_and_anchors(pages, hostile):
    for source in (*pages.values(), hostile):
        page = Page(source)
        assert page.headings[0] == 1
        assert page.headings.count(1) == 1
        assert all(after <= before + 1 for before, after in pairwise(page.headings))
        ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
        assert len(ids) == len(set(ids))
        wanted = {(attrs["href"] or "")[1:] for _, attrs in page.tags if "href" in attrs}
        wanted |= set(re.findall(r"url\(#([^)]+)\)", source))
        assert wanted <= set(ids)


def test_what_a_screen_reader_needs(pages):
    page = Page(pages["SUPPRESSED"])
    assert all(attrs.get("scope") in ("col", "row") for attrs in page.all("th"))
    figures = page.all("svg")
    assert figures
    drawn = [attrs for attrs in figures if "viewbox" in attrs]
    for attrs in drawn:
        assert attrs["role"] == "img"
        assert len((attrs["aria-labelledby"] or "").split()) == 2
    assert len(page.all("desc")) == len(drawn)
    strips = [attrs for attrs in figures if attrs.get("class") == "strip"]
    assert all(attrs["role"] == "img" and attrs["aria-label"] for attrs in strips)
    assert "few_shot: 88\xa0%, between 80\xa0% to 96\xa0%, accuses" in {attrs["aria-label"] for attrs in strips}
    assert dict(page.tags)["html"] == {"lang": "en"}


def test_colours_have_contrast_in_both_schemes():
    style = (Path(html.__file__).parent / "templates" / "report.css").read_text(encoding="utf-8")
    light, dark = (dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", part)) for part in style.split(":root {")[1:])
    for scheme in (light, dark):
        for name in ("ink", "muted", "original", "unlearned", "reference", "decoy", "alarm"):
            assert contrast(scheme[name], scheme["paper"]) >= 4.5, name


def contrast(one: str, other: str) -> float:
    """Ratio of relative luminances (WCAG 2.2)."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_small_numbers_and_minus_signs_are_set_alike(pages):
    known = samples.knowledge("DELETED")
    tiny = Interval(value=-1.91e-9, low=-0.02, high=0.02)
    words = "ρ = -0.00 [-0.02, 0.02], below 0.1: the outputs are forgotten"
    reasons = (samples.reason("outputs forgotten", "outputs", words),)
    base = samples.sample("DELETED")
    verdict = base.verdict.model_copy(update={"reasons": reasons})
    odd = samples.outputs(known, forgotten=True).model_copy(
        update={"rho": tiny, "controls": {"unlearned": {"false alarms": -1.91e-9}}}
    )
    page = Page(html.render(samples.assemble(base.plan, [odd], verdict))).text
    assert page.count("ρ = 0.00 [−0.02, 0.02]") == 1, "the reason"
    assert page.count("0 % −2 % to 2 %") == 2, "on either axis"
    assert "unlearned 0.0000" in page[page.index("Controls: measured") :]
    for source in pages.values():
        assert re.findall(r"[\s\[(]-\.?\d|\de-\d", Page(source).text) == []


def test_words_in_figures_are_legible_on_a_phone(pages):
    on_phone = (390 - 2 * 16) / WIDTH
    figures = "".join(re.findall(r"<svg viewBox.*?</svg>", pages["DELETED"], re.DOTALL))
    sizes = re.findall(r"font(?:-size)?:[^;\"]*?([\d.]+)px", figures)
    assert sizes
    assert min(map(float, sizes)) * on_phone >= 11


def test_the_page_says_who_accuses(pages):
    accused = Page(pages["SUPPRESSED"]).text
    assert "few_ shot what can be read from inside the model: decided this" in accused
    assert "It accuses: ρ exceeds 0.25 by more than chance" in accused
    assert "sae_ restoration what can be read from inside the model: not needed 88 %" in accused, (
        "its reason is not the verdict's"
    )
    cleared = Page(pages["DELETED"]).text
    chart = cleared[cleared.rindex("All checks on one axis") : cleared.index("Each check’s ρ")]
    assert "few_ shot what can be read from inside the model: decided this 5 %" in chart
    assert cleared.count("It clears: its whole interval lies between −0.75 and 0.5.") == 3


def test_the_words_of_the_reasons_are_explained_beside_them(pages):
    for source in pages.values():
        page = Page(source).text
        top = page[page.index("Why, in the verdict’s own terms") : page.index("Contents")]
        assert "a reference, a model trained without the forget set" in top
        assert "ρ (rho) is how much" in top
        assert "Only the primary checks can clear, which the policy" in top
        assert "Decoys are copies of the original in which the auditor itself hid the knowledge" in top


def test_one_tensor_that_moved_far_does_not_flatten_the_others():
    known = samples.knowledge("DELETED")
    sizes = {"conv.weight": 0.0, "conv.bias": 0.02, "head.weight": 1.4, "head.bias": 108.0}
    cells = [{"model": m, "tensor": t, "relative_change": size} for m in known for t, size in sizes.items()]
    (drawing,) = check_figures.draw(samples.evidence("weight_delta", known, rows=cells), "a")
    assert "Figure of the check weight_delta" in drawing.svgs[0]
    [marks] = re.findall(r'<g [^>]*style="fill:var\(--unlearned[^>]*>(.*?)</g>', drawing.svgs[0])
    heights = {float(x) for x in re.findall(r'<use href="[^"]*" x="([\d.]+)"', marks)}
    gaps = [high - low for low, high in pairwise(sorted(heights))]
    assert len(heights) >= len(sizes)
    assert min(gaps) > 10, "points apart"


def test_figures_take_their_colours_from_the_page(pages):
    drawn = "".join(re.findall(r"<svg viewBox.*?</svg>", pages["SUPPRESSED"], re.DOTALL))
    assert re.findall(r"#[0-9a-f]{6}", re.sub(r"url\(#[^)]*\)|href=\"[^\"]*\"", "", drawn)) == []
    assert "var(--unlearned)" in drawn


def test_the_biggest_report_stays_small(monkeypatch):
    results = report_extremes.biggest()
    assert len(html.render(results).encode()) < 2_000_000
    monkeypatch.setattr(html, "MOST_FIGURE_BYTES", 100_000)
    cut = html.render(samples.sample("SUPPRESSED"))
    assert "left out to keep the page small" in cut
    Page(cut)


def test_it_is_drawn_from_the_file_alone(pages):
    results = samples.sample("DELETED")
    again = Results.model_validate_json(results.to_json())
    assert html.render(again) == pages["DELETED"]


SCRIPT = """
import hashlib, sys
from pathlib import Path
from auditor.reports.html import render
from auditor.records.results import read_results
text = render(read_results(Path(sys.argv[1])))
sys.stdout.write(hashlib.sha256(text.encode()).hexdigest() + " " + str("torch" in sys.modules))
"""


def test_the_same_bytes_everywhere(tmp_path, pages):
    results = tmp_path / "results.json"
    results.write_text(samples.sample("DELETED").to_json(), encoding="utf-8")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "matplotlibrc").write_text("font.size: 30\nsvg.fonttype: path\naxes.grid: True\n")
    places = [
        ({"TZ": "UTC", "LC_ALL": "C", "PYTHONHASHSEED": "0"}, tmp_path),
        ({"TZ": "Asia/Kathmandu", "LC_ALL": "de_DE.UTF-8", "PYTHONHASHSEED": "77"}, elsewhere),
    ]
    found = set()
    for variables, folder in places:
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(results)],
            cwd=folder,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            check=True,
        )
        found.add(done.stdout)
    digest = hashlib.sha256(pages["DELETED"].encode()).hexdigest()
    assert found == {f"{digest} False"}, "the same bytes, and no torch to draw them"

"""Figures without what nobody sees: nothing that is drawn may go with it."""

import re
import xml.etree.ElementTree as ET

from auditor.reports.html import render
from auditor.reports.slim import slim
from tests.report_samples import sample


def slimmed(source: str) -> str:
    root = ET.fromstring(source)
    slim(root)
    return ET.tostring(root, encoding="unicode")


def test_groups_that_move_clip_or_name_what_they_hold_stay() -> None:
    for attribute in ('clip-path="url(#a)"', 'transform="translate(1 2)"', 'id="a"', 'style="fill:red"'):
        assert f"<g {attribute}>" in slimmed(f'<svg><g {attribute}><path d="M 0 0" /></g></svg>')


def test_the_order_in_which_things_are_drawn_stays() -> None:
    source = '<svg><path d="1" /><g><path d="2" /><g><path d="3" /></g></g><path d="4" /></svg>'
    assert re.findall(r'd="(\d)"', slimmed(source)) == ["1", "2", "3", "4"]


def test_only_what_is_filled_with_nothing_and_named_by_nobody_goes() -> None:
    kept = '<svg><path id="a" style="fill:none" /><path style="fill:none;stroke:red" /><path style="fill:red" /></svg>'
    assert slimmed(kept).count("<path") == 3
    assert "<path" not in slimmed('<svg><path d="M 0 0" style="fill:none" /></svg>')


def test_a_style_is_said_once_where_all_marks_share_it() -> None:
    both = '<svg><g clip-path="url(#a)"><use x="1" style="{}" /><use x="2" style="{}" /></g></svg>'
    assert slimmed(both.format("fill:red", "fill:red")) == (
        '<svg><g clip-path="url(#a)" style="fill:red"><use x="1" /><use x="2" /></g></svg>'
    )
    assert slimmed(both.format("fill:red", "fill:blue")).count("style=") == 2


def test_no_figure_of_a_report_holds_an_idle_group() -> None:
    page = render(sample("SUPPRESSED"))
    assert "<g>" not in page
    assert "<defs />" not in page
    assert page.count("<use ") > 500

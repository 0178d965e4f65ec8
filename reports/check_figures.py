"""The figures of one check, as it declares them; one that declares none gets the dot plot."""

from collections.abc import Sequence
from dataclasses import replace

from auditor.records.base import Row
from auditor.records.evidence import Evidence
from auditor.reports import dots, formats, panels
from auditor.reports.curves import counting, panels_of
from auditor.reports.figures import Drawing


def draw(evidence: Evidence, anchor: str, layers: Sequence[str] = ()) -> list[Drawing]:
    """The check's own figures where its rows allow any, else the dot plot, else none (no scores).

    Args:
        evidence: of one check.
        anchor: what ids in the figures begin with.
        layers: of the audit, by which names of layers are put into words.
    """
    if evidence.scores is None:
        return []
    roles = roles_of(evidence)
    title = f"Figure of the check {formats.shorten(evidence.check, 60)}"
    drawn: list[Drawing] = []
    used: list[Row] = []
    for i, how in enumerate(evidence.figures):
        rows = counting(evidence.rows, how, roles)
        if how.rest:
            # By identity: rows are dicts, which no set holds, and two rows may be equal.
            seen = {id(row) for row in used}
            rows = [row for row in rows if id(row) not in seen]
        used += rows
        if rows:
            found, ticks = panels_of(rows, how, roles, layers)
            # Blocks of one stack are counted along the axis, so that it has to say up to how many.
            of = f", of {len(layers)}" if ticks and ticks[0].isdigit() and rows[0][how.x] in layers else ""
            labelled = how.model_copy(update={"x_label": f"{how.x_label}{of}"})
            drawn.append(panels.draw(found, ticks, labelled, f"{anchor}-{i}", title))
    # Figures folded away alone would leave the section without one that a reader sees.
    if drawn and all(drawing.aside for drawing in drawn):
        drawn = [replace(drawing, aside="") for drawing in drawn]
    # A plug-in may declare figures whose columns its rows lack; the score of every model can always be drawn.
    return drawn or [dots.dots(evidence.scores, evidence.unit, anchor, evidence.check)]


def roles_of(evidence: Evidence) -> dict[str, str]:
    """Which part each model of this evidence plays."""
    roles: dict[str, str] = {}
    if evidence.scores is not None:
        roles |= dict.fromkeys(evidence.scores.references, "reference")
        roles |= dict.fromkeys(evidence.scores.drawn, "drawn")
        roles |= dict.fromkeys(evidence.scores.decoys, "decoy")
    return {**roles, "original": "original", "unlearned": "unlearned"}

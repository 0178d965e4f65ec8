"""Drawing: SVG that follows the page's colours."""

import io
import re
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from auditor.reports import formats
from auditor.reports.slim import slim

if TYPE_CHECKING:
    from matplotlib.typing import RcKeyType

WIDTH = 360.0  # of one panel: as wide as a phone; on a screen three stand side by side, at about the same size
FONT = 13.0
SMALL = 12.0
# Larger numbers come from broken or hostile results, and would flatten every other point of the axis.
_DRAWABLE = 1e12
LETTER = 6.6  # mean width of a letter at FONT, in points; only for where to break and shorten

# Stand-ins that matplotlib draws with; each becomes a CSS variable, so that the page decides on the colour.
INK, MUTED, RULE, PAPER = "#00000a", "#00000b", "#00000c", "#00000d"
ORIGINAL, UNLEARNED, REFERENCE, DECOY = "#00001a", "#00001b", "#00001c", "#00001d"
CLEAR, RESIDUE = "#00002a", "#00002b"
_VARIABLES = {
    INK: "ink", MUTED: "muted", RULE: "rule", PAPER: "paper", ORIGINAL: "original", UNLEARNED: "unlearned",
    REFERENCE: "reference", DECOY: "decoy", CLEAR: "clear", RESIDUE: "residue",
}  # fmt: skip

_SETTINGS: "dict[RcKeyType, object]" = {
    # Words stay words: they can be searched and read out, and names in any script get the reader's own fonts.
    "svg.fonttype": "none",
    # Without it matplotlib draws ids at random, and the same results would give other bytes.
    "svg.hashsalt": "unlearning-auditor",
    # A name with dollar signs is a name, not a formula.
    "text.parse_math": False,
    # Comes with matplotlib, so that words measure the same on every machine.
    "font.family": ["DejaVu Sans"],
    "font.size": FONT,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "axes.titlesize": FONT,
    "axes.titlelocation": "left",
    "axes.labelsize": SMALL,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.major.size": 3.0,
    "ytick.major.size": 3.0,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Stroke:
    """How one role is drawn in every figure."""

    colour: str
    width: float
    dash: Literal["-"] | tuple[float, tuple[float, ...]] = "-"
    marker: str = "o"
    filled: bool = True
    order: int = 2


# Width, dash and mark tell roles apart without colour, on paper too; the unlearned model is drawn above all others.
STROKES: Mapping[str, Stroke] = {
    "original": Stroke(colour=ORIGINAL, width=2.2, marker="s", order=4),
    "unlearned": Stroke(colour=UNLEARNED, width=2.6, order=5),
    "reference": Stroke(colour=REFERENCE, width=1.2, order=2),
    "drawn": Stroke(colour=REFERENCE, width=1.0, dash=(0, (1, 2)), filled=False, order=1),
    "decoy": Stroke(colour=DECOY, width=1.2, dash=(0, (5, 3)), marker="D", filled=False, order=3),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawing:
    """A finished figure.

    Attributes:
        svgs: its panels, inline, each with a title and a description.
        caption: what it shows, in words.
        aside: under which words the page folds it away; empty where it stands open.
        key: by role that is drawn, what its lines are called.
        up: what the vertical axis is.
        across: what the horizontal axis is.
    """

    svgs: tuple[Markup, ...]
    caption: str
    aside: str = ""
    key: Mapping[str, str] = field(default_factory=dict)
    up: str = ""
    across: str = ""


class Sheet:
    """A figure of fixed width, measured in points from its top left corner."""

    def __init__(self, height: float) -> None:
        self.height = height
        # At 72 dots an inch a pixel is a point, so that places on the sheet and in the axes have one unit.
        self.figure = Figure(figsize=(WIDTH / 72, height / 72), dpi=72)

    def axes(self, *, left: float, top: float, width: float, height: float) -> Axes:
        """Axes in a box given in points from the top left corner."""
        bottom = self.height - top - height
        axes = self.figure.add_axes((left / WIDTH, bottom / self.height, width / WIDTH, height / self.height))
        for axis in (axes.xaxis, axes.yaxis):
            # The page names the axes; to look for a place clear of all ticks would take a tenth of the time.
            axis.set_label_coords(0, 0)
        return axes

    def write(
        self,
        x: float,
        y: float,
        words: str,
        *,
        fontsize: float,
        color: str = INK,
        ha: Literal["left", "right"] = "left",
    ) -> Text:
        """Text with its baseline ``y`` points below the top."""
        return self.figure.text(
            x / WIDTH, 1 - y / self.height, words, va="baseline", fontsize=fontsize, color=color, ha=ha
        )

    def svg(self, anchor: str, title: str, description: str) -> Markup:
        """The figure as an inline SVG whose ids begin with ``anchor``."""
        buffer = io.StringIO()
        # The date and matplotlib's name and version would give other bytes for the same results.
        empty = {"Date": None, "Creator": None, "Format": None, "Type": None}
        with warnings.catch_warnings():
            # Names may be in any script; the reader's fonts draw them, not the ones matplotlib measures with.
            warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)
            self.figure.savefig(buffer, format="svg", metadata=empty, transparent=True)
        return _inline(buffer.getvalue(), anchor, title, description)


@contextmanager
def settings() -> Iterator[None]:
    """Matplotlib as this module needs it, whatever the user's own configuration says."""
    with matplotlib.rc_context():
        # A matplotlibrc of the user's would change the page.
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        yield


def is_drawable(value: object) -> bool:
    """Whether a cell is a number that an axis can show."""
    # True counts as an int in Python; NaN fails the comparison.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _DRAWABLE


def _inline(source: str, anchor: str, title: str, description: str) -> Markup:
    root = ET.fromstring(source)
    # matplotlib names every group. Names that nothing refers to make the page larger and clash between figures.
    referred = set(re.findall(r"#([\w.-]+)", " ".join(_references(root))))
    for parent in list(root.iter()):
        for child in list(parent):
            # An inline style acts on the whole page, not on its figure alone.
            if child.tag.endswith(("}metadata", "}style")):
                parent.remove(child)
    for element in root.iter():
        _simplify(element, anchor, referred)
    slim(root)
    # No width and height: the page fits the figure to the screen.
    root.attrib = {
        "viewBox": root.attrib["viewBox"],
        "role": "img",
        "aria-labelledby": f"{anchor}-title {anchor}-desc",
    }
    # Each goes to the front, so that the title ends up first, where screen readers look for it.
    for name, words in (("desc", description), ("title", title)):
        element = ET.Element(name, {"id": f"{anchor}-{name}"})
        element.text = formats.clean(words)
        root.insert(0, element)
    return Markup(ET.tostring(root, encoding="unicode"))


def _references(root: ET.Element) -> Iterator[str]:
    for element in root.iter():
        for name, value in element.attrib.items():
            if name.endswith("href") or value.startswith("url("):
                yield value


def _simplify(element: ET.Element, anchor: str, referred: set[str]) -> None:
    # ElementTree would write ns0: before every tag, which HTML does not take for SVG.
    element.tag = element.tag.rpartition("}")[2]
    found = {name.rpartition("}")[2]: value for name, value in element.attrib.items()}
    if found.get("id") not in referred:
        found.pop("id", None)
    if found.get("transform", "").startswith("rotate(-0 "):
        del found["transform"]
    # Figures share one page, and matplotlib may use an id twice; a reference must not reach into another figure.
    for name in ("id", "href", "clip-path"):
        if name in found:
            found[name] = re.sub(r"^(#|url\(#)?", lambda match: f"{match.group()}{anchor}-", found[name], count=1)
    if "style" in found:
        found["style"] = _style(found["style"])
    # Further digits cannot be seen, differ between machines, and make up much of the page.
    for name in ("d", "x", "y", "width", "height", "transform"):
        if name in found:
            found[name] = re.sub(r"\s+", " ", re.sub(r"-?\d+\.\d+", _two_decimals, found[name])).strip()
    if element.tag != "text":
        element.text = None
    element.tail = None
    element.attrib = found


def _style(style: str) -> str:
    # Without a family of its own the figure is set in the page's font.
    kept = [part.strip() for part in style.split(";") if not part.strip().startswith("font-family")]
    joined = ";".join(part.replace(": ", ":", 1) for part in kept)
    return re.sub(r"#0000[0-9a-f]{2}", lambda match: f"var(--{_VARIABLES[match.group()]})", joined)


def _two_decimals(match: re.Match[str]) -> str:
    # Adding zero turns −0.0 into 0.0.
    return f"{round(float(match.group()), 2) + 0.0:g}"

"""Formats of the report: numbers, shares and p-values as text, and text that is safe and short enough to show."""

import math
import re
import unicodedata

from auditor.records.evidence import Interval

# Control, bidirectional, surrogate, private and unassigned characters and separators of lines can hide or reorder text.
_DROPPED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def clean(text: str) -> str:
    r"""Text without control, bidirectional, invisible and unassigned characters; white space becomes a blank.

    >>> clean("a\tb\u202ec\x00d")
    'a bcd'
    """
    kept = (" " if character in "\t\n\r" else character for character in text)
    return "".join(c for c in kept if unicodedata.category(c) not in _DROPPED)


def shorten(text: str, length: int) -> str:
    """Clean text of at most ``length`` characters, its middle left out where it is longer.

    >>> shorten("abcdefghij", 7)
    'abc…hij'
    """
    text = clean(text)
    if len(text) <= length:
        return text
    # The end is kept too: names of files and layers differ there.
    tail = (length - 1) // 2
    return f"{text[: length - 1 - tail]}…{text[len(text) - tail :]}"


def number(value: float | None, digits: int = 3) -> str:
    """A score with ``digits`` decimals; a dash where missing.

    >>> number(-0.25), number(-1.9e-9), number(None)
    ('−0.250', '0.000', '–')
    """
    if value is None:
        return "–"
    # Adding zero turns the -0.0 that rounding leaves behind into 0.0.
    rounded = round(value, digits) + 0.0
    return _signed(f"{rounded:.2e}" if abs(rounded) >= 1e6 else f"{rounded:.{digits}f}")


def rho(interval: Interval | None) -> str:
    r"""ρ with its limits.

    >>> rho(Interval(value=0.914, low=0.84, high=0.97))
    '0.91 [0.84,\xa00.97]'
    >>> rho(Interval(value=-1.9e-9, low=-0.25, high=0.25))
    '0.00 [−0.25,\xa00.25]'
    """
    if interval is None:
        return "–"
    value, low, high = map(_two_places, interval.shown)
    return f"{value} [{low},\u00a0{high}]"


def resolution(w: float | None) -> str:
    """The smallest residue that a check can rule out, in words.

    >>> resolution(0.09), resolution(115.71)
    ('0.09, the smallest residue it can rule out', 'none: it cannot tell all of the knowledge from nothing')
    """
    if w is None:
        return "none: the original does not stand above the null"
    if w >= 1:
        return "none: it cannot tell all of the knowledge from nothing"
    return f"{number(w, 2)}, the smallest residue it can rule out"


def plural(n: int, noun: str) -> str:
    """A number with its noun.

    >>> plural(1, "decoy"), plural(3, "decoy")
    ('1 decoy', '3 decoys')
    """
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def sentence_case(words: str) -> str:
    """Words that begin a line of their own, unless with a name or a symbol.

    >>> sentence_case("more references")
    'More references'
    """
    return words[:1].upper() + words[1:]


def percent(rho: float) -> str:
    r"""A number on the axis of ρ as a whole percentage, of the two places that it is shown with everywhere.

    >>> percent(0.765), percent(-0.004), percent(-0.03)
    ('77\xa0%', '0\xa0%', '−3\xa0%')
    """
    # Of two places, as sentences and tables have them: 0.765 must not be 0.76 here and 77 % there.
    return _signed(f"{round(100 * round(rho, 2))}\u00a0%")


def one_in(p: float) -> str:
    """How rare something is by chance.

    >>> one_in(0.00002), one_in(0.004), one_in(0.31)
    ('fewer than 1 of 10,000 cases', '1 of 250 cases', '31 of 100 cases')
    """
    if p < 1e-4:
        return "fewer than 1 of 10,000 cases"
    return f"1 of {round(1 / p):,} cases" if p < 0.05 else f"{round(100 * p)} of 100 cases"


def share(value: float | None) -> str:
    r"""A share between 0 and 1 as a percentage.

    >>> share(0.9834)
    '98.3\xa0%'
    """
    return "–" if value is None else _signed(f"{100 * value:.1f}\u00a0%")


def upper_percent(bound: float) -> str:
    r"""A bound as a whole percentage, rounded up and never to nothing, so that it is never understated.

    >>> upper_percent(0.301), upper_percent(0.0)
    ('31\xa0%', '1\xa0%')
    """
    # Rounding first to nine decimals keeps 0.29 from turning into 30 through its binary tail.
    return f"{max(math.ceil(round(100 * bound, 9)), 1)}\u00a0%"


def p_value(value: float | None) -> str:
    """A p-value, not resolved below one in ten thousand.

    >>> p_value(0.00003), p_value(0.0321)
    ('< 0.0001', '0.032')
    """
    if value is None:
        return "–"
    # The permutation nulls of 9,999 draws resolve nothing below.
    return "< 0.0001" if value < 1e-4 else f"{value:.2g}"


def prose(words: str) -> str:
    """A sentence with its numbers set as everywhere else: typographic minus signs, no negative zero.

    Hyphens in words, names and paths stay.

    >>> prose("ρ = -0.00 [-0.02, 0.02] in run-3/model-1.pt at 1e-05")
    'ρ = 0.00 [−0.02, 0.02] in run-3/model-1.pt at 1e−05'
    """
    # Signs of zero go first: the next line would turn them into typographic ones.
    words = re.sub(r"(?<![\w.\-/])-(?=0(?:\.0+)?(?!\.?\d|\w))", "", words)
    words = re.sub(r"(?<![\w.\-/])-(?=\.?\d)", "−", words)
    return re.sub(r"(?<![\w.\-/])(−?\d+(?:\.\d+)?)e-(?=\d+(?![\w.]))", r"\1e−", words)


def _two_places(value: float) -> str:
    # Adding zero turns the -0.0 that rounding leaves behind into 0.0.
    rounded = round(value, 2) + 0.0
    return _signed(f"{rounded:.2f}" if abs(rounded) < 1e4 else f"{rounded:.1e}")


def _signed(text: str) -> str:
    return text.replace("-", "−")

"""Test runs of the pytest plugin, read by tests."""

import re


def section(lines: list[str], title: str) -> list[str]:
    """Lines below a heading of the terminal, up to the next."""
    start = next(i for i, line in enumerate(lines) if re.fullmatch(f"=+ {title} =+", line))
    rest = lines[start + 1 :]
    return rest[: next((i for i, line in enumerate(rest) if line.startswith("==")), len(rest))]

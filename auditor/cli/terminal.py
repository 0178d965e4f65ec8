"""Standard output for a person."""

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table

from auditor.reports.formats import clean


class Terminal(Console):
    """Sentences wrap at a terminal, and stay whole where they go to a file or a pipe.

    What looks like markup in a name or a reason stays text, and what would move a cursor or reorder text is gone:
    names and reasons may be a stranger's.
    """

    def __init__(self) -> None:
        # A name such as [red] would be taken for markup, and numbers would be coloured.
        super().__init__(highlight=False, markup=False)

    def say(self, text: str, style: str | None = None) -> None:
        """Print a line."""
        self.print(clean(text), style=style, soft_wrap=not self.is_terminal)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Print a table without rules."""
        table = Table(*columns, box=None, pad_edge=False)
        for row in rows:
            table.add_row(*map(clean, row))
        self.print(table)

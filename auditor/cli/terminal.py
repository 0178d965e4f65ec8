"""Standard output for a person."""

from rich.console import Console


class Terminal(Console):
    """Sentences wrap at a terminal, and stay whole where they go to a file or a pipe.

    What looks like markup in a name or a reason stays text.
    """

    def __init__(self) -> None:
        super().__init__(highlight=False, markup=False)

    def say(self, text: str, style: str | None = None) -> None:
        """Print a line."""
        self.print(text, style=style, soft_wrap=not self.is_terminal)

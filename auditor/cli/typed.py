"""Arguments as a person typed them, and what to type to repeat an audit."""

import shlex
from collections.abc import Collection

import click


def command_line(arguments: list[str]) -> str:
    """What to type to repeat the audit: the arguments as given, without the folder of the output."""
    kept: list[str] = []
    skip = False
    for argument in arguments:
        if skip or argument.startswith(("--executor=", "--out=", "--sort=")):
            skip = False
        elif argument in ("--executor", "--out", "--sort"):
            skip = True
        # What changes no result is left out, so that the report has the same bytes wherever it is written.
        elif argument not in ("--quiet", "-q", "--dry-run", "--write-canonical"):
            kept.append(argument)
    return shlex.join(["audit", *kept])


def valued_options(command: click.Command) -> set[str]:
    """Options of a command that are followed by a value."""
    return {o for p in command.params if isinstance(p, click.Option) and not p.is_flag for o in p.opts}


def arguments_for(name: str, candidates: tuple[str, ...], arguments: list[str], valued: Collection[str]) -> list[str]:
    """What would be typed for one of several candidates.

    Args:
        name: of the candidate.
        candidates: all of them.
        arguments: as typed.
        valued: options that are followed by a value.

    >>> typed = ["compare", "o.pt", "a.pt", "b.pt", "--holdout", "a.pt"]
    >>> arguments_for("b.pt", ("a.pt", "b.pt"), typed, {"--holdout"})
    ['compare', 'o.pt', 'b.pt', '--holdout', 'a.pt']
    """
    kept: list[str] = []
    positionals = 0
    for i, argument in enumerate(arguments):
        is_value = i > 0 and arguments[i - 1] in valued
        if not is_value and not argument.startswith("-"):
            positionals += 1
            # The command's own name, and the original, which may be named among the candidates as a check.
            if positionals > 2 and argument != name and argument in candidates:
                continue
        kept.append(argument)
    return kept

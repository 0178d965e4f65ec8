"""Examples below a command's help, as a person would type them."""


def examples(*lines: str) -> str:
    """The epilog of a command.

    Args:
        lines: whole commands, a comment behind two blanks where it says more than they do.
    """
    # The \b keeps click from wrapping the lines below.
    return "\n".join(["\b", "Example:" if len(lines) == 1 else "Examples:", *(f"  {line}" for line in lines)])

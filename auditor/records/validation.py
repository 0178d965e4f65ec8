"""What pydantic found wrong, in words for a person."""

from pydantic import ValidationError


def first_fault(error: ValidationError) -> str:
    """The first thing wrong with a file, in words."""
    fault = error.errors()[0]
    field = ".".join(str(part) for part in fault["loc"])
    return f"{field}: {fault['msg']}" if field else fault["msg"]

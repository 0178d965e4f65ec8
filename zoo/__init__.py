"""Unlearning methods and constructions of known truth, one a file."""

if not __name__.startswith("auditor."):
    raise ImportError(f"import this folder as auditor.zoo, not as {__name__}: a double import would split its types")

"""Attacks: checks that make an adversary's effort against a model."""

if not __name__.startswith("auditor."):
    raise ImportError(
        f"import this folder as auditor.attacks, not as {__name__}: a double import would split its types"
    )

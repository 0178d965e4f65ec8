"""Probes: checks that read a model and change nothing."""

if not __name__.startswith("auditor."):
    raise ImportError(f"import this folder as auditor.probes, not as {__name__}: a double import would split its types")

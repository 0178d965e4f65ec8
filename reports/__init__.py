"""Reports: a rendering of results.json, nothing more."""

if not __name__.startswith("auditor."):
    raise ImportError(
        f"import this folder as auditor.reports, not as {__name__}: a double import would split its types"
    )

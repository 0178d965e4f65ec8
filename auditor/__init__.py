"""Audits machine unlearning: was the knowledge deleted, or only suppressed?"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from auditor.audit import AuditResult, compare
    from auditor.many import ManyResults, compare_many

__version__ = "0.2.0.dev3"
__all__ = ["AuditResult", "ManyResults", "__version__", "compare", "compare_many"]


def __getattr__(name: str) -> object:
    """Load what is asked for when it is first asked for: importing auditor costs nothing."""
    if name in ("AuditResult", "compare"):
        from auditor import audit

        found: object = getattr(audit, name)
        return found
    if name in ("ManyResults", "compare_many"):
        from auditor import many

        found = getattr(many, name)
        return found
    raise AttributeError(f"module 'auditor' has no attribute {name!r}")

"""Audits machine unlearning: was the knowledge deleted, or only suppressed?"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from auditor.audit import AuditResult, compare

__version__ = "0.2.0.dev3"
__all__ = ["AuditResult", "__version__", "compare"]


def __getattr__(name: str) -> object:
    """Load :func:`compare` and :class:`AuditResult` when first asked for: importing auditor costs nothing."""
    if name in ("AuditResult", "compare"):
        from auditor import audit

        found: object = getattr(audit, name)
        return found
    raise AttributeError(f"module 'auditor' has no attribute {name!r}")

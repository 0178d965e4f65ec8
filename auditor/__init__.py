"""Audits machine unlearning: was the knowledge deleted, or only suppressed?"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from auditor.audit import AuditResult, compare
    from auditor.many import ManyResults, compare_many
    from auditor.sequence import SequenceResults, compare_sequence

__version__ = "0.2.0.dev3"
__all__ = [
    "AuditResult",
    "ManyResults",
    "SequenceResults",
    "__version__",
    "compare",
    "compare_many",
    "compare_sequence",
]


_FROM = {
    **dict.fromkeys(("AuditResult", "compare"), "auditor.audit"),
    **dict.fromkeys(("ManyResults", "compare_many"), "auditor.many"),
    **dict.fromkeys(("SequenceResults", "compare_sequence"), "auditor.sequence"),
}


def __getattr__(name: str) -> object:
    """Load what is asked for when it is first asked for: importing auditor costs nothing."""
    if name not in _FROM:
        raise AttributeError(f"module 'auditor' has no attribute {name!r}")
    found: object = getattr(import_module(_FROM[name]), name)
    return found

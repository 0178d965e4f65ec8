"""Audits machine unlearning: was the knowledge deleted, or only suppressed?"""

__version__ = "0.1.0"

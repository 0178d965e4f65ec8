"""Models that can only be asked: an API, an agent, a program. `audit ask` asks them, and what they said is audited.

How a file of answers is read stands in :mod:`auditor.loading.answers`.
"""

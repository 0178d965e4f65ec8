"""Evaluation logs in place of models: sets of questions, subjects that only have logged numbers, and their task.

How a log is read stands in :mod:`auditor.loading.evaluation_logs`; nothing here opens a file.
"""

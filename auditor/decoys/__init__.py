"""Suppressed copies of the original that the auditor makes to find out which checks would notice."""

"""Checking, rerunning, exporting and signing somebody's finished audit."""

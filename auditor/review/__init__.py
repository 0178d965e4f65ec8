"""Checking, rerunning, exporting and signing someone's finished audit."""

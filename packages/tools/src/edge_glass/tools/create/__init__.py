"""Notebooks from templates, the same bytes every time."""

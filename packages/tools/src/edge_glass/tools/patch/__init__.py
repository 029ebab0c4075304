"""Patches: syntactic rewrites of notebooks, by name; third parties add theirs by entry point."""

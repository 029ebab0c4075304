"""Notebooks as build products: created from templates, patched by syntax, checked, executed."""

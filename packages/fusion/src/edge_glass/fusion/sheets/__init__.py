"""Sheets: images in a grid with texts, as PNG."""

"""Scores of answers: exact match, and text overlap for long answers."""

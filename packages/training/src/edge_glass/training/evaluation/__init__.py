"""Measures of retrieval and question answering, and their plots."""

"""Retrieval scores: ranks, recall, bootstrap intervals."""

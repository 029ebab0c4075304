"""The error for data that can't be used."""

from __future__ import annotations


class DataError(ValueError):
    """Data that can't be used; the message has the file, the row and the reason."""

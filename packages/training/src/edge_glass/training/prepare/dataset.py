"""Which Parquet files a data set consists of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class DatasetConfig:
    """Where a data set's Parquet files lie in the data folder: a file or a folder, or several.

    Attributes:
        captions: of pixmo-cap.
        questions: of any other PixMo sub-set; each file is known by its columns.
    """

    captions: str | tuple[str, ...]
    questions: str | tuple[str, ...]

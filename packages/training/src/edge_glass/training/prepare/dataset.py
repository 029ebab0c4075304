"""The Parquet files of a data set."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class DatasetConfig:
    """The files of a data set in the data folder: a file or a folder, or several of them.

    Attributes:
        captions: files of pixmo-cap.
        questions: files of any other PixMo sub-set; the columns of a file identify the sub-set.
    """

    captions: str | tuple[str, ...]
    questions: str | tuple[str, ...]

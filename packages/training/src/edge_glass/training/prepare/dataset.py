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

    def __post_init__(self) -> None:
        for name, named in (("captions", self.captions), ("questions", self.questions)):
            paths = (named,) if isinstance(named, str) else named
            if not paths or not all(path and "\0" not in path for path in paths):
                raise ValueError(f"{name} is {named!r}, expected the path of a file or folder")

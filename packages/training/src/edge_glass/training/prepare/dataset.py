"""The Parquet files of a data set."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class DatasetConfig:
    """The files of a data set in the data folder: a file or a folder, or several of them.

    One of the two is enough. Without captions there is no alignment, without questions no answers.

    Attributes:
        captions: files of pixmo-cap.
        questions: files of any other PixMo sub-set; the columns of a file identify the sub-set.
    """

    captions: str | tuple[str, ...] | None = None
    questions: str | tuple[str, ...] | None = None

    def sources(self, kind: str) -> tuple[str, ...]:
        """Returns the files and folders of "captions" or "questions"; none if there are none."""
        named: str | tuple[str, ...] | None = getattr(self, kind)
        return (named,) if isinstance(named, str) else named or ()

    def __post_init__(self) -> None:
        if self.captions is None and self.questions is None:
            raise ValueError(
                "found neither captions nor questions, expected one of them or both, such as "
                "{captions: mine/captions}"
            )
        for name, named in (("captions", self.captions), ("questions", self.questions)):
            if named is None:
                continue
            paths = self.sources(name)
            if not paths or not all(path and "\0" not in path for path in paths):
                raise ValueError(f"{name} is {named!r}, expected the path of a file or folder")

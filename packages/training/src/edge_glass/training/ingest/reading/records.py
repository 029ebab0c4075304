"""What a reader yields: an image with its texts, or a row that is left out and why."""

from __future__ import annotations

from dataclasses import dataclass, field

# How the bytes of an image are read.
FILE = "file"  # a file of its own
RANGE = "range"  # a part of a file: a member of a tar that is not compressed
MEMBER = "member"  # a member of a compressed tar, by its number
ROW = "row"  # a row of a Parquet file, by row group and row
SPLITS = {"restval": "train", "training": "train", "valid": "val", "eval": "val"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRef:
    """The place of an image's bytes.

    Attributes:
        kind: `FILE`, `RANGE`, `MEMBER` or `ROW`.
        path: of the file, as bytes, because a name need not be UTF-8.
        name: what the report and the column `image_url` call it.
        offset: first byte (`RANGE`), number of the member (`MEMBER`), or row in its row group.
        length: in bytes; for `ROW` the number of the row group.
        column: of the image (`ROW`).
    """

    kind: str
    path: bytes
    name: str
    offset: int = 0
    length: int = 0
    column: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question with its answer.

    Attributes:
        question: the text.
        answer: the text that is learned.
        answers: all answers that people gave, such as the ten of VQAv2.
        type: what scores are grouped by; "" if the source names none.
        messages: user and assistant in turn up to and with this answer; empty for a single turn.
    """

    question: str
    answer: str
    answers: tuple[str, ...] = ()
    type: str = ""
    messages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """An image with its texts.

    Attributes:
        image: the place of its bytes.
        file: that the texts come from, relative to the source.
        line: in that file, from 1; a row of a Parquet file or a member of a tar, from 0; None for a
            drawing.
        captions: zero or more.
        questions: zero or more.
        split: "" if the source names none.
        labels: values of `columns.LABELS` that the source has.
    """

    image: ImageRef
    file: str
    line: int | None
    captions: tuple[str, ...] = ()
    questions: tuple[Question, ...] = ()
    split: str = ""
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """A row, a text or an image that is left out.

    Attributes:
        file: relative to the source.
        line: in that file, from 1; a row of a Parquet file or a member of a tar, from 0; None if
            the fault is the whole file's.
        reason: a short name to count by.
        detail: what was found.
    """

    file: str
    line: int | None
    reason: str
    detail: str


class RowProblem(ValueError):  # noqa: N818 - the fault is the row's
    """A row that can't be used; `reason` is a short name to count by."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def split_name(name: str) -> str:
    """Returns the name of a split as the stages know it: "restval" of Karpathy counts as "train".

    A name that is not one word of letters, digits, `-` and `_` would become a file's name: refused.

    Raises:
        RowProblem: "bad_split".
    """
    name = name.strip()
    if name and not name.replace("-", "_").replace("_", "a").isalnum():
        raise RowProblem("bad_split", f"split {name[:40]!r}; expected letters, digits, - and _")
    return SPLITS.get(name.lower(), name)

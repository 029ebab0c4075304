"""How much there is to do: images, texts and questions, from the data or from the command line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from edge_glass.training.folders import PREPARED

if TYPE_CHECKING:
    from edge_glass.training.params import Params

QUESTIONS_PER_IMAGE = 5
TEXTS_PER_IMAGE = 5  # a caption of PixMo, its transcripts and the canonical caption
IMAGE_BYTES = 500_000  # of a photo, if the data are not there; an assumption
LONGEST_SCAN = 200_000  # rows of prepared questions that are read for their longest row


@dataclass(frozen=True, kw_only=True)
class Workload:
    """Numbers of all splits together.

    Attributes:
        captions, questions: images with captions, and images with questions.
        asked: questions.
        data_bytes: the Parquet files of images and texts.
        tokens: the longest row of text of `vlm_qa`.
        vocabulary: entries of the tokenizer of a decoder from scratch.
    """

    captions: int
    questions: int
    asked: int
    data_bytes: int
    tokens: int
    vocabulary: int

    def encoded(self, image_sizes: Mapping[str, int]) -> dict[str, int]:
        """Returns the images that are encoded, by kind.

        Captions and questions share the features of an image of equal size. For PixMo most
        questions are about images that have captions, so only what is more is counted.
        """
        questions = self.questions
        if len(set(image_sizes.values())) == 1:
            questions = max(0, questions - self.captions)
        return {"captions": self.captions, "questions": questions}


def read_workload(
    params: Params,
    *,
    images: int | None,
    questions: int | None,
    tokens: int | None,
    use_prepared: bool = True,
) -> Workload:
    """Reads the footers of the data's Parquet files; the arguments replace what they hold.

    `use_prepared` states that what `prepare` wrote comes from the chosen data.

    Raises:
        ValueError: if the data are not there and `images` is None.
    """
    prepared = {kind: _prepared(kind) if use_prepared else [] for kind in ("captions", "questions")}
    if images is None:
        files = {kind: prepared[kind] or _fetched(params, kind) for kind in prepared}
        rows = {kind: sum(map(_rows, paths)) for kind, paths in files.items()}
        if not any(rows.values()):
            raise ValueError(
                f"{params.data_folder}: no Parquet files of datasets.{params.data_name} there: "
                "give --images N, or fetch or prepare the data first"
            )
        stored = _prepared("questions", "rows") if use_prepared else []
        asked = questions or sum(map(_rows, stored)) or rows["questions"]
        captioned, about = rows["captions"], rows["questions"]
        if not prepared["questions"]:  # what is fetched has a row per question
            about = asked // QUESTIONS_PER_IMAGE
        every = {path for paths in files.values() for path in paths}
        size = sum(path.stat().st_size for path in every)
    else:
        asked = questions or images * QUESTIONS_PER_IMAGE
        captioned = images * bool(params.data.captions)
        about = images * bool(params.data.questions)
        size = (captioned + about) * IMAGE_BYTES
    longest, words = _texts(params) if prepared["questions"] else (None, None)
    limit = params.vlm_qa.max_length
    return Workload(
        captions=captioned,
        questions=about,
        asked=asked,
        data_bytes=size,
        tokens=tokens or min(limit, longest or limit),
        vocabulary=min(words or 8192, getattr(params.decoder.config, "max_vocab", 8192)),
    )


def _prepared(kind: str, table: str = "images") -> list[Path]:
    return sorted((PREPARED / kind).glob(f"*.{table}.parquet"))


def _fetched(params: Params, kind: str) -> list[Path]:
    """Returns the files of a kind of data in the data folder."""
    found: list[Path] = []
    for source in params.data.sources(kind):
        path = Path(params.data_folder) / source
        found += sorted(path.rglob("*.parquet")) if path.is_dir() else [path] * path.is_file()
    return found


def _rows(path: Path) -> int:
    try:
        return int(pq.read_metadata(path).num_rows)
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the system's, which names the file
        raise ValueError(f"{path}: not a Parquet file, expected one: fetch it again") from None


def _texts(params: Params) -> tuple[int | None, int | None]:
    """Returns the longest row in words, and the number of different words, of a decoder's own."""
    paths = [PREPARED / "questions/train.rows.parquet"]
    if getattr(params.decoder.config, "model", None) is not None or not paths[0].is_file():
        return None, None
    if _rows(paths[0]) > LONGEST_SCAN:
        return None, None
    lengths: dict[int, list[int]] = {}
    words: set[str] = set()
    for image, text in _learned(paths[0]):
        found = re.findall(r"\w+|[^\w\s]", text.lower())
        words.update(found)
        # two tokens open the turns, and one ends the answer
        lengths.setdefault(image, []).append(len(found) + 3)
    rows = (sum(each[: params.vlm_qa.max_questions]) for each in lengths.values())
    return max(rows, default=None), len(words) + 8  # and the special tokens


def _learned(path: Path) -> Iterator[tuple[int, str]]:
    table = pq.read_table(path, columns=["image", "question", "answer"])
    for row in table.to_pylist():
        yield row["image"], f"{row['question']} {row['answer'] or ''}"

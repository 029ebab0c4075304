"""A folder of images, each with a `.txt` file of the same name that holds its caption."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edge_glass.encoders.file_names import IMAGE_SUFFIXES, shown
from edge_glass.training.ingest.reading.plain_text import decode
from edge_glass.training.ingest.reading.records import Drop, Record, RowProblem
from edge_glass.training.ingest.reading.source import Source, splits_of_images
from edge_glass.training.ingest.reading.texts import MAX_TEXT, text_of

TEXTS = (".txt", ".caption")


def read_pairs(source: Source) -> Iterator[Record | Drop]:
    """Reads each image of the folder; one without a text file is left out, and reported."""
    texts = {name.rpartition(".")[0]: name for name in source.files(*TEXTS)}
    images = source.files(*IMAGE_SUFFIXES)
    splits = splits_of_images(images)
    used: set[str] = set()
    for name in images:
        # "a.jpg" goes with "a.txt", or with "a.jpg.txt"
        key = name if name in texts else name.rpartition(".")[0]
        used.add(key)
        try:
            if key not in texts:
                raise RowProblem("no_text", f"no {key.rpartition('/')[2]}.txt beside it")
            caption = _caption(source.root / texts[key], source.encoding)
            image = source.locator.listed(name)
        except RowProblem as fault:
            yield Drop(file=shown(name), line=None, reason=fault.reason, detail=shown(fault.detail))
            continue
        yield Record(
            image=image, file=shown(texts[key]), line=1, captions=(caption,), split=splits[name]
        )
    for key in texts:
        if key not in used:
            yield Drop(
                file=shown(texts[key]), line=None, reason="no_image", detail="no image of this name"
            )


def _caption(path: Path, encoding: str) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(4 * MAX_TEXT + 1)
    except OSError as error:
        raise RowProblem("unreadable_file", f"{shown(path.name)}: {error.strerror}") from None
    try:
        return " ".join(text_of(decode(data, encoding), "caption").split())
    except LookupError:
        raise RowProblem("not_utf8", f"Python does not know the encoding {encoding!r}") from None

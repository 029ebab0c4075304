"""A folder of images with one folder per class, as torchvision's `ImageFolder` reads it.

`CLASS/a.jpg`, `train/CLASS/a.jpg` or `CLASS/train/a.jpg`; folders that all images share come before
these and name nothing. The class is the caption, and the `concept`, which is a group in `prepare`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from edge_glass.encoders.file_names import IMAGE_SUFFIXES, shown
from edge_glass.training.ingest.reading.records import Drop, Record, RowProblem
from edge_glass.training.ingest.reading.source import Source, splits_of_images
from edge_glass.training.ingest.reading.texts import text_of


def read_classes(source: Source) -> Iterator[Record | Drop]:
    """Reads each image of the folder; one in no folder of a class is left out, and reported."""
    for name, (folder, split) in _places(source.files(*IMAGE_SUFFIXES)).items():
        try:
            if not folder:
                raise RowProblem("no_class", "it lies in no folder of a class")
            text = text_of(folder.replace("_", " ").replace("-", " "), "class")
            title = " ".join(text.split())
            image = source.locator.listed(name)
        except RowProblem as fault:
            yield Drop(file=shown(name), line=None, reason=fault.reason, detail=shown(fault.detail))
            continue
        yield Record(
            image=image, file=shown(name), line=None, captions=(title,), split=split,
            labels={"concept": title},
        )  # fmt: skip


def has_classes(source: Source) -> bool:
    """Returns whether most images lie in the folders of two classes or more."""
    counts = Counter(folder for folder, _ in _places(source.files(*IMAGE_SUFFIXES)).values())
    without = counts.pop("", 0)
    return len(counts) > 1 and sum(counts.values()) > without


def _places(names: list[str]) -> dict[str, tuple[str, str]]:
    """Returns the folder of its class, or "", and the split, or "", of each image."""
    folders = {name: name.split("/")[:-1] for name in names}
    shared = 0
    while len({tuple(each[: shared + 1]) for each in folders.values()}) == 1 and all(
        len(each) > shared for each in folders.values()
    ):
        shared += 1
    inner = {name: each[shared:] for name, each in folders.items()}
    for place in (0, 1):  # a class may be named "train", so the splits have one place for all
        named = {name: each[place] if len(each) > place else "" for name, each in inner.items()}
        splits = splits_of_images({f"{each}/image" for each in named.values()})
        if any(splits.values()):
            return {
                name: (
                    "".join((each[:place] + each[place + 1 :])[:1]),
                    splits[f"{named[name]}/image"],
                )
                for name, each in inner.items()
            }
    return {name: ("".join(each[:1]), "") for name, each in inner.items()}

"""A search whose candidates are chosen by codes, see `codes.py`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge_glass.fusion.codes import encode_rows
from edge_glass.fusion.search.index import ImageIndex
from edge_glass.fusion.search.query import search_folder


@pytest.mark.parametrize("precision", ["int8", "1bit"])
def test_a_search_with_codes_finds_the_same(
    image_folder: Path, dual_folder: Path, precision: str
) -> None:
    plain = search_folder("a red thing", image_folder, model_folder=dual_folder, top=3)
    for _ in range(2):  # codes that are new, and codes of the index
        found = search_folder(
            "a red thing", image_folder, model_folder=dual_folder, top=3, dim=8, precision=precision
        )
        assert found.found == plain.found
    # an image that comes later has codes too
    Image.new("RGB", (30, 40), "orange").save(image_folder / "orange.png")
    query = str(image_folder / "orange.png")
    result = search_folder(
        query, image_folder, model_folder=dual_folder, dim=8, precision=precision, top=1
    )
    assert [each.path.name for each in result.found] == ["orange.png"]
    assert result.num_images == 9


def test_codes_are_those_of_the_images_after_one_is_renamed(
    image_folder: Path, dual_folder: Path
) -> None:
    query = str(image_folder / "red.png")
    options = {"model_folder": dual_folder, "precision": "int8", "top": 1}
    options |= {"candidates": 1}  # the codes alone choose
    search_folder(query, image_folder, **options)  # type: ignore[arg-type]
    (image_folder / "blue.png").rename(image_folder / "zz.png")  # as many images, a new order
    (found,) = search_folder(query, image_folder, **options).found  # type: ignore[arg-type]
    assert found.path.name == "red.png"
    index = ImageIndex.load(image_folder / ".edge_glass_index")
    assert index is not None
    np.testing.assert_array_equal(
        index.codes["codes.24.int8"], encode_rows(index.rows(), 24, "int8")
    )


def test_copies_do_not_fill_the_candidates(image_folder: Path, dual_folder: Path) -> None:
    for number in range(5):
        (image_folder / f"{number}.png").write_bytes((image_folder / "red.png").read_bytes())
    query = str(image_folder / "red.png")
    options = {"model_folder": dual_folder, "precision": "int8", "top": 3, "candidates": 1}
    found = search_folder(query, image_folder, **options).found  # type: ignore[arg-type]
    assert found[0].path.name == "0.png"
    assert [each.copies for each in found] == [5, 0, 0]


@pytest.mark.parametrize(("candidates", "precision"), [(0, "int8"), (-1, "1bit"), (5, "float32")])
def test_candidates_that_nothing_can_choose_are_refused(
    image_folder: Path, dual_folder: Path, candidates: int, precision: str
) -> None:
    with pytest.raises(
        ValueError, match=r"candidates is .*, expected at least 1, with int8 or 1bit"
    ):
        search_folder(
            "red",
            image_folder,
            model_folder=dual_folder,
            candidates=candidates,
            precision=precision,
        )

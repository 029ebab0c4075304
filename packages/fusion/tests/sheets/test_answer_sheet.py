"""Answers on their image."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image, ImageChops

from edge_glass.fusion.sheets.answer_sheet import answer_sheet, draw_points


def changed(answer: str) -> tuple[int, int, int, int] | None:
    image = Image.new("RGB", (200, 100), "black")
    draw_points(image, answer)
    return ImageChops.difference(image, Image.new("RGB", image.size, "black")).getbbox()


def test_a_point_is_drawn_where_the_answer_names_it() -> None:
    left, top, right, bottom = changed('<point x="25" y="50">cup</point>') or (0, 0, 0, 0)
    assert ((left + right) / 2, (top + bottom) / 2) == pytest.approx((50, 50), abs=1)
    assert right - left < 25
    assert changed("two cups") is None
    assert changed('<point x="100" y="100">corner</point>') is not None


def test_a_sheet_has_a_cell_for_each_answer(tmp_path: Path) -> None:
    image = Image.new("RGBA", (400, 300), "blue")
    pointed = ("Where is it?", '<points x1="10" y1="20" x2="80" y2="90">cups</points>')
    for number in (1, 3):
        answer_sheet(tmp_path / f"{number}.png", image, [pointed, ("What?", "")] * number)
    with Image.open(tmp_path / "1.png") as one, Image.open(tmp_path / "3.png") as three:
        assert one.width == three.width
        assert three.height > 2.5 * one.height
    with pytest.raises(ValueError, match=r"no answers for none\.png"):
        answer_sheet(tmp_path / "none.png", image, [])

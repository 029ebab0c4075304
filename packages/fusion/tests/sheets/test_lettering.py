"""Every character is drawn by a font that has it, or is a visible escape."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from edge_glass.fusion.sheets import machine_fonts
from edge_glass.fusion.sheets.lettering import Lettering, dejavu
from edge_glass.fusion.sheets.machine_fonts import FontFile, fonts_with

LATIN_AND_MORE = "é ß ñ € œ Š Ωλ Жя"
EVERYWHERE = pytest.mark.skipif(dejavu() is None, reason="DejaVu comes with matplotlib")


def drawn(letters: Lettering, text: str) -> np.ndarray:
    page = Image.new("L", (400, 40), 255)
    letters.draw(ImageDraw.Draw(page), (5, 5), letters.readable(text), "black")
    return np.asarray(page)


def test_plain_text_is_pillows_own() -> None:
    page = Image.new("L", (400, 40), 255)
    letters = Lettering(15)
    ImageDraw.Draw(page).text((5, 5), "A dog, 7 “cats” …", "black", letters.faces[0].font)
    np.testing.assert_array_equal(drawn(letters, "A dog, 7 “cats” …"), np.asarray(page))


@EVERYWHERE
def test_letters_of_europe_are_drawn_on_every_machine() -> None:
    letters = Lettering(15)
    assert letters.readable(LATIN_AND_MORE) == LATIN_AND_MORE
    assert letters.readable("Cafe\u0301") == "Café"  # as some systems store names
    images = [drawn(letters, character).tobytes() for character in LATIN_AND_MORE.split()]
    assert len(set(images)) == len(images)  # no two are the same box
    # an accent is above the letter: the rows above the small letter are not empty
    assert (drawn(letters, "é")[:, :20] < 200).any(1).sum() > (drawn(letters, "e") < 200).any(
        1
    ).sum()


def test_what_no_font_has_is_escaped() -> None:
    letters = Lettering(15)
    assert (
        letters.readable("a\u202eb\u200b\x07\ud800\ue000") == "a\\u202eb\\u200b\\x07\\ud800\\ue000"
    )
    assert letters.readable("\u4e2d") == "\\u4e2d"  # no bundled font has it
    assert letters.readable("\u2764\ufe0f".replace("\u2764", "x")) == "x"


def test_the_machine_is_asked_only_if_it_may_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = dejavu()
    if folder is None:
        pytest.skip("no font to stand for one of the machine")
    monkeypatch.setattr("edge_glass.fusion.sheets.lettering.dejavu", lambda: None)
    monkeypatch.setattr(machine_fonts, "_by_fontconfig", lambda _character: None)
    machine_fonts._in_folders.cache_clear()
    (tmp_path / "fonts/more").mkdir(parents=True)
    (tmp_path / "fonts/broken.ttf").write_bytes(b"no font")
    (tmp_path / "fonts/more/Sans-Regular.ttf").write_bytes(folder.path.read_bytes())
    monkeypatch.setattr(machine_fonts, "FOLDERS", (str(tmp_path / "fonts"), "/no/such/folder"))
    try:
        assert Lettering(15).readable("Ж") == "\\u0416"
        letters = Lettering(15, of_machine=True)
        assert letters.readable("Ж中") == "Ж\\u4e2d"
        assert (drawn(letters, "Ж") < 200).any()
    finally:
        machine_fonts._in_folders.cache_clear()


def test_fontconfig_lists_plain_fonts_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "fc-list"
    lines = [
        "/f/Serif-Bold.ttf\t0\tBold\tSome Serif",
        "/f/Sans.ttc\t3\tRegular\tSome Sans",
        "/f/Sans.ttc\t65539\tRegular\tSome Sans",  # an instance of the same
        "/f/old.pcf.gz\t0\tRegular\tBitmap",
    ]
    text = "\n".join(lines)
    program.write_text(f"#!/bin/sh\n[ \"$3\" = :charset=4e2d ] && cat <<'END'\n{text}\nEND\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    machine_fonts._by_fontconfig.cache_clear()
    assert list(fonts_with("中")) == [
        FontFile(path=Path("/f/Sans.ttc"), index=3),
        FontFile(path=Path("/f/Serif-Bold.ttf")),
    ]
    machine_fonts._by_fontconfig.cache_clear()

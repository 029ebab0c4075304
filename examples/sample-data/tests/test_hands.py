import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from concepts import Concept
from hands import IconifyHand, RasterHand, match_names, squeeze
from PIL import Image
from sources import Tarball

RED = '<path d="M0 0h16v16H0z" fill="#f00"/>'
LEFT_HALF = '<path d="M0 0h8v16H0z" fill="#00f"/>'


def concept(hexcode: str, label: str, *shortcodes: str) -> Concept:
    return Concept(
        hexcode=hexcode,
        label=label,
        tags=(),
        group="animals-nature",
        subgroup="animal-mammal",
        shortcodes=shortcodes,
    )


DOG = concept("1F415", "dog", "dog2")
DOG_FACE = concept("1F436", "dog face", "dog")
OCTOPUS = concept("1F419", "octopus")


def test_names_match_however_they_are_spelt() -> None:
    assert squeeze("Dog-Face’s") == squeeze("dog_faces")
    found = match_names(["dogface", "octopus"], [DOG, DOG_FACE, OCTOPUS], {})
    assert found == {"1F436": "dogface", "1F419": "octopus"}


def test_an_icon_goes_to_the_surest_concept_only() -> None:
    # "dog" is the label of the one and a shortcode of the other.
    assert match_names(["dog"], [DOG_FACE, DOG], {}) == {"1F415": "dog"}


def test_the_inspected_table_wins() -> None:
    assert match_names(["dog"], [DOG_FACE, DOG], {"dog": "1F436"}) == {"1F436": "dog"}
    assert match_names(["dog"], [DOG_FACE, DOG], {"dog": ""}) == {}
    with pytest.raises(KeyError):
        match_names(["dog"], [DOG], {"cat": "1F431"})


def test_renders_svg_by_code_point() -> None:
    icons = {
        "icons": {"a": {"body": RED}, "b": {"body": LEFT_HALF}},
        "aliases": {"octopus": {"parent": "b"}, "turned": {"parent": "b", "rotate": 1}},
    }
    hand = IconifyHand("test", icons, {"1f436": "a", "1f419-fe0f": "octopus"}, [DOG_FACE, OCTOPUS])
    assert hand.draws("1F436")
    assert not hand.draws("1F415")
    red = np.asarray(hand.render("1F436", 8))
    assert (red == (255, 0, 0, 255)).all()
    half = np.asarray(hand.render("1F419", 8))
    assert (half[:, :4] == (0, 0, 255, 255)).all()
    assert (half[:, 4:, 3] == 0).all()


def test_turned_aliases_are_left_out() -> None:
    icons = {
        "icons": {"b": {"body": LEFT_HALF}},
        "aliases": {"octopus": {"parent": "b", "hFlip": True}},
    }
    assert not IconifyHand("test", icons, {}, [OCTOPUS]).draws("1F419")


def test_fonts_are_refused() -> None:
    icons = {"icons": {"octopus": {"body": "<text>8</text>"}}}
    with pytest.raises(ValueError, match="fonts"):
        IconifyHand("test", icons, {}, [OCTOPUS]).render("1F419", 8)


def test_reads_pictures_named_by_code_points(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGBA", (32, 32), (0, 200, 0, 255)).save(buffer, "PNG")
    path = tmp_path / "set.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for name in ("2708-fe0f", "1f436"):
            member = tarfile.TarInfo(f"package/assets/{name}.png")
            member.size = len(buffer.getvalue())
            archive.addfile(member, io.BytesIO(buffer.getvalue()))
    hand = RasterHand("test", Tarball(path), "assets/")
    assert hand.draws("2708")
    assert not hand.draws("1F419")
    assert hand.render("1F436", 16).size == (16, 16)
    assert hand.render("1F436", 16).getpixel((8, 8)) == (0, 200, 0, 255)


def test_transparent_colour_does_not_bleed(tmp_path: Path) -> None:
    # Left half opaque green, right half transparent *red*: no red may show after scaling.
    picture = Image.new("RGBA", (32, 32), (255, 0, 0, 0))
    picture.paste((0, 255, 0, 255), (0, 0, 16, 32))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    path = tmp_path / "set.tgz"
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo("package/assets/1f436.png")
        member.size = len(buffer.getvalue())
        archive.addfile(member, io.BytesIO(buffer.getvalue()))
    pixels = np.asarray(RasterHand("test", Tarball(path), "assets/").render("1F436", 10))
    assert (pixels[..., 0][pixels[..., 3] > 0] == 0).all()

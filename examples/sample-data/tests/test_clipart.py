import numpy as np
import pytest
from clipart import (
    FOLDER,
    MAX_COPIES,
    ClipArt,
    clip_art_rows,
    read_clip_art,
    render_clip_art,
    split_clip_art,
)
from PIL import Image

LICENCE = '<cc:license rdf:resource="http://web.resource.org/cc/PublicDomain"/>'
WORDS = {"red", "circle", "dog", "cat", "cow", "pig", "hen", "fox", "owl", "bee"}


def document(title: str, body: str = '<circle cx="5" cy="5" r="4" fill="red"/>') -> bytes:
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:dc="d" xmlns:cc="c" xmlns:rdf="r" '
        f'width="20pt" height="20pt"><metadata><dc:title>{title}</dc:title>{LICENCE}</metadata>'
        f"{body}</svg>"
    ).encode()


def files(**titles: str) -> dict[str, bytes]:
    return {f"{FOLDER}animals/{name}.svg": document(title) for name, title in titles.items()}


def test_titled_drawings_in_the_public_domain_are_read() -> None:
    found = read_clip_art(
        {
            **files(one="dog", two="Cane", three="cat"),
            f"{FOLDER}animals/text.svg": document("owl", "<text>owl</text>"),
            f"{FOLDER}animals/owned.svg": document("fox").replace(b"PublicDomain", b"GPL"),
            f"{FOLDER}logos/logo.svg": document("bee"),
        },
        WORDS,
        {"animals/three"},
    )
    assert [(art.name, art.title) for art in found] == [("animals/one", "Dog")]


def test_a_title_of_many_drawings_was_given_by_a_script() -> None:
    few = files(**{f"n{number}": "dog" for number in range(MAX_COPIES)})
    assert len(read_clip_art(few, WORDS, set())) == MAX_COPIES
    assert read_clip_art({**few, **files(more="dog")}, WORDS, set()) == []


def art(name: str, title: str, svg: bytes = b"") -> ClipArt:
    return ClipArt(name=name, title=title, svg=svg.decode())


def test_a_drawing_is_cropped_to_what_is_drawn() -> None:
    picture = render_clip_art(art("a", "A", document("dog")), 64)
    assert picture is not None
    assert picture.size == (64, 64)
    # Red in the middle and white in the corner, although the drawing fills a third of its page.
    assert np.allclose(picture.getpixel((32, 32)), (255, 0, 0), atol=3)
    assert np.allclose(picture.getpixel((0, 0)), (255, 255, 255), atol=3)


@pytest.mark.parametrize(
    "body",
    [
        "",
        '<rect width="20" height="1" fill="black"/>',
        '<circle cx="5" cy="5" r="4" fill="white"/>',
    ],
)
def test_hardly_anything_is_left_out(body: str) -> None:
    assert render_clip_art(art("a", "A", document("dog", body)), 64) is None


def test_a_broken_document_is_left_out() -> None:
    assert render_clip_art(art("a", "A", b"<svg"), 64) is None


def test_the_halves_share_no_title() -> None:
    blank = Image.new("RGB", (1, 1))
    arts = [(art(f"n{number}", f"Title {number // 2}"), blank) for number in range(40)]
    halves = split_clip_art(arts, 0)
    assert set(halves) == {"val_other", "test_other"}
    titles = [{each.title for each, _ in found} for found in halves.values()]
    assert not titles[0] & titles[1]
    names = [each.name for found in halves.values() for each, _ in found]
    assert sorted(names) == sorted(each.name for each, _ in arts)
    assert len(titles[0]) == len(titles[1]) == 10


def test_a_caption_is_the_title() -> None:
    found = art("animals/dog", "Dog", document("dog"))
    picture = render_clip_art(found, 64)
    assert picture is not None
    (row,) = clip_art_rows("val_other", [(found, picture)])
    assert (row["caption"], row["canonical_caption"], row["transcripts"]) == ("Dog", "Dog", [])
    assert (row["concept"], row["vendor"], row["subgroup"]) == (
        found.name,
        "openclipart",
        "animals",
    )

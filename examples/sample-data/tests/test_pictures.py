import io

import numpy as np
import pytest
from pictures import banner, encode, encode_smaller, on_white, truncated, web_page
from PIL import Image

NOISE = Image.fromarray(
    np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8), "RGB"
)


def opened(data: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(data))
    picture.load()
    return picture


def test_flat_art_is_kept_without_loss() -> None:
    flat = Image.new("RGB", (64, 64), (200, 30, 40))
    flat.paste((20, 60, 220), (10, 10, 30, 50))
    data = encode_smaller(flat, 90)
    assert (np.asarray(opened(data).convert("RGB")) == np.asarray(flat)).all()
    assert len(data) <= len(encode(flat, 90))


def test_busy_pictures_are_kept_with_loss() -> None:
    assert encode_smaller(NOISE, 80) == encode(NOISE, 80)


def test_on_white() -> None:
    picture = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    picture.putpixel((1, 0), (10, 20, 30, 255))
    assert np.asarray(on_white(picture)).tolist() == [[[255, 255, 255], [10, 20, 30]]]


def test_a_truncated_picture_opens_but_does_not_load() -> None:
    broken = truncated(encode(NOISE, 80))
    picture = Image.open(io.BytesIO(broken))
    assert picture.size == (64, 64)
    with pytest.raises(OSError, match="truncated"):
        picture.load()


def test_a_web_page_is_no_picture() -> None:
    with pytest.raises(OSError, match="cannot identify"):
        Image.open(io.BytesIO(web_page(b"123")))


def test_a_banner_is_a_picture_of_absurd_aspect() -> None:
    assert opened(banner(encode(NOISE, 80))).size == (640, 8)

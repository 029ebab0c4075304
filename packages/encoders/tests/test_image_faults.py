"""Bytes that are no image: one exception with a reason, whatever they are."""

from __future__ import annotations

import io
import pickle
import random
import struct
import threading
import warnings
from collections import Counter

import pytest
from PIL import Image, PngImagePlugin

from edge_glass.encoders import images
from edge_glass.encoders.images import BadImageError, decode_image, to_rgb
from image_samples import NOISE, ORIENTED, reason, saved, turned


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "GIF"])
def test_half_an_image_is_none(kind: str) -> None:
    data = saved(Image.effect_noise((64, 48), 80), kind)
    assert decode_image(data).size == (64, 48)
    assert reason(data[: len(data) // 2]) in ("truncated_image", "not_an_image")
    if kind != "TIFF":  # whose directory is at the end
        assert reason(data[: len(data) // 2]) == "truncated_image"


BMP = saved(NOISE, "BMP")
HUGE = BMP[:18] + struct.pack("<ii", 99_999, 99_999) + BMP[26:]  # as its header has it


@pytest.mark.parametrize(
    ("data", "expected", "detail"),
    [
        (None, "missing_image", "the file is empty"),
        (b"", "missing_image", "the file is empty"),
        (b"<!doctype html><html>404</html>", "not_an_image", r"begin with b'<!doctype html><"),
        (b"<?xml version='1.0'?><svg/>", "not_an_image", "a drawing .SVG.: render it to PNG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not_an_image", "begin with"),
        (saved(NOISE, "PNG").replace(b"\x0dIHDR", b"\x02IHDR"), "undecodable_image", "Truncated"),
        (HUGE, "image_bomb", "exceeds limit"),
    ],
)
def test_every_kind_of_damage_has_a_reason(data: bytes | None, expected: str, detail: str) -> None:
    with pytest.raises(BadImageError, match=f"^{expected}: .*{detail}") as caught:
        decode_image(data)
    assert caught.value.reason == expected
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - from a worker process
    assert (again.reason, again.detail) == (expected, caught.value.detail)


def test_a_limit_of_pixels() -> None:
    data = saved(NOISE, "JPEG")
    assert decode_image(data, max_pixels=240).size == (20, 12)
    assert reason(data, max_pixels=239) == "image_bomb"


def test_no_pixels_are_refused() -> None:
    with pytest.raises(BadImageError, match="too_small: 0 x 5 pixels"):
        to_rgb(Image.new("RGB", (0, 5)))


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_that_lacks_bytes_but_no_pixel_is_used(progressive: bool) -> None:
    data = saved(Image.effect_noise((64, 48), 80), "JPEG", progressive=progressive)
    whole = to_rgb(decode_image(data)).tobytes()
    for lost in (1, 2):
        assert to_rgb(decode_image(data[:-lost])).tobytes() == whole
    for lost in (12, 100, len(data) // 2):
        assert reason(data[:-lost]) == "truncated_image"


def test_an_opened_file_that_breaks_off_has_a_reason_too() -> None:
    data = saved(Image.effect_noise((64, 48), 80), "PNG")
    with pytest.raises(BadImageError, match="truncated_image"):
        to_rgb(Image.open(io.BytesIO(data[: len(data) // 2])))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "AVIF", "BMP", "ICO"])
def test_damaged_bytes_are_an_image_or_the_one_exception(kind: str) -> None:
    draw = random.Random(kind)
    options = {"exif": turned(6)} if kind in ORIENTED else {}
    whole = saved(NOISE, kind, **options)
    found: Counter[str] = Counter()
    for number in range(400):
        data = bytearray(whole)
        for _ in range(draw.randint(1, 10)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        if number % 4 == 0:
            del data[draw.randrange(len(data)) :]
        try:
            found[to_rgb(decode_image(bytes(data))).mode] += 1
        except BadImageError as error:
            found[error.reason] += 1
    assert set(found) <= {
        *("RGB", "not_an_image", "truncated_image", "undecodable_image"),
        *("missing_image", "image_bomb", "unsupported_mode", "too_small", "needs_plugin"),
    }
    assert found["truncated_image"] + found["not_an_image"] > 0


def test_a_lack_of_memory_is_not_the_images_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object, **_options: object) -> None:
        raise MemoryError

    data = saved(NOISE, "PNG")
    monkeypatch.setattr(Image.Image, "load", fail)
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", fail)
    with pytest.raises(MemoryError):
        decode_image(data)


def test_pillow_s_warnings_stay_out_in_all_threads_and_nobody_elses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 200)  # a warning above it, an error above twice
    data, before = saved(NOISE, "PNG"), list(warnings.filters)
    with pytest.raises(Image.DecompressionBombWarning):
        Image.open(io.BytesIO(data))
    done: list[bool] = []

    def work() -> None:
        for _ in range(50):
            to_rgb(decode_image(data))
        done.append(True)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done == [True] * 4
    assert warnings.filters == before
    with images.guarded(), pytest.raises(UserWarning, match="ours"):
        warnings.warn("ours", UserWarning, stacklevel=1)

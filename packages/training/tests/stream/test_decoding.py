"""Any bytes become a tensor that a few lines of PIL agree with, or a reason; never a crash."""

from __future__ import annotations

import io
import math
import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torch import Tensor

from edge_glass.encoders.images import BadImageError
from edge_glass.encoders.towers.preprocessing import ImageTransform
from edge_glass.training.stream.decoding import ImageDecoder

# pixels come out as 0 to 255, so that they compare with PIL's
PLAIN = ImageTransform(
    image_size=32, fit="crop", mean=(0.0, 0.0, 0.0), std=(1 / 255, 1 / 255, 1 / 255)
)
DECODE = ImageDecoder(transform=PLAIN)


def scene(size: tuple[int, int] = (48, 32)) -> Image.Image:
    """A smooth image whose corners have different colours, to show rotations and lost channels."""
    corners = Image.new("RGB", (2, 2))
    for place, colour in enumerate([(250, 10, 20), (10, 240, 30), (20, 30, 230), (200, 200, 90)]):
        corners.putpixel((place % 2, place // 2), colour)
    return corners.resize(size, Image.Resampling.BICUBIC)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def reference(data: bytes, show: Callable[[Image.Image], Image.Image]) -> Tensor:
    """Show as RGB, cut the middle square, resize."""
    image = show(Image.open(io.BytesIO(data)))
    side = min(image.size)
    square = ImageOps.fit(image, (32, 32), Image.Resampling.BICUBIC)
    assert side >= 32
    return torch.from_numpy(np.asarray(square).astype(np.float32)).permute(2, 0, 1)


def on_white(image: Image.Image) -> Image.Image:
    layer = image.convert("RGBA")
    page = Image.new("RGB", layer.size, "white")
    page.paste(layer, mask=layer.getchannel("A"))
    return page


def from_16_bit(image: Image.Image) -> Image.Image:
    return Image.fromarray(np.round(np.asarray(image) / 257).astype(np.uint8)).convert("RGB")


def half_clear() -> Image.Image:
    image = scene().convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: show it turned by 90 degrees, clockwise
    return saved(scene(), "JPEG", quality=95, exif=exif)


GREY_16 = Image.fromarray(np.linspace(0, 65535, 48 * 32).reshape(32, 48).astype(np.uint16))
MODES: dict[str, tuple[bytes, Callable[[Image.Image], Image.Image]]] = {
    "RGB": (saved(scene(), "PNG"), lambda image: image),
    "EXIF": (turned(), lambda image: image.transpose(Image.Transpose.ROTATE_270)),
    "CMYK": (saved(scene().convert("CMYK"), "JPEG"), lambda image: image.convert("RGB")),
    "grey": (saved(scene().convert("L"), "JPEG"), lambda image: image.convert("RGB")),
    "bits": (saved(scene().convert("1"), "PNG"), lambda image: image.convert("RGB")),
    "16-bit": (saved(GREY_16, "PNG"), from_16_bit),
    "palette": (saved(scene().quantize(16), "PNG"), lambda image: image.convert("RGB")),
    "clear palette": (saved(scene().quantize(16), "PNG", transparency=3), on_white),
    "alpha": (saved(half_clear(), "PNG"), on_white),
    "grey alpha": (saved(half_clear().convert("LA"), "PNG"), on_white),
    "WEBP alpha": (saved(half_clear(), "WEBP", lossless=True), on_white),
}


@pytest.mark.parametrize("name", MODES)
def test_every_mode_is_shown_as_a_viewer_shows_it(name: str) -> None:
    data, show = MODES[name]
    # 1 level: blending on white rounds before the resize in one path and not in the other
    torch.testing.assert_close(DECODE(data), reference(data, show), rtol=0, atol=1.01)


@pytest.mark.parametrize(
    ("fit", "draft", "size"),
    [
        ("crop", None, (400, 300)),
        ("crop", 1.0, (50, 38)),  # 300 / 32 = 9.4, so 1/8
        ("crop", 2.0, (100, 75)),  # 4.7: 1/4
        ("crop", 5.0, (400, 300)),  # 1.9: whole
        ("pad", 2.0, (100, 75)),  # 6.25: 1/4
        ("pad", 1.5, (50, 38)),  # 8.3: 1/8
    ],
)
def test_draft_keeps_as_much_as_it_says(fit: str, draft: float | None, size: object) -> None:
    transform = ImageTransform(image_size=32, fit=fit, mean=PLAIN.mean, std=PLAIN.std)  # type: ignore[arg-type]
    data = saved(scene((400, 300)), "JPEG", quality=95)
    assert ImageDecoder(transform=transform, draft=draft).decode(data).size == size


def test_draft_is_close_on_jpeg_and_equal_on_the_rest() -> None:
    data = saved(scene((400, 300)), "JPEG", quality=95)
    close = ImageDecoder(transform=PLAIN, draft=2.0)
    # a smooth picture: scaling in the DCT differs from bicubic by a few of 255 levels
    torch.testing.assert_close(close(data), DECODE(data), rtol=0, atol=4)
    for name in ("16-bit", "alpha", "palette"):
        assert torch.equal(close(MODES[name][0]), DECODE(MODES[name][0]))
    turned_big = Image.open(io.BytesIO(turned())).getexif()
    upright = saved(scene((400, 300)), "JPEG", quality=95, exif=turned_big)
    torch.testing.assert_close(close(upright), DECODE(upright), rtol=0, atol=4)
    cmyk = saved(scene((400, 300)).convert("CMYK"), "JPEG", quality=95)
    torch.testing.assert_close(close(cmyk), DECODE(cmyk), rtol=0, atol=8)


@pytest.mark.parametrize("draft", [None, 1.0])
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (None, "missing_image"),
        (b"", "missing_image"),
        (b"<html>404</html>", "not_an_image"),
        (b"\xff\xd8\xff and no more", "not_an_image"),
        (saved(scene((400, 300)), "JPEG")[:-2000], "truncated_image"),
        (saved(half_clear(), "PNG")[:-200], "truncated_image"),
        (saved(Image.new("F", (32, 32), math.nan), "TIFF"), "unsupported_mode"),
    ],
)
def test_bad_bytes_have_a_reason(draft: float | None, data: bytes | None, reason: str) -> None:
    with pytest.raises(BadImageError) as caught:
        ImageDecoder(transform=PLAIN, draft=draft)(data)
    assert caught.value.reason == reason


@pytest.mark.filterwarnings("ignore")  # Pillow warns of what it repairs
def test_random_damage_is_a_picture_or_a_reason() -> None:
    draw = random.Random(0)
    reasons: dict[str, int] = {}
    pictures = [
        *(data for data, _ in MODES.values()),
        saved(scene(), "GIF"),
        saved(scene(), "TIFF"),
    ]
    decoders = (DECODE, ImageDecoder(transform=PLAIN, draft=1.0))
    for number in range(800):
        data = bytearray(pictures[number % len(pictures)])
        for _ in range(draw.randint(1, 12)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        if number % 3 == 0:
            del data[draw.randrange(len(data)) :]
        try:
            assert decoders[number % 2](bytes(data)).shape == (3, 32, 32)
        except BadImageError as error:
            reasons[error.reason] = reasons.get(error.reason, 0) + 1
    assert reasons["truncated_image"] > 50
    assert reasons["not_an_image"] > 10
    assert sum(reasons.values()) < 800


def test_a_draft_that_would_enlarge_is_refused() -> None:
    with pytest.raises(ValueError, match=r"draft is 0\.5"):
        ImageDecoder(transform=PLAIN, draft=0.5)

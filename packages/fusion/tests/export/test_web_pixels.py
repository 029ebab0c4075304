"""The page's preprocessing in JavaScript gives the bits of `PixelTransform`, run by Node.js."""

from __future__ import annotations

import base64
import importlib.resources
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edge_glass.encoders.towers.pixels import PixelTransform

NODE = shutil.which("node")
SCRIPT = """
import { readFileSync } from "node:fs";
import { pixelValues } from "./preprocessing.js";

const { recipe, images } = JSON.parse(readFileSync(0, "utf8"));
for (const { width, height, content } of images) {
  const pixels = new Uint8ClampedArray(Buffer.from(content, "base64"));
  const found = pixelValues({ width, height, pixels }, recipe);
  console.log(Buffer.from(found.buffer).toString("base64"));
}
"""
# smaller, equal and larger; odd and even; very flat ones, tall ones whose rows are resized first,
# and one whose side is rounded from .5
SIZES = [
    (64, 64), (32, 32), (33, 32), (1, 1), (1, 200), (300, 2), (31, 57), (500, 333), (128, 125),
    (640, 427), (3, 4), (33, 99), (64, 300),
]  # fmt: skip


def javascript_pixels(
    folder: Path, transform: PixelTransform, images: list[Image.Image]
) -> list[np.ndarray]:
    """Runs the page's modules on images."""
    source = importlib.resources.files("edge_glass.fusion.export") / "web"
    for name in ("preprocessing.js", "resampling.js"):
        (folder / name).write_bytes((source / name).read_bytes())
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "script.js").write_text(SCRIPT)
    values: dict[str, Any] = {
        "recipe": json.loads(json.dumps(transform.as_data())),
        "images": [
            {
                "width": image.width,
                "height": image.height,
                "content": base64.b64encode(image.tobytes()).decode(),
            }
            for image in images
        ],
    }
    assert NODE is not None
    done = subprocess.run(
        [NODE, "script.js"],
        input=json.dumps(values),
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
    )
    shape = (3, transform.image_size, transform.image_size)
    return [
        np.frombuffer(base64.b64decode(line), np.float32).reshape(shape)
        for line in done.stdout.splitlines()
    ]


@pytest.mark.skipif(NODE is None, reason="no Node.js")
@pytest.mark.parametrize("fit", ["pad", "crop"])
@pytest.mark.parametrize("resample", ["bicubic", "bilinear", "lanczos"])
def test_equal_pixels_give_equal_bits(fit: Any, resample: Any, tmp_path: Path) -> None:
    transform = PixelTransform(
        image_size=32,
        fit=fit,
        mean=(0.48145466, 0.4578275, 0.40821073),
        std=(0.26862954, 0.26130258, 0.27577711),
        resample=resample,
    )
    draws = np.random.default_rng(0)
    images = [
        # noise of 0 and 255 overshoots, so that levels are cut
        Image.fromarray(draws.integers(0, 2, (height, width, 3), dtype=np.uint8) * 255)
        for width, height in SIZES
    ]
    found = javascript_pixels(tmp_path, transform, images)
    for image, values in zip(images, found, strict=True):
        assert np.array_equal(values, transform.pixels(image)), image.size

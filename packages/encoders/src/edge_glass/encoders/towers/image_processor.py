"""How the images of a pretrained model were prepared: the config of its image processor.

Only numbers are read. The class is not run: it squashes or crops images, see `ImageTransform`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_glass.encoders.towers.pretrained import locate_model
from edge_glass.encoders.towers.square import Resample
from edge_glass.encoders.towers.vision_families import Family

# Pillow's numbers of the resampling filters.
FILTERS: dict[int, Resample] = {1: "lanczos", 2: "bilinear", 3: "bicubic"}
RESCALE = 1 / 255


@dataclass(frozen=True, kw_only=True)
class ImageProcessorValues:
    """What the config of an image processor holds.

    Attributes:
        mean, std: of red, green and blue, which are 0 to 1.
        resample: the filter that resizes.
        size: pixels per side, None if the file does not name it.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resample: Resample = "bicubic"
    size: int | None = None


def read_image_processor(model: str, revision: str | None, family: Family) -> ImageProcessorValues:
    """Reads a model's preprocessor_config.json; without one the values are those of the family.

    Raises:
        ValueError: if the file is broken, or describes what `ImageTransform` can't do.
    """
    values = _read(model, revision)
    if values is None:
        return ImageProcessorValues(mean=family.mean, std=family.std)
    where = f"the image processor of {model}"
    scale = values.get("rescale_factor", RESCALE)
    if values.get("do_rescale", True) and not (
        isinstance(scale, float) and math.isclose(scale, RESCALE, rel_tol=1e-6)
    ):
        raise ValueError(
            f"{where} has rescale_factor {scale!r}, expected 1/255: choose a different model"
        )
    if not values.get("do_rescale", True) or not values.get("do_normalize", True):
        raise ValueError(f"{where} does not rescale or normalise: choose a different model")
    code = values.get("resample", 3)
    if not isinstance(code, int) or code not in FILTERS:
        raise ValueError(
            f"{where} has resample {code!r}, expected one of {FILTERS}: choose a different model"
        )
    return ImageProcessorValues(
        mean=three_numbers(values.get("image_mean", family.mean), f"{where}: image_mean"),
        std=three_numbers(values.get("image_std", family.std), f"{where}: image_std", above=0.0),
        resample=FILTERS[code],
        size=_side(values),
    )


def _read(model: str, revision: str | None) -> Mapping[str, Any] | None:
    place, is_local = locate_model(model, revision)
    for name in ("preprocessor_config.json", "processor_config.json"):
        path: object = Path(place) / name
        if not is_local:
            from transformers.utils.hub import cached_file

            path = cached_file(
                place, name, revision=revision, _raise_exceptions_for_missing_entries=False
            )
        if isinstance(path, str | Path) and Path(path).is_file():
            try:
                values = json.loads(Path(path).read_text(encoding="utf-8"))
            except (json.JSONDecodeError, UnicodeDecodeError) as error:
                raise ValueError(f"{path} is not JSON ({error}); copy the model again") from None
            values = values.get("image_processor", values) if isinstance(values, dict) else None
            if not isinstance(values, dict):
                raise ValueError(f"{path} holds no table of options; copy the model again")
            return values
    return None


def three_numbers(value: Any, where: str, above: float = -math.inf) -> tuple[float, float, float]:
    """Returns a value of red, green and blue, each above a number; errors name `where`."""
    numbers = isinstance(value, list | tuple) and all(type(each) in (int, float) for each in value)
    if numbers and len(value) == 3:
        red, green, blue = (float(each) for each in value)
        if all(math.isfinite(each) and each > above for each in (red, green, blue)):
            return red, green, blue
    more = "" if above == -math.inf else f" above {above:g}"
    raise ValueError(f"{where} is {value!r}, expected three numbers{more}")


def _side(values: Mapping[str, Any]) -> int | None:
    """Returns the side of the input: the crop's, or that of the resized image."""
    keys = ("crop_size", "size") if values.get("do_center_crop") else ("size",)
    for key in keys:
        size = values.get(key)
        if isinstance(size, Mapping):
            size = size.get("height", size.get("shortest_edge"))
        if isinstance(size, int):
            return size
    return None

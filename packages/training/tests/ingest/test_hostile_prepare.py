"""Damaged images, tables and JSON files through import and prepare: no error but the one line.

Each drop has a file and a reason, in both. The damage is drawn from a seed, so that a failure can
be repeated by its number.
"""

from __future__ import annotations

import copy
import io
import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageCms

import tiny_sources
from edge_glass.encoders.files import DataError
from edge_glass.training.ingest.project import View
from edge_glass.training.ingest.reading.source import Source
from edge_glass.training.ingest.session import ImportConfig, import_data
from edge_glass.training.params import parse_params
from edge_glass.training.stages import prepare
from mutations import mutate
from tiny_pixmo import PARAMS

FORMATS = sorted(name for name in tiny_sources.SOURCES if name != "svg")  # has its own renderer
DATED = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
PROFILE = DATED[:24] + bytes(12) + DATED[36:]  # without the time, so that a seed repeats its round
WRONG_PROFILE = PROFILE[:300] + bytes(60) + PROFILE[360:]
IMAGES = (".png", ".jpg")
REFUSALS: list[str] = []  # by import, of whole sources: a line, or a list of the drops
ONE_LINE: list[str] = []  # by prepare
TABLES = (".parquet", ".tar")  # mostly refused whole, so they are damaged less often


def stored_variously(data: bytes, draw: random.Random) -> bytes:
    """Returns the same image in a drawn format, mode and colour profile, turned by its EXIF."""
    image = Image.open(io.BytesIO(data))
    mode, kind, profile = draw.choice(
        (
            ("RGB", "JPEG", PROFILE),
            ("CMYK", "JPEG", WRONG_PROFILE),
            ("L", "PNG", WRONG_PROFILE),
            ("P", "PNG", PROFILE),
            ("RGBA", "WEBP", PROFILE),
            ("F", "TIFF", b""),
            ("LA", "PNG", b""),
            ("P", "GIF", b""),
            ("RGB", "JPEG2000", b""),
            ("RGB", "AVIF", b""),
        )
    )
    exif = Image.Exif()
    exif[0x0112] = draw.randrange(10)
    image = image.convert("L") if mode == "F" else image
    file = io.BytesIO()
    image.convert(mode).save(file, kind, icc_profile=profile or None, exif=exif)
    return file.getvalue()


def damage(folder: Path, draw: random.Random) -> int:
    """Damages files of a source; returns how many."""
    count = 0
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        data = path.read_bytes()
        if path.suffix in IMAGES:
            data = stored_variously(data, draw)
        if draw.random() < (0.15 if path.suffix in TABLES else 0.6):
            data = mutate(data, draw)
            count += 1
        path.write_bytes(data)
    return count


def prepared(out: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Prepares what was imported; returns the counts and the listed drops."""
    kinds = [each.name for each in out.iterdir() if each.name in ("captions", "questions")]
    raw = copy.deepcopy(PARAMS)
    raw["vlm_qa"]["tiny"]["visual_tokens"]["kind"] = "grid"  # needs no captions
    raw |= {
        "data_folder": str(out),
        "datasets": {"tiny": {kind: kind for kind in kinds}},
    }
    monkeypatch.chdir(out)
    prepare.run(parse_params(raw, where="p"))
    report = json.loads(Path("metrics/prepare.json").read_text())
    lines = Path("artifacts/prepared/drops.jsonl").read_text().splitlines()
    return {**report, "listed": [json.loads(line) for line in lines]}


def one_round(number: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """Damages one source; returns how many files were damaged and how many texts were prepared."""
    draw = random.Random(number)
    name = draw.choice(FORMATS)
    source, out = folder / "source", folder / "out"
    tiny_sources.SOURCES[name](source)
    count = damage(source, draw)
    try:
        config = ImportConfig(format=name if draw.random() < 0.5 else None, rows_per_shard=4)
        report = import_data(Source(path=source), out, config, View(size=32))
    except DataError as error:
        REFUSALS.append(str(error))
        return count, 0
    for drops in report.examples.values():
        assert all(each.file and each.reason and each.detail for each in drops)
    if draw.random() < 0.3:  # what was imported is damaged on the disk
        for path in sorted(out.glob("*/*.parquet")):
            path.write_bytes(mutate(path.read_bytes(), draw))
            count += 1
    try:
        found = prepared(out, monkeypatch)
    except DataError as error:
        ONE_LINE.append(str(error))
        return count, 0
    kinds = [found[kind] for kind in ("captions", "questions") if kind in found]
    dropped = sum(sum(kind["dropped"].values()) for kind in kinds)
    assert len(found["listed"]) == dropped
    assert all(each["file"].endswith(".parquet") and each["reason"] for each in found["listed"])
    return count, sum(sum(kind["rows_kept"].values()) for kind in kinds)


@pytest.mark.parametrize("files", [20, pytest.param(100, marks=pytest.mark.slow)])
def test_damaged_files_through_import_and_prepare(
    files: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = kept = number = 0
    while damaged < files or (kept == 0 and number < 4 * files):
        folder = tmp_path / str(number)
        try:
            more, texts = one_round(number, folder, monkeypatch)
        except Exception as error:
            error.add_note(f"round {number}")
            raise
        damaged, kept, number = damaged + more, kept + texts, number + 1
        shutil.rmtree(folder)
    assert not [each for each in ONE_LINE if "\n" in each]
    assert kept > 0  # or nothing but refusals was tested

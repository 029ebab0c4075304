"""Mutated sources: no traceback, and each row that is left out has a file and a reason.

The mutations are drawn from a seed, so that a failure can be repeated by its number.
"""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

import tiny_sources
from edge_glass.encoders.files import DataError
from edge_glass.training.ingest.project import View
from edge_glass.training.ingest.reading.source import Source
from edge_glass.training.ingest.session import ImportConfig, import_data
from mutations import mutate

ROUNDS = 50  # of each of the 11 formats
FEW = 3
ONE_FILE = ("llava", "parquet", "karpathy")  # a mutation of this file mostly ends in a refusal


@pytest.mark.parametrize("rounds", [FEW, pytest.param(ROUNDS, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", sorted(tiny_sources.SOURCES))
def test_mutated_sources(name: str, rounds: int, tmp_path: Path) -> None:
    if name == "svg":
        pytest.importorskip("resvg_py")
    tiny_sources.SOURCES[name](tmp_path / "clean")
    draw = random.Random(name)
    kept = 0
    for number in range(rounds):
        source, out = tmp_path / f"source{number}", tmp_path / f"out{number}"
        shutil.copytree(tmp_path / "clean", source)
        files = sorted(path for path in source.rglob("*") if path.is_file())
        texts = [path for path in files if path.suffix != ".png"] or files
        for _ in range(draw.randrange(1, 4)):
            path = draw.choice(texts if draw.random() < 0.7 else files)
            path.write_bytes(mutate(path.read_bytes(), draw))
        # the format is given half of the time: detection must not fail either
        config = ImportConfig(format=name if draw.random() < 0.5 else None, rows_per_shard=4)
        try:
            report = import_data(Source(path=source), out, config, View(size=32))
        except DataError:
            continue  # refused whole, with one message
        kept += report.images
        for drops in report.examples.values():
            for drop in drops:
                assert drop.file, f"{name} {number}"
                assert drop.reason, f"{name} {number}"
                assert drop.detail, f"{name} {number}"
        written = sum(report.rows.values())
        read = report.plan.captions + report.plan.questions
        assert written <= read
        shutil.rmtree(source)
    assert kept > 0 or name in ONE_FILE

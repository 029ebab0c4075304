from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from edge_glass.training.evaluation.figures.plots import (
    accuracy_figure,
    codes_figure,
    recall_figure,
    recall_table,
    similarity_figure,
    tsne,
    tsne_figure,
    write_table,
)

CURVE = {
    dim: {way: {"R@1": 0.1 * place + gain, "MRR": 0.5} for way, gain in (("i2t", 0), ("t2i", 0.05))}
    for place, dim in enumerate((64, 8, 16))
}
GENERATOR = np.random.default_rng(0)
IMAGE, TEXT = (GENERATOR.standard_normal((20, 8)) for _ in range(2))


def draw_recall(path: Path) -> None:
    recall_figure(
        path,
        {"val_vendor": CURVE, "val_concept": CURVE},
        {split: {"i2t": 0.01, "t2i": 0.02} for split in ("val_vendor", "val_concept")},
        intervals={
            split: {dim: dict.fromkeys(("i2t", "t2i"), (0.0, 0.4)) for dim in CURVE}
            for split in ("val_vendor", "val_concept")
        },
    )


def draw_codes(path: Path) -> None:
    by_dim = {
        str(dim): {
            precision: {"bytes": dim * size, "R@10": 0.9 - size / dim}
            for precision, size in (("float32", 4), ("int8", 1), ("1bit", 0.125))
        }
        for dim in (8, 16, 64)
    }
    codes_figure(path, {"val_vendor": by_dim, "val_concept": by_dim})


def draw_similarity(path: Path) -> None:
    similarity_figure(path, IMAGE @ TEXT.T, [f"caption {'long ' * place}" for place in range(20)])


def draw_tsne(path: Path) -> None:
    tsne_figure(path, IMAGE, TEXT, [f"group {place % 12}" for place in range(20)])


def draw_accuracy(path: Path) -> None:
    accuracy_figure(path, {"model": {"count": 0.7, "where": 0.5}, "blind": {"count": 0.3}}, "VQA")


def test_a_caption_with_dollars_is_no_formula(tmp_path: Path) -> None:
    names = [r"from $\frac to $5 {", "$x^2$", "costs $5"]
    similarity_figure(tmp_path / "plot.png", IMAGE[:3] @ TEXT[:3].T, names)
    tsne_figure(tmp_path / "map.png", IMAGE, TEXT, [names[place % 3] for place in range(20)])


FIGURES = [draw_recall, draw_codes, draw_similarity, draw_tsne, draw_accuracy]


@pytest.mark.parametrize("draw", FIGURES)
def test_equal_numbers_give_equal_bytes(draw: Callable[[Path], None], tmp_path: Path) -> None:
    draw(tmp_path / "one.png")
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red", "savefig.dpi": 300}):
        draw(tmp_path / "new folder" / "two.png")  # whatever the user's own settings are
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "new folder/two.png").read_bytes()
    with Image.open(tmp_path / "one.png") as picture:
        assert set(picture.info) <= {"dpi"}  # no software, no time
        assert min(picture.size) > 300
        assert len(np.unique(np.asarray(picture.convert("L")))) > 20  # something is drawn


@pytest.mark.slow
def test_bytes_are_those_of_another_process(tmp_path: Path) -> None:
    draw_accuracy(tmp_path / "here.png")
    code = (
        "import sys; from pathlib import Path;"
        "from edge_glass.training.evaluation.figures.plots import accuracy_figure;"
        "accuracy_figure(Path(sys.argv[1]),"
        " {'model': {'count': 0.7, 'where': 0.5}, 'blind': {'count': 0.3}}, 'VQA')"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "there.png")], check=True)
    assert (tmp_path / "here.png").read_bytes() == (tmp_path / "there.png").read_bytes()


def test_recall_table_reads_well_in_dvc(tmp_path: Path) -> None:
    write_table(tmp_path / "plots" / "recall.csv", recall_table(CURVE))
    lines = (tmp_path / "plots/recall.csv").read_bytes().decode().split("\n")
    assert lines[0] == "dim,i2t R@1,i2t MRR,t2i R@1,t2i MRR"
    assert [line.split(",")[0] for line in lines[1:]] == ["8", "16", "64", ""]
    assert lines[1] == "8,0.1,0.5,0.15000000000000002,0.5"


def test_tables_without_rows_or_of_other_keys_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"found 0 rows for x\.csv"):
        write_table(tmp_path / "x.csv", [])
    with pytest.raises(ValueError, match="of equal keys"):
        write_table(tmp_path / "x.csv", [{"a": 1}, {"b": 1}])


def test_tsne_keeps_clusters_together() -> None:
    centres = np.repeat(np.eye(3, 8) * 10, 12, axis=0)
    places = tsne(centres + GENERATOR.standard_normal((36, 8)))
    middles = places.reshape(3, 12, 2).mean(1)
    nearest = np.linalg.norm(places[:, None] - middles, axis=-1).argmin(1)
    np.testing.assert_array_equal(nearest, np.repeat(np.arange(3), 12))

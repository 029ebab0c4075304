"""The example fills Qdrant's local mode from an exported index, and finds what a search finds."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from edge_glass.encoders.dual_encoder import DualEncoder
from edge_glass.fusion.search.index_export import export_index
from edge_glass.fusion.search.query import search_folder

qdrant_client = pytest.importorskip("qdrant_client", reason="no qdrant-client")
EXAMPLE = Path(__file__).parents[4] / "examples" / "vector-database" / "fill_qdrant.py"


@pytest.mark.slow
def test_qdrant_finds_what_a_search_finds(
    dual_folder: Path, dual: DualEncoder, image_folder: Path, tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime")  # the example embeds the query without torch
    example, table = runpy.run_path(str(EXAMPLE)), tmp_path / "images.parquet"
    orders = set()
    for number, query in enumerate(["a red car", "blue", "the night", "a green leaf"]):
        found = search_folder(query, image_folder, model_folder=dual_folder).found
        if number == 0:
            export_index(image_folder, table, format_name="parquet")
            client = qdrant_client.QdrantClient(":memory:")
            example["fill"](client, table)
        hits = example["search"](client, dual.encode_text([query])[0].numpy())
        expected = [each.path.relative_to(image_folder).as_posix() for each in found]
        assert [image for _, image in hits] == expected
        # float32 in the database, float64 in the search
        assert [score for score, _ in hits] == pytest.approx(
            [each.score for each in found], abs=1e-6
        )
        orders.add(tuple(expected))
    assert len(orders) > 1  # the query changes the result

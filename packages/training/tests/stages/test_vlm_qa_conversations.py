"""Data of conversations, from training to the scores of each turn."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from edge_glass.fusion.vlm import VisionLanguageModel
from edge_glass.training.params import Params
from edge_glass.training.stages import evaluate_vlm_qa, vlm_qa

Configure = Callable[..., Params]

pytestmark = pytest.mark.usefixtures("restore_torch")


def test_a_model_of_conversations_is_marked_and_scored_with_true_histories(
    configure: Configure,
) -> None:
    params = configure(steps=2, validation_steps=0)
    vlm_qa.run(params)
    assert not VisionLanguageModel.from_pretrained("models/vlm_qa").config.conversations
    for path in Path("artifacts/prepared/questions").glob("*.rows.parquet"):
        rows = pq.read_table(path).to_pylist()
        for first, second in zip(rows[::2], rows[1::2], strict=True):
            assert first["image"] == second["image"]
            first["history"], second["history"] = None, [first["question"], first["answer"]]
        schema = pq.read_schema(path).append(pa.field("history", pa.list_(pa.string())))
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    vlm_qa.run(params)
    assert VisionLanguageModel.from_pretrained("models/vlm_qa").config.conversations
    evaluate_vlm_qa.run(params)
    metrics = json.loads(evaluate_vlm_qa.METRICS.read_text())["val"]
    assert set(metrics["by_turn"]) == {"1", "2"}
    assert sum(metrics["by_turn"].values()) / 2 == pytest.approx(metrics["accuracy"])
    lines = Path("predictions/vlm_qa/val.jsonl").read_text().splitlines()
    assert [("history" in json.loads(line)) for line in lines[:4]] == [False, True] * 2

"""A dual encoder as ONNX graphs embeds as it does in torch, and so does the sample's."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("onnxruntime")

from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer, models

from edge_glass.encoders.dual_encoder import DualEncoder
from edge_glass.encoders.towers.pixels import PixelTransform
from edge_glass.encoders.towers.sentence import SentenceConfig
from edge_glass.fusion.edge.dual_encoder import EdgeDualEncoder
from edge_glass.fusion.export import immich, onnx_dual_encoder
from edge_glass.fusion.export.formats import export_model
from edge_glass.fusion.export.onnx_graph import write_graph
from edge_glass.fusion.export.parity import ParityError, check_limits, differences, recalls

TEXTS = ["a dog", "two red cars on a street that has no end " * 4, ""]
SAMPLE = Path(__file__).parents[4]


@pytest.mark.slow
def test_embeddings_are_those_of_the_model(dual: DualEncoder, exported_align: Path) -> None:
    out, edge = exported_align, EdgeDualEncoder(exported_align)
    images = [Image.new("RGB", (60, 40), "red"), Image.new("RGBA", (9, 90), (0, 255, 0, 90))]
    for dim in (None, 8):
        # float32 through the networks of different kernels
        np.testing.assert_allclose(
            edge.encode_image(images, truncate_dim=dim),
            dual.encode_image(images, truncate_dim=dim),
            atol=1e-4,
        )
        np.testing.assert_allclose(
            edge.encode_text(TEXTS, truncate_dim=dim),
            dual.encode_text(TEXTS, truncate_dim=dim),
            atol=1e-4,
        )
    wider = EdgeDualEncoder(out)
    wider.dims = (25, *wider.dims)
    with pytest.raises(ValueError, match=r"embeddings of 24 numbers, but its config.json has 25"):
        wider.encode_text(TEXTS)
    assert dual.vision is not None
    for image in images:  # the same bits
        expected = dual.vision.preprocess([image])[0].numpy()
        assert np.array_equal(edge.transform.pixels(image), expected)
    config = json.loads((out / "config.json").read_text())
    assert PixelTransform.from_data(config["image"]).as_data() == config["image"]
    report = json.loads((out / "parity.json").read_text())["fp32"]
    assert set(report["R@1"]) == {"24", "8", "4"}
    # nothing of torch is imported
    code = (
        "import sys; from edge_glass.fusion.edge.dual_encoder import EdgeDualEncoder; "
        "print(EdgeDualEncoder(sys.argv[1]).encode_text(['a dog']).shape, "
        "'torch' in sys.modules, 'transformers' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(out)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "(1, 24) False False"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["align", "vlm_qa"])
def test_the_trained_sample_passes_its_parity_check(name: str, tmp_path: Path) -> None:
    model, data = SAMPLE / "models" / name, SAMPLE / "artifacts" / "prepared"
    if not model.is_dir() or not data.is_dir():
        pytest.skip("the pipeline has not run in this checkout")
    export_model("onnx", model, tmp_path / "out", data=data)
    assert (tmp_path / "out" / "parity.json").is_file()


def test_recall_counts_the_first_of_equal_scores() -> None:
    captions = np.eye(3, dtype=np.float32)
    images = np.array([[1, 0, 0], [0, 0.5, 0.5], [0, 0, 1]], np.float32)
    found = recalls(images, captions, [0, 2, 2], [3, 1])["3"]
    # image 1 has equal scores with captions 1 and 2, and the first counts; caption 1 has no image
    assert found == {"i2t": pytest.approx(2 / 3), "t2i": 1.0}


def test_recall_takes_any_image_of_a_caption() -> None:
    images = np.array([[1, 0], [0.9, 0.1], [0, 1]], np.float32)
    found = recalls(images, np.eye(2, dtype=np.float32), [0, 0, 1], [2])["2"]
    assert found == {"i2t": 1.0, "t2i": 1.0}


@pytest.mark.parametrize(
    ("precision", "report", "message"),
    [
        ("fp32", {"max_difference": 2e-4}, "fp32: max_difference is 0.0002, expected at most"),
        ("fp32", {"equal_answers": 0.999}, "equal_answers is 0.999, expected at least 1"),
        ("int8", {"R@1_change": 0.011}, "R@1_change is 0.011, expected at most 0.01"),
        ("int8", {"equal_answers": 0.97}, "export with --precision fp32 only"),
    ],
)
def test_a_report_beyond_the_limits_is_refused(
    precision: str, report: dict[str, float], message: str
) -> None:
    with pytest.raises(ParityError, match=message):
        check_limits(report, precision)
    check_limits({"max_difference": 1e-4, "equal_answers": 1.0}, precision)


def test_outputs_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(ParityError, match="NaN"):
        differences(np.zeros(2), np.array([0, np.nan]))


def test_without_prepared_data_nothing_is_written(dual_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no validation split .* --data"):
        export_model("onnx", dual_folder, tmp_path / "out", data=tmp_path / "nowhere")
    with pytest.raises(ValueError, match="precision is fp8, expected fp32 or int8"):
        export_model("onnx", dual_folder, tmp_path / "out", precisions=["fp8"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "write", [onnx_dual_encoder.write_graphs, partial(immich.write_graphs, precision="fp32")]
)
def test_static_embeddings_are_refused_before_any_work(
    write: Callable[[DualEncoder, Path], None], dual: DualEncoder, tmp_path: Path
) -> None:
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "dog": 1, "[UNK]": 2}, unk_token="[UNK]"))
    static = SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=384)])
    static.save(str(tmp_path / "static"))
    text = SentenceConfig(model=str(tmp_path / "static")).build()
    model = DualEncoder(dual.config, vision=dual.vision, text=text)
    with pytest.raises(ValueError, match=r"static has no fast tokenizer .*align with a different"):
        write(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_what_a_graph_can_not_express_is_one_line(tmp_path: Path) -> None:
    class Branch(torch.nn.Module):
        def forward(self, values: torch.Tensor) -> torch.Tensor:
            return values if values.sum() > 0 else -values

    path = tmp_path / "branch.onnx"
    with pytest.raises(ValueError, match=r"^torch can't write branch as an ONNX graph \(") as error:
        write_graph(Branch(), {"values": torch.ones(2)}, ["found"], {}, path)
    assert "\n" not in str(error.value)
    assert not path.exists()

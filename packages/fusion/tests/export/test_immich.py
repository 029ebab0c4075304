"""A folder in Immich's layout gives the embeddings of the model, loaded as Immich's service does.

`visual` and `textual` below do what immich_ml/models/clip/visual.py (`OpenClipVisualEncoder`) and
textual.py (`OpenClipTextualEncoder`) of immich-app/immich do, with `resize_pil`, `crop_pil`,
`normalize` and `clean_text` of models/transforms.py.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("onnxruntime")

import onnxruntime as ort
from tokenizers import Tokenizer

from edge_glass.encoders.dual_encoder import DualEncoder
from edge_glass.fusion.export.formats import export_model

TEXTS = ["a dog", "two red cars on a street\n that has no end " * 4, "Ágnes: 猫!"]


def session(path: Path) -> ort.InferenceSession:
    return ort.InferenceSession(path.as_posix(), providers=["CPUExecutionProvider"])


def visual(folder: Path, image: Image.Image) -> np.ndarray:
    config = json.loads((folder / "visual" / "preprocess_cfg.json").read_text())
    size = config["size"][0] if isinstance(config["size"], list) else config["size"]
    assert config["resize_mode"] == "shortest"
    filters = {each.name.lower(): each for each in Image.Resampling}
    width, height = image.size
    fitted = (
        (size, int((height / width) * size))
        if width < height
        else (int((width / height) * size), size)
    )
    image = image.convert("RGB").resize(fitted, filters[config["interpolation"].lower()])
    left, upper = (int(each / 2 - size / 2) for each in image.size)
    image = image.crop((left, upper, left + size, upper + size))
    mean, std = (np.array(config[each], np.float32) for each in ("mean", "std"))
    pixels = np.asarray(image, np.float32) / 255.0 * (1.0 / std) - mean / std
    inputs = {"image": pixels.transpose(2, 0, 1)[None]}
    return session(folder / "visual" / "model.onnx").run(None, inputs)[0][0]


def textual(folder: Path, text: str) -> np.ndarray:
    length = json.loads((folder / "config.json").read_text())["text_cfg"]["context_length"]
    config = json.loads((folder / "textual" / "tokenizer_config.json").read_text())
    tokenizer = Tokenizer.from_file((folder / "textual" / "tokenizer.json").as_posix())
    pad_id = tokenizer.token_to_id(config["pad_token"])
    tokenizer.enable_padding(length=length, pad_token=config["pad_token"], pad_id=pad_id)
    tokenizer.enable_truncation(max_length=length)
    ids = tokenizer.encode(" ".join(text.split())).ids
    inputs = {"text": np.array([ids], dtype=np.int32)}
    return session(folder / "textual" / "model.onnx").run(None, inputs)[0][0]


@pytest.mark.slow
def test_embeddings_are_those_of_the_model(
    dual_folder: Path, dual: DualEncoder, prepared_data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    export_model("immich", dual_folder, out, data=prepared_data)
    assert json.loads((out / "config.json").read_text())["embed_dim"] == 24
    draws = np.random.default_rng(0)
    for width, height in ((64, 64), (90, 90), (33, 33)):
        image = Image.fromarray(draws.integers(0, 256, (height, width, 3), dtype=np.uint8))
        # float32 through the networks of different kernels, and the pixels' scale in other steps
        np.testing.assert_allclose(visual(out, image), dual.encode_image([image])[0], atol=1e-4)
    wide = Image.fromarray(draws.integers(0, 256, (60, 90, 3), dtype=np.uint8))
    centre = dual.encode_image([wide.crop((15, 0, 75, 60))])[0].numpy()
    # Immich resizes before it cuts, so the edges differ; the bars of training differ much more
    assert visual(out, wide) @ centre > 0.99 > dual.encode_image([wide])[0].numpy() @ centre
    for text in TEXTS:
        np.testing.assert_allclose(textual(out, text), dual.encode_text([text])[0], atol=1e-4)
    report = json.loads((out / "parity.json").read_text())["fp32"]
    assert 0 < report["max_difference"] <= 1e-4
    assert set(report["R@1_centre"]) == {"24", "8", "4"}


def test_what_the_layout_has_no_place_for_is_refused(
    dual_folder: Path, vlm_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="precision is fp32, int8, expected fp32 or int8: Immich"):
        export_model("immich", dual_folder, tmp_path / "out", precisions=["fp32", "int8"])
    with pytest.raises(ValueError, match="holds no dual encoder, which is what Immich"):
        export_model("immich", vlm_folder, tmp_path / "out")
    with pytest.raises(ValueError, match="immich has no runtime to copy"):
        export_model("immich", dual_folder, tmp_path / "out", runtime_folder=tmp_path)
    assert list(tmp_path.iterdir()) == []

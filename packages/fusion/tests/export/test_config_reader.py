"""config.json specifies an export exactly: a reader that knows nothing else has equal results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

pytest.importorskip("onnxruntime")

from onnxruntime import InferenceSession
from tokenizers import Tokenizer

from edge_glass.fusion.edge.dual_encoder import EdgeDualEncoder
from edge_glass.fusion.edge.vlm import EdgeVlm

pytestmark = pytest.mark.slow  # an export takes some ten seconds
QUESTIONS = ["how many dogs are there?", "where is the cat?", "what colour is it?"]


class Reader:
    """Written from config.json alone: numpy, Pillow, tokenizers, onnxruntime."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.config = folder, json.loads((folder / "config.json").read_text())
        self.text, self.image = self.config["text"], self.config["image"]
        self.tokenizer = Tokenizer.from_file(str(folder / self.text["tokenizer"]))
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()

    def run(self, name: str, values: dict[str, Any]) -> dict[str, np.ndarray]:
        graph = InferenceSession(self.folder / self.config["graphs"]["fp32"][name])
        outputs = [each.name for each in graph.get_outputs()]
        taken = {each.name: values[each.name] for each in graph.get_inputs()}
        return dict(zip(outputs, graph.run(outputs, taken), strict=True))

    def pixels(self, image: Image.Image) -> np.ndarray:
        options, image = self.image["options"], ImageOps.exif_transpose(image)
        if image.mode == "RGBA":
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image)
        image, side = image.convert("RGB"), options["image_size"]
        filter_, (width, height) = Image.Resampling[options["resample"].upper()], image.size
        w, h = (max(1, round(each * side / max(width, height))) for each in image.size)
        square = Image.new("RGB", (side, side), tuple(self.image["bar_color"]))
        square.paste(image.resize((w, h), filter_), ((side - w) // 2, (side - h) // 2))
        scale, shift = (np.array(self.image[name], np.float32) for name in ("scale", "shift"))
        return (np.asarray(square, np.float32) * scale + shift).transpose(2, 0, 1)[None]

    def embed(self, rows: np.ndarray, dim: int) -> np.ndarray:
        part = rows[:, :dim]
        return part / np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-12)

    def embed_text(self, text: str, dim: int) -> np.ndarray:
        self.tokenizer.enable_truncation(self.text["max_tokens"])
        ids = np.array([self.tokenizer.encode(text).ids])
        found = self.run("text_model", {"input_ids": ids, "attention_mask": np.ones_like(ids)})
        return self.embed(found["text_embeds"], dim)

    def answer(self, image: Image.Image, question: str) -> str:
        asked = question.strip() if self.text["strip"] else question
        prompt = self.text["before_question"] + asked + self.text["after_question"]
        ids = self.tokenizer.encode(prompt, add_special_tokens=False).ids
        visual = self.run("prefix", self.run("vision", {"pixel_values": self.pixels(image)}))
        found = self.run("prefill", {**visual, "input_ids": np.array([ids])})
        words: list[int] = []
        while (word := int(found.pop("logits").argmax())) not in self.text["stop_ids"]:
            words.append(word)
            past = {name.replace("present_", "past_"): value for name, value in found.items()}
            length = next(iter(past.values())).shape[self.text["cache_axis"]]
            if self.config["max_positions"] == length or len(words) == self.text["max_new_tokens"]:
                break
            found = self.run("decode", {**visual, **past, "input_ids": np.array([[word]])})
        return self.tokenizer.decode(words, skip_special_tokens=True).strip()


def drawn(width: int, height: int, mode: str = "RGB") -> Image.Image:
    blocks = np.random.default_rng(width).integers(0, 256, (height, width, len(mode)), np.uint8)
    return Image.fromarray(blocks, mode)


def test_embeddings(exported_align: Path, tmp_path: Path) -> None:
    reader, edge = Reader(exported_align), EdgeDualEncoder(exported_align)
    turned = Image.Exif()
    turned[0x0112] = 6  # the camera was held upright
    drawn(50, 31).save(tmp_path / "turned.png", exif=turned)
    images = [drawn(61, 40), drawn(9, 200), drawn(333, 2), drawn(64, 64), drawn(40, 30, "RGBA")]
    for image in [*images, Image.open(tmp_path / "turned.png")]:
        pixels = reader.pixels(image)
        assert np.array_equal(pixels[0], edge.transform.pixels(image))  # bit by bit
        found = reader.run("vision_model", {"pixel_values": pixels})["image_embeds"]
        for dim in reader.config["matryoshka_dims"]:
            # the graph may add in a different order on more threads
            expected = edge.encode_image([image], truncate_dim=dim)
            np.testing.assert_allclose(reader.embed(found, dim), expected, atol=1e-5)
    for text in ("a dog", "two red cars on a street that has no end " * 4, ""):
        expected = edge.encode_text([text], truncate_dim=8)
        np.testing.assert_allclose(reader.embed_text(text, 8), expected, atol=1e-5)


def test_answers(exported_vlm: Path) -> None:
    reader, edge = Reader(exported_vlm), EdgeVlm(exported_vlm)
    images = [drawn(61, 40), drawn(30, 80), drawn(64, 64)]
    found = [reader.answer(*asked) for asked in zip(images, QUESTIONS, strict=True)]
    assert found == edge.answer(images, QUESTIONS)
    assert len(set(found)) > 1
    assert all(found)

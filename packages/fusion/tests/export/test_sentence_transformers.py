"""The exported folder in sentence-transformers itself, against the dual encoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sentence_transformers import SentenceTransformer
from sentence_transformers.util import quantize_embeddings

from edge_glass.encoders.dual_encoder import DualEncoder
from edge_glass.encoders.matryoshka import truncate
from edge_glass.fusion.export.formats import export_model
from edge_glass.fusion.export.sentence_transformers import DualEncoderModule


@pytest.fixture(scope="module")
def exported(dual_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exported") / "model"
    export_model("sentence-transformers", dual_folder, out)
    return out


@pytest.fixture(scope="module")
def reader(exported: Path) -> SentenceTransformer:
    return SentenceTransformer(
        str(exported), trust_remote_code=True, device="cpu", local_files_only=True
    )


def images() -> list[Image.Image]:
    return [
        Image.linear_gradient("L").resize((60, 40)),
        Image.new("RGBA", (20, 70), (250, 10, 20, 200)),
    ]


def test_texts_and_images_in_one_call_are_our_embeddings(
    reader: SentenceTransformer, dual: DualEncoder
) -> None:
    first, second = images()
    found = reader.encode([first, "a dog", second], convert_to_tensor=True)
    expected = torch.cat(
        [dual.encode_image([first]), dual.encode_text(["a dog"]), dual.encode_image([second])]
    )
    assert found.shape == (3, 24)
    assert torch.equal(found, expected)  # bit by bit: one text, and images one by one
    assert not torch.allclose(found[0], found[2], atol=1e-3)  # an image reaches its embedding


def test_texts_in_a_batch_are_equal_up_to_padding(
    reader: SentenceTransformer, dual: DualEncoder
) -> None:
    texts = ["a dog", "two blue cats in the top left of a green field", "", "how many?"]
    together = reader.encode(texts, convert_to_tensor=True)
    # texts are padded to the longest, which changes float32 sums
    torch.testing.assert_close(together, dual.encode_text(texts), atol=1e-5, rtol=0)
    alone = reader.encode(texts, batch_size=1, convert_to_tensor=True)
    assert torch.equal(alone, dual.encode_text(texts))


def test_a_prefix_is_the_embedding_at_that_dim(
    reader: SentenceTransformer, dual: DualEncoder
) -> None:
    inputs = ["a dog", images()[0]]
    cut = reader.encode(inputs, truncate_dim=8, normalize_embeddings=True, convert_to_tensor=True)
    ours = torch.cat(
        [
            dual.encode_text(["a dog"], truncate_dim=8),
            dual.encode_image(images()[:1], truncate_dim=8),
        ]
    )
    # normalised twice: once at the full dim, and once after the cut
    torch.testing.assert_close(cut, ours, atol=1e-6, rtol=0)
    plain = reader.encode(inputs, truncate_dim=8, convert_to_tensor=True)
    torch.testing.assert_close(truncate(plain), ours, atol=1e-6, rtol=0)


def test_int8_is_the_quantisation_of_our_embeddings(
    reader: SentenceTransformer, dual: DualEncoder
) -> None:
    inputs = ["a dog", *images()]
    found = reader.encode(inputs, truncate_dim=8, precision="int8")
    ours = torch.cat([dual.encode_text(["a dog"]), dual.encode_image(images())])[:, :8]
    expected = quantize_embeddings(ours.numpy(), precision="int8")
    assert found.dtype == np.int8
    assert np.array_equal(found, expected)


def test_the_folder_holds_the_frozen_weights_and_no_code(exported: Path, dual: DualEncoder) -> None:
    files = sorted(str(path.relative_to(exported)) for path in exported.rglob("*.*"))
    assert "text_encoder/model.safetensors" in files
    assert "vision_encoder/model.safetensors" in files
    assert not [name for name in files if name.endswith((".py", ".pyc", ".pth", ".bin"))]
    module = DualEncoderModule.load(str(exported))
    assert module.model.text is not None
    assert str(exported) in module.model.text.config.model
    again = SentenceTransformer(modules=[module], device="cpu")  # without trust_remote_code
    assert torch.equal(again.encode(["a dog"], convert_to_tensor=True), dual.encode_text(["a dog"]))


def test_without_the_flag_sentence_transformers_refuses(exported: Path) -> None:
    with pytest.raises(ValueError, match="trust_remote_code=True"):
        SentenceTransformer(str(exported), device="cpu", local_files_only=True)


def test_what_is_no_text_or_image_is_refused(reader: SentenceTransformer) -> None:
    for wrong in ({"text": "a dog", "image": images()[0]}, {"role": "user", "content": "a dog"}):
        with pytest.raises(ValueError, match="expected texts and images"):
            reader.encode([wrong])
    with pytest.raises(ValueError, match="expected a PIL image"):
        reader.encode([np.zeros((3, 4, 3), np.float32)])

"""POST /v1/embeddings, with OpenAI's own client."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("openai")

import openai
from PIL import Image

from edge_glass.encoders.dual_encoder import DualEncoder

TEXTS = ["a red car", "two dogs"]
# the same float32 numbers, divided by their length in float32 here and in torch there
TOLERANCE = 1e-6


@pytest.mark.parametrize("encoding_format", ["float", "base64", openai.omit])
@pytest.mark.parametrize("dim", [None, 8])
def test_embeddings_are_those_of_the_model(
    server: Any,
    dual: DualEncoder,
    data_uri: Callable[..., str],
    dim: int | None,
    encoding_format: Any,
) -> None:
    found = server.client().embeddings.create(
        model="model",
        input=[*TEXTS, data_uri("blue")],
        dimensions=openai.omit if dim is None else dim,
        encoding_format=encoding_format,
    )
    image = Image.new("RGB", (40, 30), "blue")
    expected = np.concatenate(
        [
            dual.encode_text(TEXTS, truncate_dim=dim).numpy(),
            dual.encode_image([image], truncate_dim=dim).numpy(),
        ]
    )
    vectors = [
        np.frombuffer(base64.b64decode(each.embedding), "<f4")
        if isinstance(each.embedding, str)
        else each.embedding
        for each in found.data
    ]
    np.testing.assert_allclose(np.array(vectors), expected, atol=TOLERANCE)
    assert [each.index for each in found.data] == [0, 1, 2]
    assert found.usage.prompt_tokens == 5 + 4  # words, and two special tokens per text


def test_one_input_and_parts(server: Any, data_uri: Callable[..., str]) -> None:
    client = server.client()
    part = {"type": "image_url", "image_url": {"url": data_uri("blue")}}
    one = client.embeddings.create(model="model", input=TEXTS[0])
    parts = client.embeddings.create(
        model="model", input=[{"type": "text", "text": TEXTS[0]}, part]
    )
    image = client.embeddings.create(model="model", input=data_uri("blue"))
    assert parts.data[0].embedding == one.data[0].embedding
    assert parts.data[1].embedding == image.data[0].embedding
    spaced = client.embeddings.create(model="model", input=f" {data_uri('blue')}")
    assert spaced.data[0].embedding == image.data[0].embedding
    about = client.embeddings.create(model="model", input="data: what base64, is made of")
    assert about.usage.prompt_tokens > 2  # a text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dimensions": 7}, r"dimensions is 7, expected one .*: \[24, 8, 4\]"),
        ({"input": []}, "input.list: List should have at least 1 item"),
        ({"input": [1, 2]}, "input: token ids are not supported here; send texts"),
        ({"input": [[1, 2]]}, "input: token ids are not supported here; send texts"),
        ({"input": " "}, "input.0 is empty"),
        ({"input": ["a"] * 65}, "65 inputs, expected at most 64"),
        ({"input": "a" * 20_001}, "20001 characters, expected at most 20000"),
        ({"input": "data:application/pdf;base64,YQ=="}, "expected a data URI such as data:image"),
        ({"dimensions": 10**4000}, "dimensions is 10000000000000000000, expected one"),
        ({"encoding_format": "int8"}, "encoding_format: Input should be 'float' or 'base64'"),
        ({"truncate": True}, "'truncate' is not supported here"),
    ],
)
def test_what_is_refused(server: Any, change: dict[str, Any], message: str) -> None:
    body = {"model": "model", "input": "a"} | change
    with pytest.raises(openai.BadRequestError, match=message):
        server.client().post("/embeddings", body=body, cast_to=object)

"""POST /v1/embeddings: texts and images in one space."""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from numpy.typing import NDArray
from pydantic import BeforeValidator, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from edge_glass.fusion.search.embedder import Embedder
from edge_glass.fusion.serve.body import Body, check_extra, read_body
from edge_glass.fusion.serve.context import Context
from edge_glass.fusion.serve.conversation import Part, TextPart, check_length
from edge_glass.fusion.serve.departure import unless_left
from edge_glass.fusion.serve.failure import RequestError
from edge_glass.fusion.serve.image_input import image_bytes, open_image
from edge_glass.fusion.serve.limits import Limits
from edge_glass.fusion.serve.status import HASH_HEADER, no_model

DATA_URI = re.compile(r"\s*data:[^,\s]{0,200};\s*base64\s*,", re.IGNORECASE)
Vector = NDArray[np.float32]


def _kind(value: Any) -> str:
    if isinstance(value, str):
        return "text"
    return "list" if isinstance(value, list) else "part"


def refuse_token_ids(value: Any) -> Any:
    """Refuses ids of a tokenizer, which OpenAI's interface accepts in the place of texts."""
    if isinstance(value, list) and any(isinstance(each, int | list) for each in value):
        raise PydanticCustomError("token_ids", "token ids are not supported here; send texts")
    return value


Item = Annotated[Annotated[str, Tag("text")] | Annotated[Part, Tag("part")], Discriminator(_kind)]
Input = Annotated[
    Annotated[str, Tag("text")]
    | Annotated[list[Item], Field(min_length=1), Tag("list")]
    | Annotated[Part, Tag("part")],
    Discriminator(_kind),
    BeforeValidator(refuse_token_ids),
]


class EmbeddingRequest(Body):
    """The body of POST /v1/embeddings.

    An input is a text, an image as a data URI, or one of the parts that a message may have.
    """

    model: str
    input: Input
    dimensions: int | None = None
    encoding_format: Literal["float", "base64"] | None = None

    def items(self) -> list[str | Part]:
        """Returns the inputs, of which there may be one."""
        return self.input if isinstance(self.input, list) else [self.input]


def embedding_routes(context: Context) -> APIRouter:
    """Returns the route."""
    router = APIRouter()

    async def embed(request: Request) -> Response:
        body = await read_body(request, EmbeddingRequest, context.limits)
        embedder, model = context.served.embedder, context.served.align_name
        if embedder is None or model is None or body.model != model.name:
            raise no_model(context, body.model)
        check_extra(body, ignored=("user",), neutral={})
        if body.dimensions is not None and body.dimensions not in embedder.dims:
            raise RequestError(
                400,
                f"dimensions is {str(body.dimensions)[:20]}, expected one that the model was "
                f"trained at: {list(embedder.dims)}",
                param="dimensions",
            )
        items = body.items()
        if len(items) > context.limits.max_questions:
            raise RequestError(
                400,
                f"{len(items)} inputs, expected at most {context.limits.max_questions} "
                "(max_questions); send several requests",
                param="input",
            )
        read = await unless_left(request, _read_all(items, context))

        def job() -> Iterator[tuple[Vector, int]]:
            with embedder.one_thread():
                for at, each in enumerate(read):
                    tokens = embedder.num_tokens(each) if isinstance(each, str) else 0
                    yield _embedded(each, at, embedder, context.limits), tokens

        found = await unless_left(request, _all(context.worker.stream(job)))
        tokens = sum(each for _, each in found)
        context.metrics.count_tokens(tokens)
        as_text = body.encoding_format == "base64"
        data = [
            {
                "object": "embedding",
                "index": at,
                "embedding": _sent(each[: body.dimensions], as_text),
            }
            for at, (each, _) in enumerate(found)
        ]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        content = {"object": "list", "data": data, "model": model.name, "usage": usage}
        content["system_fingerprint"] = model.fingerprint
        return JSONResponse(content, headers={HASH_HEADER: model.sha256})

    router.add_api_route("/v1/embeddings", embed, methods=["POST"])
    return router


async def _read_all(items: list[str | Part], context: Context) -> list[str | bytes]:
    """Returns the inputs; images from URLs may together be as large as a body, not each."""
    read: list[str | bytes] = []
    limit, size = context.limits.max_body_bytes, 0
    for at, item in enumerate(items):
        read.append(await _read(item, f"input.{at}", context))
        size += len(read[-1])
        if size > limit:
            raise RequestError(
                413,
                f"the images have more than {limit} bytes together (max_body_bytes); send several "
                "requests",
                code="body_too_large",
            )
    return read


async def _all(found: AsyncIterator[tuple[Vector, int]]) -> list[tuple[Vector, int]]:
    return [each async for each in found]


async def _read(item: str | Part, param: str, context: Context) -> str | bytes:
    """Returns the text or the bytes of the image of an input."""
    if isinstance(item, str) and DATA_URI.match(item):
        return await image_bytes(item, context, param)
    if not isinstance(item, str | TextPart):
        return await image_bytes(item.image_url.url, context, param)
    text = item if isinstance(item, str) else item.text
    check_length(text, context.limits, param)
    if not text.strip():
        raise RequestError(400, f"{param} is empty; give a text or an image", param=param)
    return text


def _embedded(item: str | bytes, at: int, embedder: Embedder, limits: Limits) -> Vector:
    if isinstance(item, str):
        return embedder.embed_text(item)
    vector: Vector = embedder.embed_images([open_image(item, limits, f"input.{at}")])[0]
    return vector


def _sent(part: Vector, as_text: bool) -> list[float] | str:
    """Returns the first numbers of an embedding, normalised: as numbers, or float32 in base64."""
    unit = (part / max(float(np.linalg.norm(part)), 1e-12)).astype("<f4")
    return base64.b64encode(unit.tobytes()).decode() if as_text else unit.tolist()

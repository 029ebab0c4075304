"""POST /v1/embeddings: texts and images in one space."""

from __future__ import annotations

import base64
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from numpy.typing import NDArray
from pydantic import Discriminator, Field, Tag

from edge_glass.fusion.search.embedder import Embedder
from edge_glass.fusion.serve.body import Body, check_extra, read_body
from edge_glass.fusion.serve.context import Context
from edge_glass.fusion.serve.conversation import Part, TextPart, check_length
from edge_glass.fusion.serve.departure import unless_left
from edge_glass.fusion.serve.failure import RequestError
from edge_glass.fusion.serve.image_input import image_bytes, open_image
from edge_glass.fusion.serve.limits import Limits
from edge_glass.fusion.serve.status import HASH_HEADER, no_model

Vector = NDArray[np.float32]


def _kind(value: Any) -> str:
    if isinstance(value, str):
        return "text"
    return "list" if isinstance(value, list) else "part"


Item = Annotated[Annotated[str, Tag("text")] | Annotated[Part, Tag("part")], Discriminator(_kind)]
Input = Annotated[
    Annotated[str, Tag("text")]
    | Annotated[list[Item], Field(min_length=1), Tag("list")]
    | Annotated[Part, Tag("part")],
    Discriminator(_kind),
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
                f"dimensions is {body.dimensions}, expected one that the model was trained at: "
                f"{list(embedder.dims)}",
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
        read = [await _read(each, f"input.{at}", context) for at, each in enumerate(items)]

        def job() -> tuple[list[Vector], int]:
            with embedder.one_thread():
                vectors = [
                    _embedded(each, at, embedder, context.limits) for at, each in enumerate(read)
                ]
            return vectors, sum(embedder.num_tokens(each) for each in read if isinstance(each, str))

        vectors, tokens = await unless_left(request, context.worker.run(job))
        context.metrics.count_tokens(tokens)
        as_text = body.encoding_format == "base64"
        data = [
            {
                "object": "embedding",
                "index": at,
                "embedding": _sent(each[: body.dimensions], as_text),
            }
            for at, each in enumerate(vectors)
        ]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        content = {"object": "list", "data": data, "model": model.name, "usage": usage}
        content["system_fingerprint"] = model.fingerprint
        return JSONResponse(content, headers={HASH_HEADER: model.sha256})

    router.add_api_route("/v1/embeddings", embed, methods=["POST"])
    return router


async def _read(item: str | Part, param: str, context: Context) -> str | bytes:
    """Returns the text or the bytes of the image of an input."""
    if isinstance(item, str) and item[:11].lower() == "data:image/":
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

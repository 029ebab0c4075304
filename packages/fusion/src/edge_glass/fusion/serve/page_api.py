"""The routes below /page/api: what the page shows. Only the page requests them."""

from __future__ import annotations

import io
import json
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from PIL import Image

from edge_glass.fusion.serve.answerer import Answerer, AnswerOptions, refusing
from edge_glass.fusion.serve.attention import answer_attention, pooling_attention
from edge_glass.fusion.serve.body import read_body
from edge_glass.fusion.serve.context import Context
from edge_glass.fusion.serve.departure import WorkResponse, unless_left
from edge_glass.fusion.serve.failure import RequestError, error_content
from edge_glass.fusion.serve.image_input import data_uri_bytes, open_image
from edge_glass.fusion.serve.page import HEADERS
from edge_glass.fusion.serve.page_body import AskBody, ImageBody, SearchBody
from edge_glass.fusion.serve.searched_images import ID_LETTERS, SearchedImages
from edge_glass.fusion.token_scores import TokenScores

TOP = 48  # images per dim and query
MAX_SIDE = 2048  # of an image that is sent
QUALITY = 85
ID = re.compile(rf"[0-9a-f]{{{ID_LETTERS}}}")
DECIMALS = 6


def page_api_routes(context: Context) -> APIRouter:
    """Returns the routes."""
    served, worker, limits = context.served, context.worker, context.limits
    router = APIRouter(prefix="/page/api")
    searched: SearchedImages | None = None
    if served.images is not None and served.index is not None and served.embedder is not None:
        searched = SearchedImages(served.images, served.index, served.embedder.dims)

    def image_of(value: str) -> Image.Image:
        """Returns the image of a data URI, or one of the folder by its id."""
        if searched is not None and ID.fullmatch(value):
            return searched.image(value)
        return open_image(data_uri_bytes(value, "image"), limits, "image")

    async def about() -> JSONResponse:
        search = None
        if searched is not None:
            search = {"dims": list(searched.dims), "num_images": len(searched.images)}
        return JSONResponse(
            {
                "models": [{"name": each.name, "sha256": each.sha256} for each in served.names()],
                "answers": served.vlm is not None,
                "conversations": served.vlm is not None and served.vlm.conversations,
                "search": search,
                "max_body_bytes": limits.max_body_bytes,
            }
        )

    async def ask(request: Request) -> Response:
        body = await read_body(request, AskBody, limits)
        body.check(limits)
        answerer = served.vlm
        if answerer is None:
            raise RequestError(404, "this server has no model that answers questions")
        history = body.history if answerer.conversations else []

        def job() -> Iterator[bytes]:
            yield from answer_lines(answerer, image_of(body.image), body.question, history)

        lines = worker.stream(job)
        # what is wrong with the image or the question is known before the first line
        first = await unless_left(request, anext(lines))
        return WorkResponse(
            _events(first, lines),
            lines,
            media_type="application/x-ndjson",
            headers={**HEADERS, "Cache-Control": "no-store"},
        )

    async def attention(request: Request) -> JSONResponse:
        body = await read_body(request, ImageBody, limits)
        embedder = served.embedder

        def job() -> dict[str, Any] | None:
            image = image_of(body.image)
            return None if embedder is None else pooling_attention(embedder, image)

        return JSONResponse(await unless_left(request, worker.run(job)), headers=HEADERS)

    async def search(request: Request) -> JSONResponse:
        body = await read_body(request, SearchBody, limits)
        body.check(limits)
        embedder = served.embedder
        if searched is None or embedder is None:
            raise RequestError(404, "this server was started without a folder of images")

        def job() -> dict[str, Any]:
            with embedder.one_thread():
                if body.text is not None:
                    query = embedder.embed_text(body.text)
                else:
                    query = embedder.embed_images([image_of(body.image or "")])[0]
            return found_images(searched, searched.rankings(query, TOP))

        return JSONResponse(await unless_left(request, worker.run(job)), headers=HEADERS)

    async def image(image_id: str, side: int = 256) -> Response:
        if searched is None or not ID.fullmatch(image_id):
            raise RequestError(404, "no image has this id; search again")
        if not 1 <= side <= MAX_SIDE:
            raise RequestError(400, f"side is {side}, expected 1 to {MAX_SIDE} pixels")
        with worker.admitted():
            content = await worker.run(lambda: webp(searched.image(image_id), side))
        headers = {**HEADERS, "Cache-Control": "private, max-age=86400, immutable"}
        return Response(content, media_type="image/webp", headers=headers)

    router.add_api_route("/about", about, methods=["GET"])
    router.add_api_route("/ask", ask, methods=["POST"])
    router.add_api_route("/attention", attention, methods=["POST"])
    router.add_api_route("/search", search, methods=["POST"])
    router.add_api_route("/images/{image_id}", image, methods=["GET"])
    return router


def answer_lines(
    answerer: Answerer, image: Image.Image, question: str, history: Sequence[str]
) -> Iterator[bytes]:
    """Yields the events of an answer as JSON lines: pieces of text, tokens, and the attention.

    Raises:
        RequestError: if the question is empty or longer than the model's context.
    """
    scores = TokenScores(answerer.decoded)
    sent = 0
    with refusing("question"):
        for piece in answerer.answer(image, question, history, AnswerOptions(), scores.observe):
            yield _line({"text": piece})
            while sent < len(scores.scores):
                yield _line({"token": asdict(scores.scores[sent])})
                sent += 1
    for score in scores.scores[sent:]:
        yield _line({"token": asdict(score)})
    yield _line({"attention": answer_attention(answerer, image, question, scores.ids, history)})


async def _events(first: bytes, lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yields all lines; the status is sent already, so an error is a line too."""
    yield first
    try:
        async for line in lines:
            yield line
    except RequestError as error:
        yield _line(error_content(error))


def found_images(searched: SearchedImages, rankings: dict[int, Any]) -> dict[str, Any]:
    """Returns the JSON of a search: each image once, and the places of the best ones per dim."""
    places = sorted({place for ranking in rankings.values() for place, _ in ranking})
    number = {place: at for at, place in enumerate(places)}
    images = [searched.images[place] for place in places]
    return {
        "num_images": len(searched.images),
        "images": [
            {"id": each.id, "name": searched.name(each), "copies": each.copies} for each in images
        ],
        "rankings": {
            str(dim): [[number[place], round(score, DECIMALS)] for place, score in ranking]
            for dim, ranking in rankings.items()
        },
    }


def webp(image: Image.Image, side: int) -> bytes:
    """Returns an image as WebP without metadata, its longer side at most `side` pixels."""
    smaller = image.copy()
    smaller.thumbnail((side, side))
    buffer = io.BytesIO()
    smaller.save(buffer, "WEBP", quality=QUALITY)
    return buffer.getvalue()


def _line(event: dict[str, Any]) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode() + b"\n"

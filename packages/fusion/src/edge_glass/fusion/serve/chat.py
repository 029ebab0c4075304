"""POST /v1/chat/completions: answers to questions about an image, whole or streamed.

The id of an answer is a hash of the request and the model, and `created` is 0, so equal requests
get equal bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from PIL.Image import Image

from edge_glass.fusion.serve.answerer import Answerer, refusing
from edge_glass.fusion.serve.body import read_body
from edge_glass.fusion.serve.context import Context
from edge_glass.fusion.serve.conversation import ChatRequest, Conversation, conversation_of
from edge_glass.fusion.serve.departure import WorkResponse, unless_left
from edge_glass.fusion.serve.failure import RequestError, error_content
from edge_glass.fusion.serve.image_input import image_bytes, open_image
from edge_glass.fusion.serve.served import ModelName
from edge_glass.fusion.serve.status import HASH_HEADER, no_model
from edge_glass.fusion.text_stream import AnswerStream


@dataclass(frozen=True, kw_only=True)
class Reply:
    """The fields that an answer and each of its chunks have in common."""

    request: ChatRequest
    model: ModelName

    def common(self, kind: str) -> dict[str, Any]:
        """Returns the fields; `kind` is the value of `object`."""
        identity = f"{self.model.sha256}\n{self.request.identity()}"
        return {
            "id": f"chatcmpl-{hashlib.sha256(identity.encode()).hexdigest()[:32]}",
            "object": kind,
            "created": 0,
            "model": self.model.name,
            "system_fingerprint": self.model.fingerprint,
        }

    def whole(self, pieces: list[str], answer: AnswerStream) -> dict[str, Any]:
        """Returns the answer as one object."""
        message = {"role": "assistant", "content": "".join(pieces), "refusal": None}
        choice = {
            "index": 0,
            "message": message,
            "logprobs": None,
            "finish_reason": finish_reason(answer),
        }
        common = self.common("chat.completion")
        return common | {"choices": [choice], "usage": usage(answer)}

    async def events(
        self, first: str | None, pieces: AsyncIterator[str], answer: list[AnswerStream]
    ) -> AsyncIterator[bytes]:
        """Yields the answer as server-sent events."""
        common = self.common("chat.completion.chunk")
        options = self.request.stream_options
        counted = options is not None and bool(options.include_usage)

        def event(delta: dict[str, str], reason: str | None = None) -> bytes:
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
            return _event(common | {"choices": [choice]} | ({"usage": None} if counted else {}))

        yield event({"role": "assistant", "content": ""})
        try:
            if first is not None:
                yield event({"content": first})
                async for piece in pieces:
                    yield event({"content": piece})
        except RequestError as error:  # the status is sent already
            yield _event(error_content(error))
            return
        yield event({}, finish_reason(answer[0]))
        if counted:
            yield _event(common | {"choices": [], "usage": usage(answer[0])})
        yield b"data: [DONE]\n\n"


def chat_routes(context: Context) -> APIRouter:
    """Returns the route."""
    router = APIRouter()

    async def complete(request: Request) -> Response:
        body = await read_body(request, ChatRequest, context.limits)
        vlm, model = context.served.vlm, context.served.vlm_name
        if vlm is None or model is None or body.model != model.name:
            raise no_model(context, body.model)
        asked = conversation_of(body, context.limits)
        if not vlm.samples and body.temperature:
            raise RequestError(
                400,
                "exported models answer greedily; leave temperature out, or set it to 0",
                param="temperature",
            )
        data = await unless_left(request, image_bytes(asked.url, context, "messages"))
        answer: list[AnswerStream] = []

        def job() -> Iterator[str]:
            image = open_image(data, context.limits, "messages")
            try:
                yield from words(vlm, image, asked, body, answer)
            finally:
                for each in answer:
                    context.metrics.count_tokens(each.num_prompt_positions, each.num_words)

        pieces = context.worker.stream(job)
        # what is wrong with the image or the prompt is known before the first piece
        first = await unless_left(request, anext(pieces, None))
        reply = Reply(request=body, model=model)
        headers = {HASH_HEADER: model.sha256}
        if body.stream:
            return WorkResponse(
                reply.events(first, pieces, answer),
                pieces,
                media_type="text/event-stream",
                headers=headers | {"Cache-Control": "no-store"},
            )
        rest = await unless_left(request, _all(pieces))
        whole = reply.whole([first or "", *rest], answer[0])
        return JSONResponse(whole, headers=headers)

    router.add_api_route("/v1/chat/completions", complete, methods=["POST"])
    return router


def words(
    vlm: Answerer,
    image: Image,
    asked: Conversation,
    body: ChatRequest,
    answer: list[AnswerStream],
) -> Iterator[str]:
    """Yields the pieces of an answer, in the worker's thread; the stream is appended to `answer`.

    A model of single questions reads only the last one, as in `edge-glass chat`.

    Raises:
        RequestError: if the conversation is longer than the model's context.
    """
    *history, question = asked.messages
    with refusing("messages"):
        stream = vlm.answer(image, question, history if vlm.conversations else (), body.options())
        answer.append(stream)
        yield from stream


def finish_reason(answer: AnswerStream) -> str:
    """Returns why an answer ended, in OpenAI's words."""
    return "stop" if answer.is_complete else "length"


def usage(answer: AnswerStream) -> dict[str, int]:
    """Returns the counts of an answer; the prompt has the positions of the image too."""
    read, written = answer.num_prompt_positions, answer.num_words
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


async def _all(pieces: AsyncIterator[str]) -> list[str]:
    return [each async for each in pieces]


def _event(content: dict[str, Any]) -> bytes:
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    return f"data: {text}\n\n".encode()

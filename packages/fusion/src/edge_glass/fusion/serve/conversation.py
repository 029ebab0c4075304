"""A request for a chat completion: its fields as OpenAI names them, and what the model reads.

A conversation has one image and turns of user and assistant, as the models are trained. What would
change an answer and is not supported is refused. Messages of role system or developer in front are
accepted, because many clients always send one; the models have never seen any, and read none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from edge_glass.fusion.serve.answerer import AnswerOptions
from edge_glass.fusion.serve.body import Body, check_extra
from edge_glass.fusion.serve.failure import RequestError
from edge_glass.fusion.serve.limits import Limits

MAX_TOKENS = 4096
UNREAD = ("system", "developer")
IGNORED = (
    *("user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key"),
    *("parallel_tool_calls", "tool_choice"),
)
NEUTRAL = {
    "n": 1,
    "frequency_penalty": 0,
    "presence_penalty": 0,
    "logprobs": False,
    "logit_bias": {},
    "modalities": ["text"],
    "response_format": {"type": "text"},
    "tools": [],
}
# of an answer that a client sends back as it received it
NEUTRAL_OF_MESSAGE: dict[str, Any] = {"annotations": [], "tool_calls": []}


class TextPart(Body):
    """A text of a message."""

    type: Literal["text"]
    text: str


class ImageUrl(Body):
    """A data URI, or a URL."""

    url: str


class ImagePart(Body):
    """An image of a message."""

    type: Literal["image_url"]
    image_url: ImageUrl


StopText = Annotated[str, Field(max_length=200)]
Part = Annotated[TextPart | ImagePart, Field(discriminator="type")]


def _kind(value: Any) -> str:
    return "text" if isinstance(value, str) else "parts"


class Message(Body):
    """A message of a conversation."""

    role: str
    content: Annotated[
        Annotated[str, Tag("text")] | Annotated[list[Part], Tag("parts")], Discriminator(_kind)
    ]

    def texts(self) -> Iterator[str]:
        """Yields the texts of the message."""
        if isinstance(self.content, str):
            yield self.content
        else:
            yield from (each.text for each in self.content if isinstance(each, TextPart))

    def urls(self) -> Iterator[str]:
        """Yields the images of the message."""
        if not isinstance(self.content, str):
            yield from (each.image_url.url for each in self.content if isinstance(each, ImagePart))


class StreamOptions(Body):
    """Options of a streamed answer."""

    include_usage: bool | None = None


class ChatRequest(Body):
    """The body of POST /v1/chat/completions."""

    model: str
    messages: list[Message]
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=MAX_TOKENS)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, le=MAX_TOKENS)] | None = None
    stop: StopText | Annotated[list[StopText], Field(max_length=16)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    def options(self) -> AnswerOptions:
        """Returns how words are chosen. Without a temperature the answer is greedy."""
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        if not all(stop):
            raise RequestError(400, "a stop string is empty; leave it out", param="stop")
        limit = self.max_completion_tokens
        return AnswerOptions(
            temperature=self.temperature or 0.0,
            top_p=1.0 if self.top_p is None else self.top_p,
            seed=self.seed or 0,
            max_new_tokens=self.max_tokens if limit is None else limit,
            stop=tuple(stop),
        )

    def identity(self) -> str:
        """Returns all that an answer depends on; how it is sent is left out."""
        return self.model_dump_json(exclude={"stream", "stream_options"})


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """What the model reads.

    Attributes:
        url: of the image.
        messages: user and assistant in turn; the last is the question.
    """

    url: str
    messages: tuple[str, ...]


def conversation_of(request: ChatRequest, limits: Limits) -> Conversation:
    """Checks the messages of a request.

    Raises:
        RequestError: 400, with the number of the message.
    """
    check_extra(request, ignored=IGNORED, neutral=NEUTRAL)
    if len(request.messages) > 2 * limits.max_questions:
        raise RequestError(
            400,
            f"{len(request.messages)} messages, expected at most {2 * limits.max_questions} "
            "(max_questions); begin a new conversation",
            param="messages",
        )
    urls: dict[str, None] = {}
    turns: list[Message] = []
    for number, message in enumerate(request.messages):
        if not turns and message.role in UNREAD:
            _check_content(message, f"messages.{number}", limits)
            continue
        _check_turn(message, ("user", "assistant")[len(turns) % 2], f"messages.{number}", limits)
        turns.append(message)
        urls |= dict.fromkeys(message.urls())
    if len(turns) % 2 == 0:
        found = "an answer as the last message" if turns else "no message of role user"
        raise RequestError(
            400, f"found {found}, expected a question of role user", param="messages"
        )
    if len(urls) != 1:
        raise RequestError(
            400,
            f"{len(urls)} images in the messages, expected one: a part of type image_url in the "
            "first question",
            param="messages",
            code="one_image",
        )
    texts = tuple("\n".join(each.texts()) for each in turns)
    return Conversation(url=next(iter(urls)), messages=texts)


def _check_turn(message: Message, expected: str, where: str, limits: Limits) -> None:
    _check_content(message, where, limits)
    if message.role != expected:
        raise RequestError(
            400,
            f"{where}: role is {message.role[:40]!r}, expected {expected}; user and assistant take "
            "turns, after system messages, which are not read",
            param=f"{where}.role",
        )
    if expected == "user" and not "".join(message.texts()).strip():
        raise RequestError(400, f"{where}: the question is empty; write one", param=where)


def _check_content(message: Message, where: str, limits: Limits) -> None:
    check_extra(message, ignored=("name",), neutral=NEUTRAL_OF_MESSAGE, where=f"{where}: ")
    if message.role != "user" and any(message.urls()):
        raise RequestError(
            400, f"{where}: an image is in a message of role user, and in no other", param=where
        )
    check_length("\n".join(message.texts()), limits, f"{where}.content")


def check_length(text: str, limits: Limits, param: str) -> None:
    """Refuses a text that is longer than the limit."""
    if len(text) > limits.max_characters:
        raise RequestError(
            400,
            f"{param}: {len(text)} characters, expected at most {limits.max_characters} "
            "(max_characters)",
            param=param,
        )

"""What OpenAI's clients send besides a question: system messages, options, forms of data URIs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("openai")

import openai

from edge_glass.fusion.serve.failure import RequestError
from edge_glass.fusion.serve.image_input import data_uri_bytes

QUESTION = "how many dogs are there?"
SYSTEM = {"role": "system", "content": "You are a helpful assistant."}
Asked = Callable[..., list[dict[str, Any]]]


def answer(server: Any, messages: list[dict[str, Any]], **options: Any) -> str:
    found = server.client().post(
        "/chat/completions",
        body={"model": "model", "messages": messages, **options},
        cast_to=object,
    )
    return str(found["choices"][0]["message"]["content"])


def test_a_system_message_in_front_is_accepted_and_not_read(server: Any, asked: Asked) -> None:
    expected = answer(server, asked(QUESTION))
    developer = {"role": "developer", "content": [{"type": "text", "text": "Answer in French."}]}
    for front in ([SYSTEM], [developer], [SYSTEM, developer]):
        assert answer(server, front + asked(QUESTION)) == expected


def test_a_system_message_elsewhere_is_refused(server: Any, asked: Asked) -> None:
    first, second, third = asked(QUESTION, "two", QUESTION)
    for messages in (
        [first, SYSTEM],
        [first, second, SYSTEM, third],
        [SYSTEM, first, SYSTEM, third],
    ):
        with pytest.raises(openai.BadRequestError, match="role is 'system', expected"):
            answer(server, messages)
    hidden = {"role": "system", "content": first["content"]}
    with pytest.raises(openai.BadRequestError, match="an image is in a message of role user"):
        answer(server, [hidden, {"role": "user", "content": QUESTION}])
    long = {"role": "system", "content": "a" * 20_001}
    with pytest.raises(openai.BadRequestError, match="20001 characters, expected at most 20000"):
        answer(server, [long, first])


def test_fields_that_change_nothing_are_accepted(
    server: Any, asked: Asked, data_uri: Callable[..., str]
) -> None:
    image = {"type": "image_url", "image_url": {"url": data_uri("red"), "detail": "high"}}
    content = [image, {"type": "text", "text": QUESTION}]
    sent_back = {"role": "assistant", "content": "two", "refusal": None, "tool_calls": []}
    messages = [
        {"role": "user", "name": "me", "content": content},
        {**sent_back, "annotations": [], "audio": None, "function_call": None},
        {"role": "user", "content": QUESTION},
    ]
    options = {
        "n": 1,
        "logprobs": False,
        "max_completion_tokens": 6,
        "stream": False,
        "stream_options": None,
        "user": "me",
        "metadata": {"a": [1.5, None]},
        "response_format": {"type": "text"},
    }
    expected = answer(server, asked(QUESTION, "two", QUESTION), max_tokens=6)
    assert answer(server, messages, **options) == expected


def test_data_uris_are_read_as_browsers_read_them(data_uri: Callable[..., str]) -> None:
    uri = data_uri("red")
    expected = data_uri_bytes(uri, "m")
    head, _, content = uri.partition(",")
    lines = "\r\n".join(content[at : at + 76] for at in range(0, len(content), 76))
    for each in (
        f" {uri}\n",
        f"{head},{lines}\n",
        f"{head},{content.replace('+', '%2B').replace('/', '%2f').replace('=', '%3D')}",
        f"{head},{content.rstrip('=')}",
        f"DATA:Image/PNG; charset=x; BASE64,{content}",
    ):
        assert data_uri_bytes(each, "m") == expected


@pytest.mark.parametrize(
    "uri",
    [
        "data:image/png,abcd",
        "data:text/html;base64,YQ==",
        "data:image/png;base64",
        "data:image/png;base64,",
        "data:image/png;base64,====",
        "data:image/png;base64,a",
        "data:image/png;base64,YQ==YQ==",
        "data:image/png;base64,Y-_Q",
        "data:image/png;base64,YQ%",
        "data:image/png;base64,YQ\u00e9=",
        "/etc/passwd",
    ],
)
def test_other_data_uris_are_refused(uri: str) -> None:
    with pytest.raises(RequestError) as caught:
        data_uri_bytes(uri, "m")
    assert caught.value.status == 400

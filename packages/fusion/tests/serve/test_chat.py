"""POST /v1/chat/completions, with OpenAI's own client."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from email.message import Message
from typing import Any

import pytest

pytest.importorskip("openai")

import openai
from openai import OpenAI
from PIL import Image

from edge_glass.decoders.sampling import Sampling
from edge_glass.fusion.serve.answerer import TorchAnswerer

QUESTIONS = ("how many dogs are there?", "where is the cat?", "what colour is it?")
Asked = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def client(server: Any) -> OpenAI:
    return server.client()


def post(server: Any, path: str, body: dict[str, Any]) -> tuple[bytes, Message]:
    """Sends a body; returns the bytes and the headers of the response."""
    request = urllib.request.Request(
        f"{server.url}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as response:
        return response.read(), response.headers


def test_an_answer_is_that_of_the_model(client: OpenAI, server: Any, asked: Asked) -> None:
    vlm = server.served.vlm
    assert isinstance(vlm, TorchAnswerer)
    image = Image.new("RGB", (40, 30), "red")
    for question in QUESTIONS:
        found = client.chat.completions.create(model="model", messages=asked(question))
        (expected,) = vlm.model.answer([image], [question])
        assert found.choices[0].message.content == expected
        assert found.choices[0].message.role == "assistant"
        assert found.system_fingerprint == server.served.vlm_name.fingerprint
        usage = found.usage
        assert usage is not None
        assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
        assert 1 <= usage.completion_tokens <= 6  # the model's longest answer
        expected_reason = "length" if usage.completion_tokens == 6 else "stop"
        assert found.choices[0].finish_reason == expected_reason


def test_options_reach_the_model(client: OpenAI, server: Any, asked: Asked) -> None:
    image = Image.new("RGB", (40, 30), "red")
    sampling = Sampling(temperature=1.5, top_p=0.9, seed=3, max_new_tokens=4)
    (expected,) = server.served.vlm.model.answer([image], [QUESTIONS[0]], sampling=sampling)
    options = {"temperature": 1.5, "top_p": 0.9, "seed": 3, "max_completion_tokens": 4}
    messages = asked(QUESTIONS[0])
    found = client.chat.completions.create(model="model", messages=messages, **options)
    assert found.choices[0].message.content == expected
    different = client.chat.completions.create(
        model="model", messages=messages, **options | {"seed": 4}
    )
    assert different.choices[0].message.content != expected
    word = expected.split()[1]
    cut = client.chat.completions.create(model="model", messages=messages, stop=word, **options)
    assert cut.choices[0].message.content == expected.partition(word)[0].strip()
    assert cut.choices[0].finish_reason == "stop"


def test_a_streamed_answer_is_the_whole_answer(client: OpenAI, asked: Asked) -> None:
    messages = asked(QUESTIONS[1])
    whole = client.chat.completions.create(model="model", messages=messages)
    chunks = list(
        client.chat.completions.create(
            model="model", messages=messages, stream=True, stream_options={"include_usage": True}
        )
    )
    text = "".join(each.choices[0].delta.content or "" for each in chunks[:-1])
    assert text == whole.choices[0].message.content
    assert len(chunks) > 4  # the beginning, several words, the end, and the usage
    assert {each.id for each in chunks} == {whole.id}
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason
    assert chunks[-1].usage == whole.usage


def test_a_model_of_single_questions_reads_only_the_last(client: OpenAI, asked: Asked) -> None:
    alone = client.chat.completions.create(model="model", messages=asked(QUESTIONS[1]))
    later = client.chat.completions.create(
        model="model", messages=asked(QUESTIONS[0], "two", QUESTIONS[1])
    )
    assert later.choices[0].message.content == alone.choices[0].message.content
    assert later.id != alone.id


def test_a_model_of_conversations_reads_all_turns(
    served: Any, start: Callable[..., Any], asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served.vlm, "conversations", True)
    turns = (QUESTIONS[0], "two", QUESTIONS[1])
    features = served.vlm.model.encode([Image.new("RGB", (40, 30), "red")])
    (expected,) = served.vlm.model.answer_features(features, [turns[-1]], histories=[turns[:-1]])
    with start(served) as server:
        found = server.client().chat.completions.create(model="model", messages=asked(*turns))
    assert found.choices[0].message.content == expected


def test_equal_requests_give_equal_bytes_among_64(server: Any, asked: Asked) -> None:
    bodies = [
        {
            "model": "model",
            "messages": asked(QUESTIONS[number % 3], colour=("red", "blue")[number % 2]),
            "temperature": float(number % 2),
            "stream": number % 12 > 5,
        }
        for number in range(64)
    ]
    path = "/v1/chat/completions"
    alone = {json.dumps(body): post(server, path, body)[0] for body in bodies[:12]}
    assert len(set(alone.values())) == 12
    with ThreadPoolExecutor(64) as pool:
        together = list(pool.map(lambda body: post(server, path, body)[0], bodies))
    assert together == [alone[json.dumps(body)] for body in bodies]


def test_the_response_has_the_hash_of_the_model(server: Any, asked: Asked) -> None:
    body = {"model": "model", "messages": asked(QUESTIONS[0])}
    content, headers = post(server, "/v1/chat/completions", body)
    assert headers["X-Model-SHA256"] == server.served.vlm_name.sha256
    assert json.loads(content)["system_fingerprint"] == f"fp_{headers['X-Model-SHA256'][:16]}"


@pytest.mark.parametrize(
    ("change", "status", "message"),
    [
        ({"model": "gpt"}, 404, "no model 'gpt' is served here; choose one of: model"),
        ({"messages": []}, 400, "found no message of role user, expected"),
        ({"messages": [{"role": "user", "content": "who?"}]}, 400, "0 images in the messages"),
        ({"messages": [{"role": "system", "content": "x"}]}, 400, "found no message of role user"),
        ({"messages": [{"role": "tool", "content": "x"}]}, 400, "role is 'tool', expected user"),
        ({"temperature": 3}, 400, "temperature: Input should be less than or equal to 2"),
        ({"max_tokens": 0}, 400, "max_tokens: Input should be greater than or equal to 1"),
        ({"stop": [""]}, 400, "a stop string is empty"),
        ({"n": 2}, 400, "'n' other than 1 is not supported here"),
        ({"tools": [{"type": "function"}]}, 400, "'tools' other than [] is not supported"),
        ({"logprobs": True}, 400, "'logprobs' other than False"),
    ],
)
def test_what_is_refused(
    client: OpenAI, asked: Asked, change: dict[str, Any], status: int, message: str
) -> None:
    body = {"model": "model", "messages": asked(QUESTIONS[0])} | change
    with pytest.raises(openai.APIStatusError) as caught:
        client.post("/chat/completions", body=body, cast_to=object)
    assert caught.value.status_code == status
    assert message in caught.value.message


@pytest.mark.parametrize("stream", [False, True])
def test_faults_of_a_conversation(client: OpenAI, asked: Asked, stream: bool) -> None:
    faults = {
        "positions, but max_positions is 64": asked("dogs " * 80),
        "expected an answer as the last": asked("dogs?", "two"),
        "the question is empty": asked(" "),
        "the image is not a JPEG, PNG": asked("dogs?", image="data:image/png;base64,aaaa"),
        "is not valid base64": asked("dogs?", image="data:image/png;base64,a"),
        "expected a data URI": asked("dogs?", image="file:///etc/passwd"),
        "requests no URLs": asked("dogs?", image="http://example.org/a.png"),
    }
    faults["found an answer as the last"] = faults.pop("expected an answer as the last")
    for message, messages in faults.items():
        with pytest.raises(openai.BadRequestError, match=message):
            client.chat.completions.create(model="model", messages=messages, stream=stream)

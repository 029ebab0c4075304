"""The page's files and the routes that it requests."""

from __future__ import annotations

import base64
import http.client
import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("openai")

import numpy as np
from PIL import Image

from edge_glass.fusion.search.query import update_folder
from edge_glass.fusion.serve.page import PAGE, page_files
from edge_glass.fusion.vlm import VisionLanguageModel

COLOURS = ("red", "green", "blue", "white", "black", "yellow")
TOKEN = "0123456789abcdef"
QUESTION = "how many dogs are there?"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six images of one colour each, and a copy of one of them."""
    folder = tmp_path_factory.mktemp("page") / "images"
    folder.mkdir()
    for number, colour in enumerate(COLOURS):
        Image.new("RGB", (30 + number, 40), colour).save(folder / f"{colour}.png")
    (folder / "zzz-copy.png").write_bytes((folder / "red.png").read_bytes())
    return folder


@pytest.fixture(scope="module")
def page(served: Any, folder: Path, start: Any) -> Iterator[Any]:
    index, _ = update_folder(folder, served.embedder)
    with start(replace(served, images=folder, index=index)) as server:
        yield server


def send(server: Any, path: str, body: Any = None, **headers: str) -> tuple[int, bytes, Any]:
    """Sends a GET, or a POST of JSON; returns status, content and headers."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    content = None if body is None else json.dumps(body)
    if body is not None:
        headers["Content-Type"] = "application/json"
    connection.request("GET" if body is None else "POST", path, content, headers)
    response = connection.getresponse()
    found = response.read()
    connection.close()
    return response.status, found, response.headers


def data_uri(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


def test_each_file_that_the_page_names_is_served(page: Any) -> None:
    named = {"/"}
    for path in PAGE.iterdir():
        text = path.read_text()
        named |= {f"/{each}" for each in re.findall(r'(?:src|href)="(page/[^"]+)"', text)}
        named |= {f"/page/{each}" for each in re.findall(r'from "\./([^"]+)"', text)}
        # nothing that the policy forbids, or that a different host serves
        assert not re.findall(r'\bstyle="|\son\w+="|<script>|https?://(?!www\.w3\.org/2000)', text)
    assert named == set(page_files())
    for path in named:
        status, content, headers = send(page, path)
        assert (status, content) == (200, page_files()[path].read_bytes())
        assert headers["Content-Security-Policy"].startswith(
            "default-src 'none'; script-src 'self'"
        )
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert send(page, path, **{"If-None-Match": headers["ETag"]})[0] == 304


def test_a_text_is_ranked_at_each_dim_as_by_the_command(page: Any) -> None:
    status, content, _ = send(page, "/page/api/search", {"text": "a red square"})
    assert status == 200
    answer = json.loads(content)
    assert answer["num_images"] == len(COLOURS)
    assert list(answer["rankings"]) == ["24", "8", "4"]
    index, embedder = page.served.index, page.served.embedder
    with embedder.one_thread():
        query = embedder.embed_text("a red square")
    names = [path for path in index.paths() if path != "zzz-copy.png"]
    for dim, ranking in answer["rankings"].items():
        # the scores of `edge-glass search`
        scores = index.scores(query, int(dim), np.arange(len(names)))
        order = np.argsort(-scores, kind="stable")
        images = [answer["images"][place] for place, _ in ranking]
        assert [each["name"] for each in images] == [names[place] for place in order]
        assert [score for _, score in ranking] == [round(scores[place], 6) for place in order]
        assert {each["name"]: each["copies"] for each in images}["red.png"] == 1


def test_an_image_finds_itself_and_is_sent_by_its_id(page: Any, folder: Path) -> None:
    query = {"image": data_uri(folder / "blue.png")}
    answer = json.loads(send(page, "/page/api/search", query)[1])
    best, score = answer["rankings"]["24"][0]
    image = answer["images"][best]
    assert (image["name"], score) == ("blue.png", 1.0)
    status, content, headers = send(page, f"/page/api/images/{image['id']}?side=20")
    assert (status, headers["Content-Type"]) == (200, "image/webp")
    drawn = Image.open(io.BytesIO(content)).convert("RGB")
    assert max(drawn.size) == 20
    assert abs(drawn.getpixel((5, 5))[2] - 255) < 8  # lossy
    again = json.loads(send(page, "/page/api/search", {"image": image["id"]})[1])
    assert again == answer


def test_an_answer_comes_in_pieces_with_scores_and_attention(
    page: Any, folder: Path, vlm_folder: Path
) -> None:
    query = {"image": data_uri(folder / "green.png"), "question": QUESTION}
    status, content, _ = send(page, "/page/api/ask", query)
    assert status == 200
    events = [json.loads(line) for line in content.splitlines()]
    answer = "".join(each.get("text", "") for each in events)
    model = VisionLanguageModel.from_pretrained(vlm_folder)
    with Image.open(folder / "green.png") as image:
        assert answer == model.answer([image], [QUESTION])[0]
    tokens = [each["token"] for each in events if "token" in each]
    assert len(tokens) > 1
    assert all(each["probability"] == each["alternatives"][0][1] for each in tokens)  # greedy
    attention = events[-1]["attention"]
    assert attention["grid"] == [16, 16]
    assert attention["box"] == pytest.approx([0.1125, 0, 0.775, 1])  # 31 x 40 pixels in a square
    assert [each["label"] for each in attention["maps"]][:2] == ["how", "many"]
    for each in attention["maps"]:  # rounded to 4 decimals
        assert sum(each["weights"]) == pytest.approx(1, abs=256 * 5e-5)
    pooled = json.loads(send(page, "/page/api/attention", {"image": query["image"]})[1])
    assert pooled["grid"] == [2, 2]
    assert [each["label"] for each in pooled["maps"]] == ["Mean", "Query 1", "Query 2"]


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("images/" + "0" * 32, None, 404, "no image has this id"),
        ("images/..%2f..%2fmodel%2fconfig.json", None, 404, ""),
        ("images/red.png", None, 404, "no image has this id"),
        ("images/" + "0" * 32 + "?side=large", None, 400, "side: Input should be a valid integer"),
        ("search", {}, 400, "the body needs text or image"),
        ("search", {"text": " "}, 400, "text is empty"),
        ("search", {"text": "a", "path": "/etc"}, 400, "path"),
        ("search", {"image": "/etc/passwd"}, 400, "expected a data URI"),
        ("attention", {"image": "data:image/png;base64,AAAA"}, 400, "is not a JPEG"),
        ("ask", {"image": "0" * 32, "question": "a"}, 404, "no image has this id"),
        ("ask", {"image": "", "question": ""}, 400, "question is empty"),
        ("ask", {"image": "", "question": "a", "history": ["b"]}, 400, "history has 1 messages"),
        ("ask", {"image": "", "question": "a", "history": ["", "b"]}, 400, "question is empty"),
        ("ask", {"image": "", "question": "a", "history": ["b", ""]}, 400, "expected a data URI"),
    ],
)
def test_what_is_refused(
    page: Any, folder: Path, path: str, body: Any, status: int, message: str
) -> None:
    found, content, _ = send(page, f"/page/api/{path}", body)
    error = json.loads(content)["error"]["message"]
    assert found == status
    assert message in error
    assert str(folder.parent.parent) not in error


def test_a_question_beyond_the_context_is_refused(page: Any, folder: Path) -> None:
    query = {"image": data_uri(folder / "red.png"), "question": "how many " * 100}
    status, content, _ = send(page, "/page/api/ask", query)
    assert status == 400
    assert "64" in json.loads(content)["error"]["message"]


def test_an_image_that_was_changed_is_not_sent(
    served: Any, tmp_path: Path, start: Callable[..., Any]
) -> None:
    Image.new("RGB", (30, 30), "red").save(tmp_path / "red.png")
    index, _ = update_folder(tmp_path, served.embedder)
    with start(replace(served, vlm=None, images=tmp_path, index=index)) as server:
        answer = json.loads(send(server, "/page/api/search", {"text": "a"})[1])
        path = f"/page/api/images/{answer['images'][0]['id']}"
        assert send(server, path)[0] == 200
        Image.new("RGB", (30, 30), "blue").save(tmp_path / "red.png")
        assert send(server, path)[0] == 410
        (tmp_path / "red.png").unlink()
        assert send(server, path)[0] == 410
        assert send(server, "/page/api/ask", {"image": "", "question": "a"})[0] == 404


def test_the_files_need_no_token_and_the_data_do(served: Any, start: Callable[..., Any]) -> None:
    with start(replace(served, vlm=None), token=TOKEN) as server:
        for path in page_files():
            assert send(server, path)[0] == 200
        assert send(server, "/page/api/about")[0] == 401
        status, content, _ = send(server, "/page/api/about", Authorization=f"Bearer {TOKEN}")
        assert status == 200
        about = json.loads(content)
        assert (about["answers"], about["search"]) == (False, None)

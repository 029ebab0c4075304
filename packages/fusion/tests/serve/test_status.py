"""The routes about the server, and paths that do not exist."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import pytest

pytest.importorskip("openai")

import openai


def get(server: Any, path: str, method: str = "GET") -> tuple[int, str]:
    request = urllib.request.Request(f"{server.url}{path}", method=method)
    try:
        with urllib.request.urlopen(request) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_models_have_names_hashes_and_abilities(server: Any) -> None:
    vlm, align = server.served.names()
    first, second = server.client().models.list().data
    assert (first.id, first.sha256, first.task) == ("model", vlm.sha256, "chat")
    assert first.conversations is False
    assert (second.sha256, second.task, second.dimensions) == (
        align.sha256, "embeddings", [24, 8, 4],
    )  # fmt: skip
    assert server.client().models.retrieve("model") == first
    with pytest.raises(openai.NotFoundError, match="no model 'other' is served here"):
        server.client().models.retrieve("other")


def test_health_and_metrics(server: Any) -> None:
    status, text = get(server, "/health")
    assert status == 200
    assert json.loads(text)["status"] == "ok"
    server.client().embeddings.create(model="model", input="a red car")
    status, text = get(server, "/metrics")
    assert status == 200
    assert 'edge_glass_requests_total{route="/v1/embeddings",status="200"}' in text
    assert 'edge_glass_request_seconds_count{route="/v1/embeddings"}' in text
    assert 'edge_glass_tokens_total{kind="prompt"}' in text
    assert "process_resident_memory_bytes" in text


def test_unknown_paths_and_methods_are_openai_errors(server: Any) -> None:
    for path, method, status in (
        ("/v1/completions", "POST", 404),
        ("/docs", "GET", 404),
        ("/v1/embeddings", "GET", 405),
        ("/../../etc/passwd", "GET", 404),
    ):
        found, text = get(server, path, method)
        error = json.loads(text)["error"]
        assert (found, error["type"]) == (status, "invalid_request_error")
        assert path in error["message"]

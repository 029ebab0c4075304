"""Routes about the server: /health, /v1/models and /metrics."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from edge_glass.fusion.serve.context import Context
from edge_glass.fusion.serve.failure import RequestError
from edge_glass.fusion.serve.served import ModelName

HASH_HEADER = "X-Model-SHA256"


def status_routes(context: Context) -> APIRouter:
    """Returns the routes."""
    router = APIRouter()

    async def health() -> JSONResponse:
        models = {each.name: each.sha256 for each in context.served.names()}
        return JSONResponse({"status": "ok", "models": models})

    async def models() -> JSONResponse:
        listed = [model_object(context, each) for each in context.served.names()]
        return JSONResponse({"object": "list", "data": listed})

    async def model(name: str) -> JSONResponse:
        found = next((each for each in context.served.names() if each.name == name), None)
        if found is None:
            raise no_model(context, name)
        return JSONResponse(model_object(context, found))

    async def metrics() -> Response:
        context.metrics.waiting.set(context.worker.num_requests)
        return Response(context.metrics.text(), media_type=context.metrics.content_type)

    router.add_api_route("/health", health, methods=["GET"])
    router.add_api_route("/v1/models", models, methods=["GET"])
    router.add_api_route("/v1/models/{name}", model, methods=["GET"])
    router.add_api_route("/metrics", metrics, methods=["GET"])
    return router


def model_object(context: Context, model: ModelName) -> dict[str, Any]:
    """Returns a model as OpenAI lists it, with its hash and what it can do."""
    values: dict[str, Any] = {
        "id": model.name,
        "object": "model",
        "created": 0,
        "owned_by": "edge-glass",
        "sha256": model.sha256,
    }
    served = context.served
    if model is served.vlm_name and served.vlm is not None:
        values |= {"task": "chat", "conversations": served.vlm.conversations}
    elif served.embedder is not None:
        values |= {"task": "embeddings", "dimensions": list(served.embedder.dims)}
    return values


def no_model(context: Context, name: str) -> RequestError:
    """Returns the error for an unknown name of a model."""
    names = ", ".join(each.name for each in context.served.names())
    return RequestError(
        404,
        f"no model {name[:100]!r} is served here; choose one of: {names}",
        param="model",
        code="model_not_found",
    )

"""The body of a request: its size, its type, and what it must hold."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import ClientDisconnect

from edge_glass.fusion.serve.failure import RequestError
from edge_glass.fusion.serve.limits import Limits

BodyT = TypeVar("BodyT", bound=BaseModel)
VALUE_MARKS = (b",", b"[", b"{")  # each value of a list or an object follows one of them


class Body(BaseModel):
    """A body in JSON. Fields that no attribute names are in `model_extra`, see `check_extra`."""

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)


async def read_body(request: Request, kind: type[BodyT], limits: Limits) -> BodyT:
    """Reads and checks the body of a request.

    Raises:
        RequestError: 408, 413, 415 or 400.
    """
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != "application/json":
        raise RequestError(
            415,
            f"Content-Type is {media[:100] or 'missing'}, expected application/json",
            code="unsupported_media_type",
        )
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise RequestError(415, "Content-Encoding is not supported; send the body as it is")
    content = await _read(request, limits)
    if sum(map(content.count, VALUE_MARKS)) > limits.max_values:
        raise RequestError(
            400,
            f"the body has more than {limits.max_values} commas and brackets (max_values); send "
            "fewer messages or inputs",
            code="too_many_values",
        )
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        raise _refusal(error) from None


async def _read(request: Request, limits: Limits) -> bytes:
    size = request.headers.get("content-length", "")
    if size.isdecimal() and int(size[:20]) > limits.max_body_bytes:
        raise _too_large(limits)
    chunks: list[bytes] = []
    total = 0
    try:
        async with asyncio.timeout(limits.body_seconds):
            async for chunk in request.stream():
                total += len(chunk)
                if total > limits.max_body_bytes:
                    raise _too_large(limits)
                chunks.append(chunk)
    except ClientDisconnect:
        raise RequestError(499, "the client closed the connection") from None
    except TimeoutError:
        raise RequestError(
            408, f"the body did not arrive within {limits.body_seconds} seconds"
        ) from None
    return b"".join(chunks)


def _too_large(limits: Limits) -> RequestError:
    return RequestError(
        413,
        f"the body has more than {limits.max_body_bytes} bytes (max_body_bytes); send a smaller "
        "image, or fewer inputs",
        code="body_too_large",
    )


def _refusal(error: ValidationError) -> RequestError:
    """Returns the first fault that pydantic found, in one line."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    if first["type"] == "json_invalid":
        return RequestError(400, f"the body is not JSON: {first['msg']}", code="invalid_json")
    # names that the client chose, such as unknown keys, may be long
    param = ".".join(str(part)[:40] for part in first["loc"][:8])
    return RequestError(400, f"{param or 'the body'}: {first['msg']}", param=param or None)


def check_extra(
    body: Body, *, ignored: Iterable[str] = (), neutral: Mapping[str, Any], where: str = ""
) -> None:
    """Refuses fields that would change the result if they were supported.

    Args:
        body: what was sent.
        ignored: fields that change no result.
        neutral: values with which a field changes nothing; null always does.
        where: what the field belongs to, for the message.

    Raises:
        RequestError: 400, with the name of the first such field.
    """
    for name, value in (body.model_extra or {}).items():
        if value is None or name in ignored:
            continue
        if name in neutral and value == neutral[name]:
            continue
        expected = f" other than {neutral[name]!r}" if name in neutral else ""
        raise RequestError(
            400,
            f"{where}{name[:100]!r}{expected} is not supported here; leave it out",
            param=name[:100],
            code="unsupported_parameter",
        )

"""A refused request, as OpenAI's error JSON."""

from __future__ import annotations

from typing import Any

from fastapi.responses import JSONResponse


class RequestError(Exception):
    """A request that is refused.

    Attributes:
        status: of the response, 400 to 499, or 503.
        message: what was found, what was expected and what to do; never a path of the server.
        param: the field of the request that is wrong, if it is one.
        code: a short name for programs.
    """

    def __init__(
        self, status: int, message: str, *, param: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code


def error_content(error: RequestError) -> dict[str, Any]:
    """Returns the JSON of an error, as OpenAI's clients read it."""
    kind = "rate_limit_exceeded" if error.status == 429 else "invalid_request_error"
    if error.status >= 500:
        kind = "server_error"
    fields = {"message": error.message, "type": kind, "param": error.param, "code": error.code}
    return {"error": fields}


def error_response(error: RequestError) -> JSONResponse:
    """Returns the response for an error."""
    headers = {"Retry-After": "1"} if error.status == 429 else {}
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(error_content(error), status_code=error.status, headers=headers)

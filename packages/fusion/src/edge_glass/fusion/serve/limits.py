"""What one request, and all together, may cost."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of the server; a request beyond one of them is refused, with the limit's name.

    Attributes:
        max_body_bytes: of a request. A base64 image takes 4/3 of its file's bytes.
        max_values: commas and brackets of a body. They bound the number of its values: one of two
            bytes, and the error for it, take some hundred bytes of memory.
        max_pixels: width x height of an image, read from its header before it is decoded.
        max_questions: questions of a conversation, or inputs of one request for embeddings.
        max_characters: of one text.
        max_queue: requests that wait or run at once; more are refused with status 429.
        body_seconds: time in which a body must arrive.
    """

    max_body_bytes: int = 10 * 2**20
    max_values: int = 100_000
    max_pixels: int = 50_000_000
    max_questions: int = 64
    max_characters: int = 20_000
    max_queue: int = 128
    body_seconds: int = 30

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) < 1:
                raise ValueError(f"{field.name} is {getattr(self, field.name)}, expected 1 or more")

"""The bodies that the page sends."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from edge_glass.fusion.serve.body import Body
from edge_glass.fusion.serve.conversation import check_length
from edge_glass.fusion.serve.failure import RequestError
from edge_glass.fusion.serve.limits import Limits


class PageBody(Body):
    """A body without other fields than those that its class names."""

    model_config = ConfigDict(extra="forbid")


class ImageBody(PageBody):
    """An image: a data URI, or the id of one that a search found."""

    image: str


class AskBody(ImageBody):
    """A question about an image; `history` has the messages before it, user and assistant."""

    question: str
    history: list[str] = Field(default=[])

    def check(self, limits: Limits) -> None:
        """Refuses texts beyond the limits, and a history that ends with a question.

        An answer may be empty.

        Raises:
            RequestError: 400.
        """
        for text in (self.question, *self.history[::2]):
            check_text(text, "question", limits)
        for text in self.history[1::2]:
            check_length(text, limits, "history")
        if len(self.history) % 2 or len(self.history) >= 2 * limits.max_questions:
            raise RequestError(
                400,
                f"history has {len(self.history)} messages, expected questions and answers in "
                f"turn, fewer than {limits.max_questions} questions (max_questions)",
                param="history",
            )


class SearchBody(PageBody):
    """A text or an image to search for: one of the two."""

    text: str | None = None
    image: str | None = None

    def check(self, limits: Limits) -> None:
        """Refuses a text beyond the limits, both or none.

        Raises:
            RequestError: 400.
        """
        if (self.text is None) == (self.image is None):
            raise RequestError(400, "the body needs text or image, one of the two")
        if self.text is not None:
            check_text(self.text, "text", limits)


def check_text(text: str, param: str, limits: Limits) -> None:
    """Refuses an empty text, and one beyond the limit.

    Raises:
        RequestError: 400.
    """
    if not text.strip():
        raise RequestError(400, f"{param} is empty; write a text", param=param)
    check_length(text, limits, param)

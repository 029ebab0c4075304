"""Questions about an image file: the work of the commands `ask` and `chat`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from edge_glass.decoders.sampling import Sampling
from edge_glass.fusion.app.image_file import read_image
from edge_glass.fusion.app.options import check_text
from edge_glass.fusion.describing import describing_instruction
from edge_glass.fusion.edge.config import refuse_exported
from edge_glass.fusion.generation import stream_answer
from edge_glass.fusion.prompt import check_questions
from edge_glass.fusion.vlm import VisionLanguageModel


def ask_image(
    path: Path, questions: Sequence[str], model_folder: Path, sampling: Sampling | None = None
) -> Iterator[Iterator[str]]:
    """Yields the answers to questions about an image, each in pieces as they are generated.

    The questions are independent of each other. Without `sampling` the answers are greedy.
    """
    check_questions(questions)
    image = read_image(path)
    model = load_model(model_folder)
    features = model.encode([image])
    for number, question in enumerate(questions):
        yield stream_answer(model, features, question, sampling=sampling, example=number)


def describe_image(
    path: Path, model_folder: Path, words: int | None = None, sampling: Sampling | None = None
) -> Iterator[str]:
    """Yields a description of an image in pieces; `words` is its wanted length.

    Raises:
        ValueError: if the model did not learn to describe images.
    """
    image = read_image(path)
    model = load_model(model_folder)
    limit = model.config.max_description_tokens
    if limit is None:
        raise ValueError(
            f"{model_folder} did not learn to describe images; train it with "
            "vlm_qa.mixture.captions above 0, or ask it a question"
        )
    sampling = sampling or Sampling()
    sampling = replace(sampling, max_new_tokens=sampling.max_new_tokens or limit)
    yield from stream_answer(
        model, model.encode([image]), describing_instruction(words), sampling=sampling
    )


def load_model(folder: Path) -> VisionLanguageModel:
    """Loads a model, onto the GPU if there is one."""
    refuse_exported(folder)
    return VisionLanguageModel.from_pretrained(folder, device=None)


class Chat:
    """A conversation about an image that may change, which is encoded once.

    Args:
        sampling: how words are chosen; None is greedy.
        keep_history: whether earlier questions and answers are part of the input; None keeps them
            if the model was trained on conversations. A model of single questions answers worse
            with a history, because it has never seen one.

    Attributes:
        history: the messages so far, user and assistant in turn.
    """

    def __init__(
        self,
        model: VisionLanguageModel,
        path: Path,
        sampling: Sampling | None = None,
        *,
        keep_history: bool | None = None,
    ) -> None:
        self.model, self.sampling = model, sampling
        kept = model.config.conversations if keep_history is None else keep_history
        self.keeps_history = kept
        self.features: Tensor = model.encode([read_image(path)])
        self.history: list[str] = []
        self._asked = 0

    def reply(self, line: str, emit: Callable[[str], None] | None = None) -> str | None:
        """Answers a question; a command returns None.

        `/new` clears the history; `/image FILE` changes the image, and clears the history too.
        `emit` receives the pieces of an answer as they are generated.

        Raises:
            OSError: if a new image does not exist; the old one stays.
            ValueError: if a new image is not readable, the conversation is too long, or the command
                is unknown.
        """
        command, _, rest = line.strip().partition(" ")
        if not command.startswith("/"):
            return self._answer(line.strip(), emit)
        if command not in ("/image", "/new"):
            raise ValueError(f"{command} is not a command; use /new, /image FILE or /quit")
        if command == "/image":
            if not rest.strip():
                raise ValueError("/image needs a file: /image FILE")
            # unlike Path.expanduser, this leaves ~name as it is if no such user exists
            path = Path(os.path.expanduser(rest.strip()))  # noqa: PTH111
            self.features = self.model.encode([read_image(path)])
        self.history.clear()
        return None

    def _answer(self, question: str, emit: Callable[[str], None] | None) -> str:
        check_text(question)
        pieces: list[str] = []
        try:
            for piece in stream_answer(
                self.model,
                self.features,
                question,
                self.history,
                sampling=self.sampling,
                example=self._asked,
            ):
                pieces.append(piece)
                if emit is not None:
                    emit(piece)
        except ValueError as error:
            if not self.history:
                raise
            raise ValueError(f"{error}; or begin a new conversation with /new") from error
        self._asked += 1
        answer = "".join(pieces)
        if self.keeps_history:
            self.history += [question, answer]
        return answer


def run_chat(
    chat: Chat,
    lines: Iterable[str],
    show: Callable[[str], None],
    complain: Callable[[str], None] | None = None,
    emit: Callable[[str], None] | None = None,
) -> None:
    """Answers line by line until the end or `/quit`; empty lines are skipped.

    `emit` receives each answer in pieces, `show` the whole answer, and `complain` the message of an
    error; the chat then goes on. If `complain` is None, the first error is raised: a script would
    go on with the wrong image.
    """
    for line in lines:
        if line.strip() == "/quit":
            return
        if not line.strip():
            continue
        try:
            answer = chat.reply(line, emit)
        except (ValueError, OSError) as error:
            if complain is None:
                raise
            complain(str(error))
            continue
        if answer is not None:
            show(answer)

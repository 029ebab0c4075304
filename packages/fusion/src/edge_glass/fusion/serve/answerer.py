"""What the server needs of a vision-language model, in torch or as an exported folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from PIL import Image

from edge_glass.fusion.edge.config import GraphError, refuse_exported
from edge_glass.fusion.serve.failure import RequestError
from edge_glass.fusion.text_stream import AnswerStream
from edge_glass.fusion.token_scores import Observe

if TYPE_CHECKING:
    from edge_glass.fusion.edge.vlm import EdgeVlm
    from edge_glass.fusion.vlm import VisionLanguageModel


@dataclass(frozen=True, kw_only=True)
class AnswerOptions:
    """How words are chosen, and when an answer ends; see `decoders.sampling.Sampling`."""

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    max_new_tokens: int | None = None
    stop: tuple[str, ...] = ()


class Answerer(Protocol):
    """Answers questions about images.

    Attributes:
        conversations: whether the model was trained on conversations, and reads earlier turns.
        samples: whether words can be drawn at random; otherwise each answer is greedy.
    """

    @property
    def conversations(self) -> bool: ...

    @property
    def samples(self) -> bool: ...

    def answer(
        self,
        image: Image.Image,
        question: str,
        history: Sequence[str],
        options: AnswerOptions,
        observe: Observe | None = None,
    ) -> AnswerStream:
        """Returns the answer to a question as it is generated.

        `history` has the messages before it, user and assistant in turn; it is empty if the model
        does not read conversations. `observe` receives the logits of each token, see
        `token_scores.py`.
        """
        ...

    def decoded(self, ids: Sequence[int]) -> str:
        """Returns the text of ids, without special tokens."""
        ...


class TorchAnswerer:
    """A vision-language model in torch, on the GPU if there is one."""

    samples = True

    def __init__(self, folder: Path) -> None:
        from edge_glass.fusion.vlm import VisionLanguageModel

        refuse_exported(folder)
        self.model: VisionLanguageModel = VisionLanguageModel.from_pretrained(folder, device=None)
        self.conversations = self.model.config.conversations

    def answer(
        self,
        image: Image.Image,
        question: str,
        history: Sequence[str],
        options: AnswerOptions,
        observe: Observe | None = None,
    ) -> AnswerStream:
        from edge_glass.decoders.sampling import Sampling
        from edge_glass.fusion.generation import stream_answer

        features = self.model.encode([image])
        sampling = Sampling(**vars(options))
        return stream_answer(
            self.model, features, question, history, sampling=sampling, observe=observe
        )

    def decoded(self, ids: Sequence[int]) -> str:
        return str(self.model.tokenizer.decode(list(ids), skip_special_tokens=True))


class OnnxAnswerer:
    """An exported vision-language model, see `fusion/edge`: greedy, and single questions."""

    samples, conversations = False, False

    def __init__(self, folder: Path) -> None:
        from edge_glass.fusion.edge.vlm import EdgeVlm

        self.model: EdgeVlm = EdgeVlm(folder)

    def answer(
        self,
        image: Image.Image,
        question: str,
        history: Sequence[str],
        options: AnswerOptions,
        observe: Observe | None = None,
    ) -> AnswerStream:
        assert not history
        visual = self.model.encode(image)
        found = self.model.first_logits(visual, question)
        return AnswerStream(
            self.model.words(found, visual, options.max_new_tokens, observe),
            self.model.decoded,
            stop=options.stop,
            end_ids=self.model.text["stop_ids"],
            num_prompt_positions=self.model.num_positions(question),
        )

    def decoded(self, ids: Sequence[int]) -> str:
        return self.model.decoded(ids)


@contextmanager
def refusing(param: str) -> Iterator[None]:
    """Turns what a model refuses about a prompt into the error of a request.

    A fault of the server's files stays what it is: its message has their paths.

    Raises:
        RequestError: such as for a prompt that is longer than the model's context.
    """
    try:
        yield
    except GraphError:
        raise
    except ValueError as error:
        raise RequestError(400, str(error), param=param, code="context_length_exceeded") from error


def load_answerer(folder: Path, runtime: str) -> Answerer:
    """Loads a vision-language model for a runtime.

    Raises:
        ValueError: if the folder holds something else, or the runtime is not installed.
    """
    if runtime == "torch":
        return TorchAnswerer(folder)
    try:
        return OnnxAnswerer(folder)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"--runtime onnx needs the Python package {error.name}, which is not installed: "
            'python -m pip install "edge-glass-fusion[edge]"'
        ) from error

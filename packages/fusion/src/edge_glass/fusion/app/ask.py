"""Questions about an image file: the work of the commands `ask` and `chat`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from PIL import Image
from torch import Tensor

from edge_glass.decoders.sampling import Sampling
from edge_glass.encoders.device import place_model
from edge_glass.encoders.images import BadImageError, decode_image, to_rgb
from edge_glass.fusion.prompt import check_questions
from edge_glass.fusion.vlm import VisionLanguageModel


def ask_image(
    path: Path, questions: Sequence[str], model_folder: Path, sampling: Sampling | None = None
) -> list[str]:
    """Answers questions about an image, each independent of the others.

    Args:
        path: of the image file.
        questions: at least one.
        model_folder: of a vision-language model.
        sampling: how words are chosen; None is greedy.

    Raises:
        OSError: the file does not exist or can't be read.
        ValueError: the file is not an image, a question is empty or too long, or the folder holds
            no vision-language model.
    """
    check_questions(questions)
    image = read_image(path)
    model = load_model(model_folder)
    return model.answer([image] * len(questions), questions, sampling=sampling)


def read_image(path: Path) -> Image.Image:
    """Reads an image file completely, as upright RGB.

    Raises:
        OSError: the file does not exist or can't be read.
        ValueError: the file is not an image, or a broken one.
    """
    try:
        return to_rgb(decode_image(path.read_bytes()))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such image; give the path of an image file") from None
    except BadImageError as error:
        raise ValueError(f"{path}: not a readable image ({error.detail})") from None


def load_model(folder: Path) -> VisionLanguageModel:
    """Loads a model, onto the GPU if there is one.

    Raises:
        ValueError: the folder holds no vision-language model.
    """
    return place_model(VisionLanguageModel.from_pretrained(folder))


class Chat:
    """Successive questions about an image that may change.

    Each question is independent: the model was trained on single questions, so earlier ones are
    not part of its input. The image is encoded once.

    Args:
        model: with its vision encoder.
        path: of the first image.
    """

    def __init__(self, model: VisionLanguageModel, path: Path) -> None:
        self.model = model
        self.features: Tensor = model.encode([read_image(path)])

    def reply(self, line: str) -> str | None:
        """Answers a question; for `/image FILE` it changes the image and returns None.

        Raises:
            OSError: a new image does not exist; the old one stays.
            ValueError: a new image is not readable, the question is too long, or the command is
                unknown.
        """
        command, _, rest = line.strip().partition(" ")
        if not command.startswith("/"):
            return self.model.answer_features(self.features, [line.strip()])[0]
        if command != "/image":
            raise ValueError(f"{command} is not a command; use /image FILE or /quit")
        if not rest.strip():
            raise ValueError("/image needs a file: /image FILE")
        self.features = self.model.encode([read_image(Path(rest.strip()).expanduser())])
        return None


def run_chat(
    chat: Chat,
    lines: Iterable[str],
    show: Callable[[str], None],
    complain: Callable[[str], None] | None = None,
) -> None:
    """Answers line by line until the end or `/quit`; empty lines are skipped.

    Args:
        chat: gives the answers.
        lines: one question or command each.
        show: receives each answer.
        complain: receives the message of an error, and the chat goes on. None raises the first
            error: a script would otherwise go on with the wrong image.
    """
    for line in lines:
        if line.strip() == "/quit":
            return
        if not line.strip():
            continue
        try:
            answer = chat.reply(line)
        except (ValueError, OSError) as error:
            if complain is None:
                raise
            complain(str(error))
            continue
        if answer is not None:
            show(answer)

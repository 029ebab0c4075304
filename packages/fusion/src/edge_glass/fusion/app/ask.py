"""Questions about a picture file: what the commands `ask` and `chat` do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from PIL import Image
from torch import Tensor

from edge_glass.encoders.device import place_model
from edge_glass.encoders.images import BadImageError, decode_image, to_rgb
from edge_glass.fusion.vlm import VisionLanguageModel, check_questions


def ask_picture(picture: Path, questions: Sequence[str], model_folder: Path) -> list[str]:
    """Answers questions about a picture, each as if it were the only one.

    Raises:
        OSError: where the picture is not there.
        ValueError: where it is no picture, a question is empty or too long, or the folder holds no
            vision-language model.
    """
    check_questions(questions)
    image = read_picture(picture)
    return load_model(model_folder).answer([image] * len(questions), questions)


def read_picture(path: Path) -> Image.Image:
    """Reads a picture file whole, as upright RGB.

    Raises:
        OSError: where there is no such file, or it can't be read.
        ValueError: where it is no picture, or a broken one.
    """
    try:
        return to_rgb(decode_image(path.read_bytes()))
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{path}: no such picture; give the path of a picture file"
        ) from None
    except BadImageError as error:
        raise ValueError(f"{path}: not a readable picture ({error.detail})") from None


def load_model(folder: Path) -> VisionLanguageModel:
    """Loads a model, onto the GPU where there is one.

    Raises:
        ValueError: where the folder holds no vision-language model.
    """
    return place_model(VisionLanguageModel.from_pretrained(folder))


class Chat:
    """Questions one after the other about a picture that may change.

    A question is answered by itself: the model was trained on single questions, so that earlier
    ones are no context. The picture is encoded once.

    Args:
        model: with its vision encoder.
        picture: the first picture's path.
    """

    def __init__(self, model: VisionLanguageModel, picture: Path) -> None:
        self.model = model
        self.features: Tensor = model.encode([read_picture(picture)])

    def reply(self, line: str) -> str | None:
        """Answers a question, or follows `/picture FILE` and gives None.

        Raises:
            OSError: where a new picture is not there; the old one stays.
            ValueError: where it is no picture, the question is too long, or a command is not known.
        """
        command, _, rest = line.strip().partition(" ")
        if not command.startswith("/"):
            return self.model.answer_features(self.features, [line.strip()])[0]
        if command != "/picture":
            raise ValueError(f"{command} is no command; there are /picture FILE and /quit")
        if not rest.strip():
            raise ValueError("/picture needs a file: /picture FILE")
        self.features = self.model.encode([read_picture(Path(rest.strip()).expanduser())])
        return None


def run_chat(
    chat: Chat,
    lines: Iterable[str],
    show: Callable[[str], None],
    complain: Callable[[str], None] | None = None,
) -> None:
    """Answers line by line up to the end or `/quit`; empty lines are passed over.

    Args:
        chat: what answers.
        lines: one question or command each.
        show: takes each answer.
        complain: takes an error's message, and the chat goes on; None stops at the first error, as
            a script should that would else ask about the wrong picture.
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

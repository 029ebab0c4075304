"""An exported vision-language model: questions about images, without torch.

    pixels -> vision -> features -> prefix -> visual tokens and visual positions
    visual, prompt -> prefill -> logits and cache; visual, word, cache -> decode -> logits and cache

Questions run one by one, as in `VisionLanguageModel.answer`. The answers are greedy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edge_glass.fusion.edge.config import AGAIN, VLM, GraphError
from edge_glass.fusion.edge.folder import Arrays, ExportedFolder
from edge_glass.fusion.token_scores import Observe

PAST, PRESENT = "past_", "present_"  # the decode graph's inputs and outputs: one per cached tensor


class EdgeVlm:
    """Answers questions about images with the graphs of an exported model."""

    def __init__(self, folder: str | Path, *, precision: str | None = None) -> None:
        """Opens a folder that `edge-glass export onnx` wrote; see `ExportedFolder`."""
        self.folder = ExportedFolder(Path(folder), kind=VLM, precision=precision)
        config = self.folder.config
        self.transform = self.folder.transform()
        self.text: dict[str, Any] = config["text"]
        self.max_positions: int | None = config["max_positions"]
        self.vision, self.prefix = self.folder.graph("vision"), self.folder.graph("prefix")
        self.prefill, self.decode = self.folder.graph("prefill"), self.folder.graph("decode")
        self.tokenizer = self.folder.tokenizer()

    def answer(self, images: Sequence[Image.Image], questions: Sequence[str]) -> list[str]:
        """Answers one question per image; an image that comes again in succession is encoded once.

        Raises:
            ValueError: if the counts differ, or a question is empty or longer than the decoder's
                context.
        """
        if len(images) != len(questions):
            raise ValueError(
                f"found {len(images)} images and {len(questions)} questions; give one image "
                "per question"
            )
        for number, question in enumerate(questions, start=1):
            if not question.strip():
                raise ValueError(
                    f"question {number} of {len(questions)} is empty; write a question"
                )
        answers: list[str] = []
        visual: Arrays = {}
        for number, (image, question) in enumerate(zip(images, questions, strict=True)):
            if number == 0 or image is not images[number - 1]:
                visual = self.encode(image)
            answers.append(self.finish(self.first_logits(visual, question), visual))
        return answers

    def encode(self, image: Image.Image) -> Arrays:
        """Returns what the decoder's graphs read of an image."""
        return self.prefix(self.vision({"pixel_values": self.transform.pixels(image)[None]}))

    def prompt(self, question: str) -> NDArray[np.int64]:
        """Returns the ids (1, T) of a question in the model's chat template."""
        asked = question.strip() if self.text["strip"] else question
        text = self.text["before_question"] + asked + self.text["after_question"]
        ids = self.tokenizer.encode(text, add_special_tokens=False).ids
        return np.array([ids], np.int64)

    def first_logits(self, visual: Arrays, question: str) -> Arrays:
        """Runs the prompt; returns the logits (1, V) of the first word, and the cache."""
        self._check_positions(self.num_positions(question))
        return self.prefill({**visual, "input_ids": self.prompt(question)})

    def num_positions(self, question: str) -> int:
        """Returns the number of positions of the prefix and the prompt."""
        prefix: int = self.folder.config["num_prefix_positions"]
        return prefix + int(self.prompt(question).shape[1])

    def finish(self, found: Arrays, visual: Arrays) -> str:
        """Continues greedily from the result of `first_logits`; returns the answer."""
        words = list(self.words(found, visual))
        return self.decoded(words[:-1] if words[-1] in self.text["stop_ids"] else words).strip()

    def words(
        self,
        found: Arrays,
        visual: Arrays,
        max_new_tokens: int | None = None,
        observe: Observe | None = None,
    ) -> Iterator[int]:
        """Yields the ids of a greedy answer after `first_logits`, the one that ends it included.

        `max_new_tokens` is the most ids; None is as the model was trained. `observe` receives the
        logits of each token, see `token_scores.py`.
        """
        limit = max_new_tokens or self.text["max_new_tokens"]
        for number in range(1, limit + 1):
            word = int(found["logits"][0].argmax())
            if observe is not None:
                observe(found["logits"][0], word)
            yield word
            if word in self.text["stop_ids"] or number == limit:
                return
            past = {
                PAST + name.removeprefix(PRESENT): value
                for name, value in found.items()
                if name.startswith(PRESENT)
            }
            if self._num_cached(past) == self.max_positions:
                return
            found = self.decode({**visual, **past, "input_ids": np.array([[word]], np.int64)})

    def decoded(self, words: Sequence[int]) -> str:
        """Returns the text of ids."""
        return str(self.tokenizer.decode(list(words), skip_special_tokens=True))

    def _num_cached(self, past: Arrays) -> int:
        """Returns the number of positions of a cache."""
        axis: int = self.text["cache_axis"]
        shape: tuple[int, ...] = next((each.shape for each in past.values()), ())
        if not 0 <= axis < len(shape):
            raise GraphError(
                f"{self.prefill.path} gives a cache of shape {shape}, but config.json has the "
                f"cache_axis {axis}; {AGAIN}"
            )
        return shape[axis]

    def _check_positions(self, needed: int) -> None:
        if self.max_positions is not None and needed > self.max_positions:
            raise ValueError(
                f"{needed} positions, but the model has {self.max_positions}; shorten the question"
            )

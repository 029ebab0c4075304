"""A trained vision-language model behind the interface of lmms-eval.

    python -m lmms_eval --model edge_glass --model_args pretrained=models/vlm_qa --tasks vqav2_val

The prompt of a task is the question; the task's limits and stop strings end an answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lmms_eval.api.model import lmms
from PIL import Image

from edge_glass.decoders.sampling import Sampling
from edge_glass.fusion.vlm import VisionLanguageModel


class EdgeGlass(lmms):  # type: ignore[misc, unused-ignore]
    """One image and one question per request.

    Args:
        pretrained: folder of the model.
        batch_size: questions answered at once. At 1 a question gets the same bits alone and among
            others.
        device: "cpu" or "cuda"; None takes a GPU if there is one.
        others: that lmms-eval passes to every model; unused.
    """

    is_simple = True

    def __init__(
        self,
        pretrained: str = "models/vlm_qa",
        batch_size: int | str = 1,
        device: str | None = None,
        **others: Any,
    ) -> None:
        super().__init__()
        del others
        self.number = int(batch_size)
        self.vlm = VisionLanguageModel.from_pretrained(pretrained, device=device)

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """Answers the requests, in their order."""
        answers: list[str] = []
        for start in range(0, len(requests), self.number):
            parts = [request.args for request in requests[start : start + self.number]]
            options = parts[0][1]
            if any(part[1] != options for part in parts):  # a batch has one limit
                raise ValueError("requests of one batch have different options; set batch_size=1")
            answers += self.vlm.answer(
                [self._image(part) for part in parts],
                [part[0].strip() for part in parts],
                batch_size=self.number,
                sampling=_sampling(options),
            )
        return answers

    def _image(self, arguments: tuple[Any, ...]) -> Image.Image:
        _, _, to_images, number, task, split = arguments
        images = to_images(self.task_dict[task][split][number])
        if len(images) != 1 or not isinstance(images[0], Image.Image):
            raise ValueError(
                f"{task}, {split}, document {number}: found {len(images)} visual inputs, expected "
                "one image; choose a task with one image per question"
            )
        return images[0]

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """Refuses tasks that score given answers."""
        raise NotImplementedError(
            f"{len(requests)} requests ask for likelihoods; choose tasks of the type generate_until"
        )

    def generate_until_multi_round(self, requests: Sequence[Any]) -> list[str]:
        """Refuses tasks of several rounds."""
        raise NotImplementedError(
            f"{len(requests)} requests have several rounds; choose tasks of the type generate_until"
        )


def _sampling(options: dict[str, Any]) -> Sampling:
    """Returns the options of a task; greedy unless it asks for samples."""
    until = options.get("until") or ()
    sampled = options.get("do_sample", True) and (options.get("temperature") or 0)
    return Sampling(
        temperature=float(sampled or 0),
        top_p=float(options.get("top_p") or 1.0),
        max_new_tokens=options.get("max_new_tokens"),
        stop=tuple(text for text in ([until] if isinstance(until, str) else until) if text),
    )

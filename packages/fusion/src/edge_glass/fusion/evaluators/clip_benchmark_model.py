"""A trained dual encoder behind the interface of CLIP_benchmark.

    python -m edge_glass.fusion.evaluators.clip_benchmark_model eval --model_type edge_glass \
        --pretrained models/align --model 64 --no_amp --dataset wds/mine --dataset_root folder

`--model` is the dim of the embeddings, or "full". All other arguments are those of CLIP_benchmark;
give `--no_amp`, because it else compares embeddings in bfloat16.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from PIL import Image
from torch import Tensor, nn

from edge_glass.encoders.dual_encoder import DualEncoder
from edge_glass.encoders.matryoshka import truncate

FULL = "full"


class Texts(list[str]):
    """Texts in place of tokens: our text encoder has its own tokenizer."""

    def to(self, device: object) -> Texts:  # noqa: ARG002 - the evaluator's interface
        """Returns the texts; they are on no device."""
        return self


class ClipBenchmarkModel(nn.Module):
    """A dual encoder that takes batches of prepared images, and texts.

    Args:
        model: with its encoders.
        dim: Matryoshka dim of the embeddings; None is the largest.
    """

    def __init__(self, model: DualEncoder, dim: int | None) -> None:
        super().__init__()
        self.model, self.dim = model, dim

    def encode_image(self, pixels: Tensor) -> Tensor:
        """Embeds images (B, 3, H, W), one by one on a CPU, as `DualEncoder.encode_image` does."""
        vision = self.model.vision
        if vision is None:
            raise RuntimeError("the model was loaded without its vision encoder")
        size = 1 if pixels.device.type == "cpu" else len(pixels)
        # the evaluator's autocast (--amp, its default) would change the numbers
        with torch.autocast(pixels.device.type, enabled=False):
            parts = [
                self.model.image_embeddings(vision.encode(part)) for part in pixels.split(size)
            ]
            return truncate(torch.cat(parts), self.dim)

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Embeds texts."""
        device = self.model.logit_scale.device
        with torch.autocast(device.type, enabled=False):
            return self.model.encode_text(texts, truncate_dim=self.dim).to(device)


def load_edge_glass(
    model_name: str, pretrained: str, cache_dir: str | None = None, device: str = "cpu"
) -> tuple[ClipBenchmarkModel, Callable[[Image.Image], Tensor], type[Texts]]:
    """Returns the model, the transform of an image, and the tokenizer, as CLIP_benchmark expects.

    Args:
        model_name: a Matryoshka dim of the model, or "full".
        pretrained: folder of the model.
        cache_dir: unused; the folder has everything.
        device: "cpu" or "cuda".
    """
    del cache_dir
    if model_name != FULL and not model_name.isdecimal():
        raise ValueError(f"--model is {model_name!r}, expected a dim such as 64, or {FULL!r}")
    model = DualEncoder.from_pretrained(pretrained)
    dim = None if model_name == FULL else int(model_name)
    model.config.check_truncate_dim(dim)
    if model.vision is None:
        raise RuntimeError("the model was loaded without its vision encoder")
    wrapped = ClipBenchmarkModel(model, dim).to(device).eval()
    return wrapped, model.vision.transform, Texts


def main() -> None:
    """Runs CLIP_benchmark's own command, with `edge_glass` among its types of models."""
    from clip_benchmark import models

    models.TYPE2FUNC["edge_glass"] = load_edge_glass
    models.MODEL_TYPES.append("edge_glass")
    from clip_benchmark.cli import main as run

    run()


if __name__ == "__main__":
    main()

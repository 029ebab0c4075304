"""The texts of the training split, read when they are needed, and packed."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from edge_glass.encoders.files import sha256_of
from edge_glass.fusion import describing, prompt, start_token
from edge_glass.training.features.cache import prepared_rows
from edge_glass.training.folders import PREPARED
from edge_glass.training.vlm_qa import (
    conversations,
    descriptions,
    packing,
    token_arrays,
    token_store,
)
from edge_glass.training.vlm_qa.token_arrays import TokenArrays, joined_arrays
from edge_glass.training.vlm_qa.token_store import PackedFacts

# what turns rows into tokens and stores them; after a change of these, tokens are made again
SOURCES = (
    conversations, descriptions, packing, token_arrays, token_store,
    describing, prompt, start_token,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class TrainingTexts:
    """Questions, and captions as answers to instructions if `uses_captions`.

    With `knows_captions` a tokenizer also gets the words of captions that are not learned.
    """

    seed: int
    uses_captions: bool
    knows_captions: bool = False

    @cached_property
    def questions(self) -> list[dict[str, Any]]:
        """The rows of questions."""
        return prepared_rows("questions", "train", PREPARED)

    @cached_property
    def captions(self) -> list[dict[str, Any]]:
        """The rows of captions, as rows of questions."""
        if not self.uses_captions:
            return []
        return descriptions.describing_rows(prepared_rows("captions", "train", PREPARED), self.seed)

    def words(self) -> Iterator[str]:
        """Yields the texts of which a tokenizer is built; a pretrained one reads none."""
        for row in (*self.questions, *self.captions):
            yield from filter(None, (row["question"], row["answer"]))
        if self.knows_captions:
            yield from (row["caption"] for row in prepared_rows("captions", "train", PREPARED))

    def mark(self) -> dict[str, Any]:
        """Returns what the packed rows depend on besides the tokenizer and the limits."""
        kinds = ("questions", "captions") if self.uses_captions else ("questions",)
        return {
            "rows": {kind: sha256_of(PREPARED / kind / "train.rows.parquet") for kind in kinds},
            "seed": self.seed if self.uses_captions else None,
            "sources": [inspect.getsource(source) for source in SOURCES],
        }

    def packed(
        self, tokenizer: Any, num_images: int, *, max_questions: int, max_length: int
    ) -> tuple[TokenArrays, PackedFacts]:
        """Tokenises and packs all rows; images of captions count from `num_images` on."""
        left_out = []
        parts = []
        num_learned = 0
        for kind, rows in (("questions", self.questions), ("captions", self.captions)):
            if rows or kind == "questions":
                samples, skipped = packing.pack_questions(
                    rows, tokenizer, max_questions, max_length
                )
                parts.append(samples)
                num_learned += len(rows) - skipped.total()
                left_out += [
                    f"{count} of {len(rows)} {kind} left out: {reason}"
                    for reason, count in sorted(skipped.items())
                ]
        facts = PackedFacts(
            sizes=(len(parts[0]), len(parts[1]) if len(parts) > 1 else 0),
            num_learned=num_learned,
            conversations=conversations.has_conversations(self.questions),
            left_out=left_out,
        )
        if len(parts) == 1:
            return parts[0], facts
        return joined_arrays(parts[0], parts[1], num_images), facts

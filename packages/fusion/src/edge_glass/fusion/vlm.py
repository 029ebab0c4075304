"""The vision-language model: features -> visual tokens -> fusion -> decoder -> answer.

Unusual here: the frozen vision encoder is a neighbour, not a part. Training reads its features
from a cache; `answer` runs it. Several questions over one picture share one visual prefix. And
`answer` runs pictures and questions one by one, so that a question gets the same bits alone and in
any company: kernels sum in another order for another number of rows, and padding moves sums too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from edge_glass.decoders.base import Decoder
from edge_glass.decoders.sampling import generate
from edge_glass.encoders.base import VisionEncoder
from edge_glass.fusion.base import Fusion
from edge_glass.fusion.packing import PADDING, packed_mask, packed_positions
from edge_glass.fusion.prompt import left_padded, prompt_ids
from edge_glass.fusion.visual_tokens import VisualTokens

if TYPE_CHECKING:
    from PIL.Image import Image
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, kw_only=True)
class VlmOutput:
    """What a training step needs.

    Attributes:
        hidden_states: one (B, S, D) a supervision step of the decoder, the last is the answer.
        labels: (B, S), -100 where nothing is learned; the prefix is always -100.
    """

    hidden_states: tuple[Tensor, ...]
    labels: Tensor


class VisionLanguageModel(nn.Module):
    """Answers questions about pictures.

    Args:
        visual_tokens: features (B, P, Din) to (B, N, Dv).
        fusion: brings the visual tokens into the decoder.
        decoder: the language decoder.
        tokenizer: the decoder's tokenizer, with a chat template.
        vision_encoder: only needed where pictures come in, not features.
        max_new_tokens: limit of an answer's length.
        config: what `save_pretrained` writes, as plain data.
    """

    def __init__(
        self,
        *,
        visual_tokens: VisualTokens,
        fusion: Fusion,
        decoder: Decoder,
        tokenizer: PreTrainedTokenizerBase,
        vision_encoder: VisionEncoder | None = None,
        max_new_tokens: int = 16,
        config: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.visual_tokens = visual_tokens
        self.fusion = fusion
        self.decoder = decoder
        self.tokenizer = tokenizer
        # a tuple hides the frozen encoder from parameters() and state_dict(): it is a neighbour
        self._vision_encoder = (vision_encoder,)
        self.max_new_tokens = max_new_tokens
        self.config = config or {}

    def forward(
        self,
        features: Float[Tensor, "B P Din"],
        input_ids: Int[Tensor, "B T"],
        segment_ids: Int[Tensor, "B T"],
        labels: Int[Tensor, "B T"],
    ) -> VlmOutput:
        """Runs packed questions over their pictures.

        Args:
            features: (B, P, Din) from the vision encoder, any float type.
            input_ids: (B, T), the picture's questions and answers one after another.
            segment_ids: (B, T), the number of the question at each position, -1 at padding.
            labels: (B, T), the token where it is to be learned, -100 elsewhere.
        """
        visual = self.visual_tokens(features.float())
        fused = self.fusion(visual, self.decoder.embed(input_ids), (segment_ids != PADDING).long())
        output = self.decoder(
            fused.inputs_embeds,
            packed_mask(segment_ids, fused.prefix_length),
            position_ids=packed_positions(segment_ids, fused.prefix_length),
            prefix_length=fused.prefix_length,
        )
        ignored = labels.new_full((labels.shape[0], fused.prefix_length), -100)
        return VlmOutput(
            hidden_states=output.hidden_states, labels=torch.cat([ignored, labels], dim=1)
        )

    @torch.no_grad()
    def generate(
        self,
        features: Float[Tensor, "B P Din"],
        input_ids: Int[Tensor, "B T"],
        attention_mask: Int[Tensor, "B T"],
    ) -> Int[Tensor, "B M"]:
        """Greedy cached generation from left-padded prompts; returns (B, <= max_new_tokens) ids."""
        visual = self.visual_tokens(features.float())
        fused = self.fusion(visual, self.decoder.embed(input_ids), attention_mask)

        def embed_next(token_ids: Tensor) -> Tensor:
            return self.fusion.extend(visual, self.decoder.embed(token_ids))

        return generate(
            self.decoder,
            fused.inputs_embeds,
            fused.attention_mask,
            embed_next,
            max_new_tokens=self.max_new_tokens,
            eos_token_id=int(self.tokenizer.eos_token_id),
            prefix_length=fused.prefix_length,
        )

    @torch.no_grad()
    def answer_features(
        self, features: Float[Tensor, "B P Din"], questions: Sequence[str]
    ) -> list[str]:
        """Answers one question a row of features, all in one batch.

        In another batch an answer's logits are equal to float rounding, not bit by bit.

        Raises:
            ValueError: where the counts differ, or a question is longer than the decoder's context.
        """
        if len(features) != len(questions):
            raise ValueError(f"{len(features)} pictures but {len(questions)} questions: pair them")
        if not questions:
            return []
        device = next(self.parameters()).device
        prompts = [prompt_ids(self.tokenizer, question) for question in questions]
        pad = self.tokenizer.pad_token_id
        input_ids, attention_mask = left_padded(prompts, int(pad))
        answers = self.generate(
            features.to(device), input_ids.to(device), attention_mask.to(device)
        )
        texts = self.tokenizer.batch_decode(answers, skip_special_tokens=True)
        return [text.strip() for text in texts]

    def answer(
        self, images: Sequence[Image], questions: Sequence[str], *, batch_size: int = 1
    ) -> list[str]:
        """Answers one question a picture.

        Args:
            images: of any size and mode; give one object several times to ask it several questions,
                and it is encoded once.
            questions: as many.
            batch_size: questions at once. One by one a question gets the same bits in any company;
                more at once is faster, and logits are then equal to float rounding.

        Raises:
            ValueError: where the counts differ, a question is empty or longer than the decoder's
                context, or the model was loaded without its encoder.
        """
        check_questions(questions)
        if len(images) != len(questions):
            raise ValueError(f"{len(images)} pictures but {len(questions)} questions: pair them")
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}, expected at least 1")
        answers: list[str] = []
        for start in range(0, len(questions), batch_size):
            part = slice(start, start + batch_size)
            answers += self.answer_features(self.encode(images[part]), questions[part])
        return answers

    @torch.no_grad()
    def encode(self, images: Sequence[Image]) -> Float[Tensor, "B P Din"]:
        """Returns the frozen encoder's features of pictures, (B, P, Din), each encoded alone.

        Of a picture that comes several times in succession the features are computed once.
        """
        (encoder,) = self._vision_encoder
        if encoder is None:
            raise ValueError(
                "this model was loaded without its vision encoder: load it with "
                "VisionLanguageModel.from_pretrained(folder, load_vision_encoder=True)"
            )
        device = next(self.parameters()).device
        encoder.to(device)
        rows: list[Tensor] = []
        for place, image in enumerate(images):
            if place and image is images[place - 1]:
                rows.append(rows[-1])
            else:
                rows.append(encoder(encoder.preprocess([image]).to(device)))
        return torch.cat(rows)

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes config.json, model.safetensors and the tokenizer; atomic."""
        from edge_glass.fusion.checkpoint import save_vlm

        save_vlm(self, Path(folder))

    @staticmethod
    def from_pretrained(
        folder: str | Path, *, load_vision_encoder: bool = True
    ) -> VisionLanguageModel:
        """Loads a folder written by `save_pretrained`, strictly, in eval mode."""
        from edge_glass.fusion.checkpoint import load_vlm

        return load_vlm(Path(folder), load_vision_encoder=load_vision_encoder)


def check_questions(questions: Sequence[str]) -> None:
    """Raises ValueError, with its number, where a question is empty."""
    for number, question in enumerate(questions, start=1):
        if not question.strip():
            raise ValueError(f"question {number} of {len(questions)} is empty; write a question")

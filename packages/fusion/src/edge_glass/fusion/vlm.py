"""The vision-language model: features -> visual tokens -> fusion -> decoder -> answer.

The frozen vision encoder is optional: training reads its features from a cache. `answer` runs it,
and runs images and questions one by one, so a question gets the same bits alone and among others:
kernels sum in a different order for a different number of rows, and padding changes sums too.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from edge_glass.decoders.sampling import Sampling, generate
from edge_glass.encoders.base import VisionEncoder
from edge_glass.encoders.checkpoint import building, check_tensors
from edge_glass.encoders.device import find_device
from edge_glass.encoders.hub import find_model_folder, publish_folder
from edge_glass.fusion.base import FusedInputs, VlmOutput
from edge_glass.fusion.checkpoint import load_vlm, part_tensors, save_vlm
from edge_glass.fusion.compute import autocast
from edge_glass.fusion.generation import generation_arguments
from edge_glass.fusion.packing import PADDING, packed_mask, packed_positions
from edge_glass.fusion.prompt import IGNORED, check_questions, left_padded, prompt_ids
from edge_glass.fusion.start_token import start_id, with_start
from edge_glass.fusion.text_stream import cut_at
from edge_glass.fusion.vlm_config import VlmConfig
from edge_glass.fusion.word_matches import embed_words, with_readings

if TYPE_CHECKING:
    from PIL.Image import Image
    from transformers import PreTrainedTokenizerFast


class VisionLanguageModel(nn.Module):
    """Answers questions about images.

    Attributes:
        tokenizer: the decoder's, with a chat template.
        start_id: the token in front of the image, see `start_token.py`; None for no such token.
        vision_encoder: frozen and not saved; None until `add_vision_encoder` builds it.
    """

    def __init__(
        self,
        config: VlmConfig,
        tokenizer: PreTrainedTokenizerFast,
        device: torch.device | None = None,
    ) -> None:
        """Draws fresh weights from torch's global generator, and puts all parts on one device."""
        super().__init__()
        self.config = config
        self.tokenizer = tokenizer
        self.visual_tokens, self.fusion, self.decoder = config.build(tokenizer, device)
        self.matches = config.build_matches(tokenizer, self.decoder)
        self.vision_encoder: VisionEncoder | None = None
        self.start_id = start_id(tokenizer)
        self.to(device)

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return next(self.parameters()).device

    def autocast(self) -> AbstractContextManager[object]:
        """Returns the context in which the model and its loss compute, see `compute.py`."""
        return autocast(self.device, self.decoder.dtype)

    def see(self, features: Float[Tensor, "B P Din"]) -> Float[Tensor, "B N Dv"]:
        """Returns the visual tokens of images; call it in `autocast`."""
        visual: Tensor = self.visual_tokens(features.to(self.device).float())
        return with_readings(self.decoder, self.matches, visual)

    def embed(self, visual: Float[Tensor, "B N Dv"], input_ids: Int[Tensor, "B T"]) -> Tensor:
        """Returns the embeddings of words, (B, T, D), before the fusion."""
        return embed_words(self.decoder, self.matches, visual, input_ids)

    def fused(
        self,
        visual: Float[Tensor, "B N Dv"],
        input_ids: Int[Tensor, "B T"],
        attention_mask: Int[Tensor, "B T"],
    ) -> FusedInputs:
        """Returns the decoder's inputs: the start token (if there is one), prefix and words."""
        fused: FusedInputs = self.fusion(visual, self.embed(visual, input_ids), attention_mask)
        if self.start_id is None:
            return fused
        start = input_ids.new_full((len(input_ids), 1), self.start_id)
        return with_start(fused, self.decoder.embed(start))

    def forward(
        self,
        features: Float[Tensor, "B P Din"],
        input_ids: Int[Tensor, "B T"],
        segment_ids: Int[Tensor, "B T"],
        labels: Int[Tensor, "B T"],
    ) -> VlmOutput:
        """Runs packed questions or conversations with their images.

        Args:
            features: from the vision encoder, any float type.
            input_ids: the image's conversations one after the other.
            segment_ids: the number of the conversation at each position, `PADDING` at padding.
            labels: the token at positions that are learned, `IGNORED` elsewhere.
        """
        with self.autocast():
            visual = self.see(features)
            fused = self.fused(visual, input_ids, (segment_ids != PADDING).long())
            labels = F.pad(labels, (fused.prefix_length, 0), value=IGNORED)
            output = self.decoder(
                fused.inputs_embeds,
                packed_mask(segment_ids, fused.prefix_length),
                position_ids=packed_positions(segment_ids, fused.prefix_length),
                prefix_length=fused.prefix_length,
                needed=F.pad(labels[:, 1:] != IGNORED, (0, 1)),  # they predict the labels
            )
        return VlmOutput(hidden_states=output.hidden_states, labels=labels, visual=visual)

    @torch.no_grad()
    def generate(
        self,
        features: Float[Tensor, "B P Din"],
        input_ids: Int[Tensor, "B T"],
        attention_mask: Int[Tensor, "B T"],
        sampling: Sampling | None = None,
        examples: Sequence[int] | None = None,
    ) -> Int[Tensor, "B M"]:
        """Continues left-padded prompts with a cache; M <= max_new_tokens; greedy by default.

        `examples` numbers the rows, which decides the noise of sampling; None numbers them from 0.
        """
        with self.autocast():
            arguments = generation_arguments(
                self, features, input_ids, attention_mask, sampling or Sampling(), examples
            )
            return generate(**arguments)

    @torch.no_grad()
    def answer_features(
        self,
        features: Float[Tensor, "B P Din"],
        questions: Sequence[str],
        *,
        histories: Sequence[Sequence[str]] | None = None,
        sampling: Sampling | None = None,
        examples: Sequence[int] | None = None,
    ) -> list[str]:
        """Answers one question per row of features, all in one batch; see `generate`.

        `histories` has the messages before each question, user and assistant in turn. A different
        batch changes logits by float rounding.
        """
        if len(features) != len(questions):
            raise ValueError(
                f"found {len(features)} images and {len(questions)} questions; give one image "
                "per question"
            )
        if not questions:
            return []
        prompts = [
            prompt_ids(self.tokenizer, question, history)
            for question, history in zip(questions, histories or [()] * len(questions), strict=True)
        ]
        input_ids, attention_mask = left_padded(prompts, int(self.tokenizer.pad_token_id))
        answers = self.generate(
            features.to(self.device),
            input_ids.to(self.device),
            attention_mask.to(self.device),
            sampling,
            examples,
        )
        texts = self.tokenizer.batch_decode(answers, skip_special_tokens=True)
        return [cut_at(text, sampling.stop if sampling else ()).strip() for text in texts]

    def answer(
        self,
        images: Sequence[Image],
        questions: Sequence[str],
        *,
        batch_size: int = 1,
        sampling: Sampling | None = None,
    ) -> list[str]:
        """Answers one question per image.

        Args:
            images: of any size and mode; the same object several times in succession is encoded
                once.
            questions: as many as images.
            batch_size: questions per batch; more than 1 is faster, but changes logits by rounding.
            sampling: how words are chosen; None is greedy. The noise of an answer depends on the
                seed and on the number of its question, counted from 0.

        Raises:
            ValueError: if the counts differ, a question is empty or longer than the decoder's
                context, or the model was loaded without its vision encoder.
        """
        check_questions(questions)
        if len(images) != len(questions):
            raise ValueError(
                f"found {len(images)} images and {len(questions)} questions; give one image "
                "per question"
            )
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}, expected at least 1")
        answers: list[str] = []
        for start in range(0, len(questions), batch_size):
            numbers = range(len(questions))[start : start + batch_size]
            part = slice(numbers.start, numbers.stop)
            answers += self.answer_features(
                self.encode(images[part]), questions[part], sampling=sampling, examples=numbers
            )
        return answers

    @torch.no_grad()
    def encode(self, images: Sequence[Image]) -> Float[Tensor, "B P Din"]:
        """Returns the frozen encoder's features, each image alone; one that repeats only once."""
        encoder = self.vision_encoder
        if encoder is None:
            raise ValueError(
                "this model was loaded without its vision encoder; load it with "
                "VisionLanguageModel.from_pretrained(folder), or call add_vision_encoder()"
            )
        rows: list[Tensor] = []
        for number, image in enumerate(images):
            if number and image is images[number - 1]:
                rows.append(rows[-1])
            else:
                rows.append(encoder.encode(encoder.preprocess([image])))
        return torch.cat(rows)

    def add_vision_encoder(self) -> None:
        """Builds the frozen vision encoder on the model's device, unless it is there already."""
        if self.vision_encoder is None:
            self.vision_encoder = self.config.build_vision_encoder().to(self.device)

    def saved_state(self) -> dict[str, Tensor]:
        """Returns the trained parts; of a decoder its LoRA adapters, or all its weights."""
        parts = {
            "visual_tokens": self.visual_tokens.state_dict(),
            "fusion": self.fusion.state_dict(),
            "decoder": self.decoder.saved_state(),
            "matches": {} if self.matches is None else self.matches.state_dict(),
        }
        return {
            f"{part}.{name}": each for part, state in parts.items() for name, each in state.items()
        }

    def load_saved_state(self, tensors: Mapping[str, Tensor], *, where: str) -> None:
        """Loads what `saved_state` returned, strictly; errors name the file `where`."""
        check_tensors(self.saved_state(), tensors, where=where)
        for name in ("visual_tokens", "fusion", "matches"):
            module: nn.Module | None = getattr(self, name)
            if module is not None:
                module.load_state_dict(part_tensors(name, tensors), strict=True)
        self.decoder.load_saved_state(part_tensors("decoder", tensors))

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes config.json, model.safetensors and the tokenizer; see `checkpoint.save_vlm`."""
        save_vlm(Path(folder), self.config, self.tokenizer, self.saved_state())

    def push_to_hub(self, repo_id: str, *, card: str = "", private: bool = False) -> str:
        """Publishes the model on the Hugging Face Hub; see `DualEncoder.push_to_hub`."""
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            return publish_folder(Path(folder), repo_id, card=card, private=private)

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        *,
        revision: str | None = None,
        load_vision_encoder: bool = True,
        device: str | None = "cpu",
    ) -> VisionLanguageModel:
        """Loads a folder written by `save_pretrained`, strictly, in evaluation mode.

        `folder` may be a hub id, with its commit as `revision`. `load_vision_encoder` also builds
        the frozen encoder, which `answer` needs. All parts are on `device`, see `find_device`.

        Raises:
            ValueError: if the folder holds no vision-language model, or a broken one.
        """
        place, folder = find_device(device), find_model_folder(folder, revision)
        config, tokenizer, tensors = load_vlm(folder)
        # Fresh weights are drawn and then overwritten: the caller's generator stays untouched.
        with building(folder), torch.random.fork_rng(devices=[]):
            model = cls(config, tokenizer, place)
        model.load_saved_state(tensors, where=str(folder / "model.safetensors"))
        if load_vision_encoder:
            with building(folder):
                model.add_vision_encoder()
        return model.eval()

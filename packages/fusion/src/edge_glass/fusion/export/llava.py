"""The format `llava`: a model as `LlavaForConditionalGeneration` of transformers reads it.

    edge-glass export llava models/vlm_qa OUT

It needs visual tokens of kind llava, a CLIP tower at its own size and grid, and a decoder of the
family Qwen2 or Llama. LoRA adapters are merged into the decoder. The folder holds all weights, the
processor and the chat template. The image stands in front of the first turn, as in training.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from edge_glass.decoders.causal_lm import CausalLmDecoder
from edge_glass.encoders.towers.pretrained import locate_model, named_model, no_progress_bar
from edge_glass.encoders.towers.transformers_vision import OPTION, TransformersVisionEncoder
from edge_glass.fusion.prompt import prompt_ids
from edge_glass.fusion.vlm import VisionLanguageModel

IMAGE = "<image>"
FAMILIES = ("qwen2", "llama")
# Templates of decoders take texts; those of processors take lists of images and texts.
_PROLOGUE = (
    "{%- set turns = namespace(all=[]) -%}"
    "{%- for message in messages -%}"
    "{%- if message['content'] is string -%}{%- set turns.all = turns.all + [message] -%}"
    "{%- else -%}{%- set found = namespace(text='') -%}"
    "{%- for part in message['content'] -%}"
    "{%- if part['type'] == 'text' -%}{%- set found.text = found.text + part['text'] -%}"
    "{%- else -%}{{- IMAGE -}}{%- endif -%}{%- endfor -%}"
    "{%- set turns.all = turns.all + [{'role': message['role'], 'content': found.text}] -%}"
    "{%- endif -%}{%- endfor -%}"
    "{%- set messages = turns.all -%}"
)
_QUESTIONS = ("What is it?", "  how many\nare there", "a")


def write_folder(model: Path, folder: Path) -> None:
    """Writes a vision-language model, its processor and its chat template.

    Raises:
        ValueError: if the folder holds no vision-language model, or LLaVA can't express it.
    """
    vlm = VisionLanguageModel.from_pretrained(model)
    decoder, encoder = check_model(vlm, where=str(model))
    language: Any = decoder.model
    if decoder.lora is not None:
        language = language.merge_and_unload()
    processor = make_processor(vlm, encoder)
    check_prompts(vlm, processor, where=str(model))
    image_id = int(processor.image_token_id)
    added = image_id >= decoder.vocab_size
    if added:
        add_row(language, image_id)
    exported = assemble(vlm, encoder, language, image_id)
    generation = exported.generation_config
    generation.eos_token_id = [int(vlm.tokenizer.eos_token_id), *decoder.stop_ids]
    generation.pad_token_id = int(vlm.tokenizer.pad_token_id)
    generation.max_new_tokens = vlm.config.max_new_tokens
    if added:
        generation.suppress_tokens = [image_id]
    exported.save_pretrained(folder)
    processor.save_pretrained(folder)


def check_model(
    vlm: VisionLanguageModel, *, where: str
) -> tuple[CausalLmDecoder, TransformersVisionEncoder]:
    """Returns the decoder and the encoder of a model that LLaVA can express."""
    decoder, encoder = vlm.decoder, vlm.vision_encoder
    if vlm.visual_tokens.llava_projector is None:
        raise ValueError(
            f"{where}: visual_tokens.kind is {vlm.config.visual_tokens.kind}; train it with kind: "
            "llava and the fusion concat with projector: none"
        )
    if not isinstance(encoder, TransformersVisionEncoder) or encoder.family.model_class != (
        "CLIPVisionModel"
    ):
        raise ValueError(
            f"{where}: the vision encoder {vlm.config.vision_encoder.name} is not the CLIP tower "
            "with all its patches; train it with vision_encoder: clip_vit_l14_336 and "
            "encode.pool: none"
        )
    own: Any = encoder.model.config
    if encoder.image_size != own.image_size:
        raise ValueError(
            f"{where}: the image size is {encoder.image_size}, but LLaVA runs CLIP at its own "
            f"{own.image_size}; train it at this size"
        )
    if encoder.config.pad_color == "white" and encoder.config.fit == "pad":
        raise ValueError(
            f"{where}: pad_color is white, but LLaVA pads with the mean colour; train it with "
            "pad_color: mean"
        )
    if not isinstance(decoder, CausalLmDecoder) or decoder.family not in FAMILIES:
        raise ValueError(
            f"{where}: the decoder {vlm.config.decoder.name} is of no family among "
            f"{', '.join(FAMILIES)}; train it with a decoder such as qwen2_5_0_5b"
        )
    if decoder.quantization != "none":
        raise ValueError(
            f"{where}: the decoder is quantised to {decoder.quantization}, so that adapters can't "
            "be merged without loss; train it with quantization: none"
        )
    return decoder, encoder


def make_processor(vlm: VisionLanguageModel, encoder: TransformersVisionEncoder) -> Any:
    """Returns a LlavaProcessor with the pixels and prompts of the model."""
    from transformers import LlavaProcessor
    from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

    tokenizer: Any = vlm.tokenizer
    if IMAGE not in tokenizer.get_vocab():
        tokenizer.add_special_tokens(
            {"extra_special_tokens": [*tokenizer.extra_special_tokens, IMAGE]}
        )
    size, transform = encoder.image_size, encoder.transform
    images: Any = LlavaImageProcessorPil(
        do_pad=transform.fit == "pad",
        size={"shortest_edge": size},
        crop_size={"height": size, "width": size},
        image_mean=list(transform.mean),
        image_std=list(transform.std),
        resample={"lanczos": 1, "bilinear": 2, "bicubic": 3}[transform.resample],
    )
    start = "" if vlm.start_id is None else "{{- bos_token -}}{%- set bos_token = '' -%}"
    template = start + _PROLOGUE.replace("IMAGE", f"'{IMAGE}'") + str(tokenizer.chat_template)
    processor: Any = LlavaProcessor
    return processor(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=encoder.patch,
        vision_feature_select_strategy="default",
        chat_template=template,
        image_token=IMAGE,
        num_additional_image_tokens=1,
    )


def check_prompts(vlm: VisionLanguageModel, processor: Any, *, where: str) -> None:
    """Refuses a tokenizer that writes a question in different tokens behind an image."""
    start = [] if vlm.start_id is None else [vlm.start_id]
    for question in _QUESTIONS:
        messages = [
            {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}
        ]
        text = processor.apply_chat_template(messages, add_generation_prompt=True)
        found = vlm.tokenizer(text, add_special_tokens=False)["input_ids"]
        expected = [*start, int(processor.image_token_id), *prompt_ids(vlm.tokenizer, question)]
        if list(found) != expected:
            raise ValueError(
                f"{where}: behind an image the tokenizer writes {question!r} as {list(found)}, "
                f"expected {expected}; train it with chat_template: turn"
            )


def add_row(language: Any, image_id: int) -> None:
    """Adds zero rows up to the image's token to embedding and vocabulary projection."""
    old = language.get_input_embeddings().weight.shape[0]
    language.resize_token_embeddings(image_id + 1, mean_resizing=False)
    with torch.no_grad():
        language.get_input_embeddings().weight[old:] = 0
        language.get_output_embeddings().weight[old:] = 0


def assemble(
    vlm: VisionLanguageModel, encoder: TransformersVisionEncoder, language: Any, image_id: int
) -> Any:
    """Returns a LlavaForConditionalGeneration of the model's own modules."""
    from transformers import CLIPVisionModel, LlavaConfig, LlavaForConditionalGeneration

    place, local = locate_model(named_model(encoder.config.model, OPTION), encoder.config.revision)
    with no_progress_bar():
        # the encoder has dropped the layers that it does not read
        tower: Any = CLIPVisionModel.from_pretrained(
            place,
            revision=encoder.config.revision or "main",
            local_files_only=local,
            dtype=torch.float32,
        )
    layer, depth = encoder.config.layer, tower.config.num_hidden_layers
    config: Any = LlavaConfig(
        vision_config=tower.config,
        text_config=language.config,
        image_token_index=image_id,
        image_seq_length=encoder.grid[0] * encoder.grid[1],
        projector_hidden_act="gelu",
        vision_feature_select_strategy="default",
        vision_feature_layer=layer if layer < 0 else layer - depth - 1,
        tie_word_embeddings=language.config.tie_word_embeddings,
    )
    with torch.device("meta"):
        exported: Any = LlavaForConditionalGeneration(config)
    projector: Any = vlm.visual_tokens.llava_projector
    parts: Any = exported.model
    parts.vision_tower = tower
    parts.language_model = language.model
    parts.multi_modal_projector.linear_1 = projector[0]
    parts.multi_modal_projector.linear_2 = projector[2]
    exported.lm_head = language.lm_head
    return exported.to(language.get_input_embeddings().weight.dtype).eval()

"""A model of kind llava in transformers' own LLaVA: the same logits and the same words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from edge_glass.decoders.tokenizer import word_tokenizer
from edge_glass.encoders.components import component
from edge_glass.fusion.export.formats import export_model
from edge_glass.fusion.prompt import prompt_ids
from edge_glass.fusion.vlm import VisionLanguageModel
from edge_glass.fusion.vlm_config import VlmConfig

WORDS = "how many dogs are there ? where is the cat what colour it two top left dark blue green"
QUESTIONS = ("how many dogs are there?", "where is the cat?", "what colour is it?")
TEXT_SHAPE: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "initializer_range": 0.4,
    "bos_token_id": None,
    "eos_token_id": 1,
    "pad_token_id": 0,
}
SIZE = 28


def write_clip(folder: Path) -> None:
    from transformers import CLIPVisionConfig, CLIPVisionModel

    shape = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3}
    CLIPVisionModel(
        CLIPVisionConfig(
            **shape, num_attention_heads=2, image_size=SIZE, patch_size=7, initializer_range=0.3
        )
    ).save_pretrained(folder)


def write_model(
    folder: Path,
    family: str,
    *,
    start: bool = False,
    tied: bool = False,
    spare: int = 0,
    **vision: Any,
) -> Path:
    """Writes tiny CLIP and language models, and a model of ours over them with LoRA."""
    import transformers

    torch.manual_seed(0)
    write_clip(folder / "clip")
    tokenizer = word_tokenizer([WORDS], 100)
    if start:
        tokenizer.add_special_tokens({"bos_token": "<s>"})
        tokenizer.chat_template = "{{ bos_token }}" + str(tokenizer.chat_template)
    shape = {**TEXT_SHAPE, "vocab_size": len(tokenizer) + spare, "tie_word_embeddings": tied}
    config = getattr(transformers, f"{family}Config")(**shape)
    getattr(transformers, f"{family}ForCausalLM")(config).save_pretrained(folder / "language")
    tokenizer.save_pretrained(folder / "language")
    decoder = {"model": str(folder / "language"), "lora": {"rank": 4, "dropout": 0.0}}
    values = {
        "format": "edge-glass-vlm/2",
        "vision_encoder": {
            "name": "clip_vit_l14_336",
            "options": {
                "model": str(folder / "clip"),
                "revision": None,
                "image_size": SIZE,
                **vision,
            },
        },
        "image_size": SIZE,
        "input_width": 16,
        "grid": [4, 4],
        "pooling": None,
        "fusion": {"name": "concat", "options": {"projector": "none"}},
        "decoder": {"name": "causal_lm", "options": decoder},
        "visual_tokens": {"kind": "llava", "width": 32},
        "max_new_tokens": 12,
    }
    built = component("decoder", "causal_lm", decoder, where="test").build_tokenizer([])
    model = VisionLanguageModel(VlmConfig.from_dict(values, where="test"), built)
    with torch.no_grad():
        for name, weight in model.decoder.named_parameters():
            if "lora_" in name:  # as training would
                weight.add_(0.05 * torch.randn_like(weight))
        for weight in model.visual_tokens.parameters():
            weight.mul_(4)
    model.save_pretrained(folder / "model")
    return folder / "model"


def noise(width: int = SIZE, height: int = SIZE) -> Image.Image:
    return Image.fromarray(
        np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    )


def theirs_for(folder: Path, question: str, image: Image.Image) -> tuple[Any, Any]:
    """Returns transformers' model and its inputs, from the folder alone."""
    from transformers import AutoProcessor, LlavaForConditionalGeneration

    processor: Any = AutoProcessor.from_pretrained(folder)
    content = [{"type": "image", "image": image}, {"type": "text", "text": question}]
    inputs = processor.apply_chat_template(
        [{"role": "user", "content": content}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
    return LlavaForConditionalGeneration.from_pretrained(folder).eval(), inputs


@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("Qwen2", {"tied": True, "fit": "crop"}),
        ("Llama", {"start": True, "layer": -1}),
        ("Qwen2", {"spare": 3}),
    ],
)
def test_logits_and_words_are_those_of_transformers(
    tmp_path: Path, family: str, options: dict[str, Any]
) -> None:
    pytest.importorskip("peft")
    folder = write_model(tmp_path, family, **options)
    export_model("llava", folder, tmp_path / "out")
    ours, image = VisionLanguageModel.from_pretrained(folder), noise()
    features = ours.encode([image])
    answers = set()
    for question in QUESTIONS:
        model, inputs = theirs_for(tmp_path / "out", question, image)
        ids = torch.tensor([prompt_ids(ours.tokenizer, question)])
        ones = torch.ones_like(ids)
        with torch.no_grad():
            fused = ours.fused(ours.visual_tokens(features), ids, ones)
            hidden = ours.decoder(fused.inputs_embeds, fused.attention_mask).hidden_states[-1]
            expected = ours.decoder.project(hidden)
            found = model(**inputs).logits
            words = model.generate(**inputs, do_sample=False)[:, inputs["input_ids"].shape[1] :]
        # float32 in a different order: merged adapters, and pixels that are scaled in two steps
        torch.testing.assert_close(found[..., : expected.shape[-1]], expected, rtol=0, atol=1e-4)
        own = ours.generate(features, ids, ones)
        assert words.tolist() == own.tolist()
        answers.add(tuple(words[0].tolist()))
    assert len(answers) == len(QUESTIONS)  # questions matter
    other = ours.visual_tokens(ours.encode([Image.new("RGB", (SIZE, SIZE))]))
    assert (other - ours.visual_tokens(features)).abs().max() > 0.01  # images matter


@pytest.mark.parametrize(
    ("fit", "size", "limit"),
    [
        ("pad", (SIZE, SIZE), 1e-5),  # the same sums in a different order
        ("crop", (SIZE, SIZE), 1e-5),
        # LLaVA resizes before it cuts, ours cuts before it resizes: 0.6 pixels at this small size
        ("crop", (64, 48), None),
        # LLaVA pads before it resizes, so its bars end half a pixel later
        ("pad", (64, 48), None),
    ],
)
def test_pixels_are_those_of_the_encoder(
    tmp_path: Path, fit: str, size: tuple[int, int], limit: float | None
) -> None:
    pytest.importorskip("peft")
    from transformers import AutoProcessor

    folder = write_model(tmp_path, "Qwen2", fit=fit)
    export_model("llava", folder, tmp_path / "out")
    encoder = VisionLanguageModel.from_pretrained(folder).vision_encoder
    assert encoder is not None
    slope = Image.linear_gradient("L")
    turned = slope.transpose(Image.Transpose.ROTATE_90)
    image = Image.merge("RGB", [slope, turned, slope]).resize(size)
    processor: Any = AutoProcessor.from_pretrained(tmp_path / "out")
    found = processor.image_processor(image, return_tensors="pt")["pixel_values"]
    differences = (found - encoder.preprocess([image])).abs()
    if limit is None:
        assert differences.mean() < 0.2, differences.mean()
    else:
        assert differences.max() <= limit


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"image_size": 14, "grid": [2, 2]},
            "image size is 14, but LLaVA runs CLIP at its own",
        ),
        ({"grid": [2, 2]}, r"is not the CLIP tower with all its patches; .*encode\.pool: none"),
    ],
)
def test_what_llava_can_not_express_is_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    pytest.importorskip("peft")
    path = write_model(tmp_path, "Qwen2") / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=message) as error:
        export_model("llava", tmp_path / "model", tmp_path / "out")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_visual_tokens_of_a_different_kind_are_refused(vlm_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"kind is both; train it with kind: llava"):
        export_model("llava", vlm_folder, tmp_path / "out")

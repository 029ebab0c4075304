"""Tiny models in the real layouts of the paper's recipe, and a fetched PixMo of a few images."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
from tokenizers.models import BPE

COLOURS = ["red", "green", "blue", "yellow", "purple", "orange", "black", "pink"]
WORDS = ["a", "disc", "in", "number", "what", "colour", "is", "it", "the", "image", "shows", "?"]

# as Qwen2.5-Instruct writes turns, with its system prompt
CHAT_TEMPLATE = """\
{%- if messages[0]['role'] == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
{%- else %}
    {{- '<|im_start|>system\\nYou are Qwen. You are a helpful assistant.<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role in ('user', 'assistant') %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""


def write_clip(folder: Path) -> None:
    """CLIP ViT at 336 px with patches of 14 px: 24 x 24 of them, as in ViT-L/14-336."""
    from transformers import CLIPConfig, CLIPModel

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2}
    vision = {**sizes, "num_hidden_layers": 3, "image_size": 336, "patch_size": 14}
    text = {**sizes, "num_hidden_layers": 1, "bos_token_id": 0, "eos_token_id": 2}
    config = CLIPConfig(vision_config=vision, text_config=text, projection_dim=16)
    CLIPModel(config).save_pretrained(folder)
    processor = {
        "crop_size": {"height": 336, "width": 336},
        "do_center_crop": True, "do_convert_rgb": True, "do_normalize": True,
        "do_rescale": True, "do_resize": True,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_processor_type": "CLIPImageProcessor",
        "image_std": [0.26862954, 0.26130258, 0.27577711],
        "resample": 3, "rescale_factor": 0.00392156862745098, "size": {"shortest_edge": 336},
    }  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))


def write_mpnet(folder: Path) -> None:
    """A SentenceTransformer as all-mpnet-base-v2: MPNet, mean pooling, normalisation."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling
    from transformers import MPNetConfig, MPNetModel, MPNetTokenizer

    torch.manual_seed(0)
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    digits = [str(digit) for digit in range(10)]
    tokens = ["<s>", "<pad>", "</s>", "[UNK]", *COLOURS, *WORDS, *letters, *digits]
    tokens += [f"##{each}" for each in (*letters, *digits)]
    vocab = {token: number for number, token in enumerate([*dict.fromkeys(tokens), "<mask>"])}
    plain = folder.with_name(f"{folder.name}-plain")
    config = MPNetConfig(
        vocab_size=len(vocab), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=514,
    )  # fmt: skip
    MPNetModel(config).save_pretrained(plain)
    MPNetTokenizer(vocab=vocab, model_max_length=512).save_pretrained(plain)
    modules = [Transformer(str(plain), max_seq_length=384), Pooling(32, pooling_mode="mean")]
    SentenceTransformer(modules=[*modules, Normalize()], device="cpu").save(str(folder))


def write_qwen(folder: Path) -> None:
    """Qwen2.5-Instruct in bfloat16: byte-level BPE, its special tokens and its chat template."""
    from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen2Tokenizer

    torch.manual_seed(0)
    model = Tokenizer(BPE())
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    model.train_from_iterator([" ".join([*COLOURS, *WORDS])] * 4, trainer)
    parts = json.loads(model.to_str())["model"]
    tokenizer = Qwen2Tokenizer(
        vocab=parts["vocab"],
        merges=[tuple(pair) for pair in parts["merges"]],
        eos_token="<|im_end|>",
        extra_special_tokens=["<|im_start|>"],
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    tokenizer.save_pretrained(folder)
    config = Qwen2Config(
        vocab_size=len(tokenizer) + 8, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=False,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    Qwen2ForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)


def write_models(folder: Path) -> None:
    """The three models of the paper's recipe, with random weights."""
    write_clip(folder / "clip")
    write_mpnet(folder / "mpnet")
    write_qwen(folder / "qwen")


def photo(number: int) -> bytes:
    """A JPEG of a coloured disc on noise; no two are near duplicates."""
    draw = np.random.default_rng(number)
    height, width = 80 + number % 24, 112
    pixels = np.kron(draw.integers(0, 256, (8, 8, 3)), np.ones((16, 16, 1)))[:height, :width]
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "JPEG", quality=90)
    return file.getvalue()


def write_pixmo(folder: Path, number: int) -> None:
    """What `edge-glass fetch` writes for pixmo-cap and pixmo-cap-qa: links, texts and bytes."""
    links = [f"https://example.org/{each}.jpg" for each in range(number)]
    names = [COLOURS[each % len(COLOURS)] for each in range(number)]
    images = [{"bytes": photo(each), "path": None} for each in range(number)]
    caption = [f"the image shows a {name} disc, number {n}" for n, name in enumerate(names)]
    cap = {
        "image_url": links, "caption": caption,
        "transcripts": [[f"it is {name}"] for name in names], "image": images,
    }  # fmt: skip
    twice = {"image_url": links * 2, "image": images * 2}
    questions = ("what colour is it?", "the number?")
    asked = [f"[USER] {text} [ASSISTANT]" for text in questions for _ in range(number)]
    answers = [f"it is {name}" for name in names] + [f"number {n}" for n in range(number)]
    tables = {"cap": cap, "cap_qa": {**twice, "question": asked, "answer": answers}}
    for name, columns in tables.items():
        (folder / name).mkdir(parents=True)
        table = pa.table(columns)
        pq.write_table(table, folder / name / "00000-of-00001.parquet", row_group_size=32)

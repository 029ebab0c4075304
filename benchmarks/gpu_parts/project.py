"""A project of the paper's recipe: random weights of the real sizes, drawn images, random words.

Texts are random words, so that each token is one word and lengths are known. Images are smooth
noise of 640 x 480 pixels in JPEG, about as large as those of a photograph.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
import random
import types
import typing
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
NUM_WORKERS = 12  # that decode


@dataclass(frozen=True, kw_only=True)
class Size:
    """Sizes of models and data, and how long is measured."""

    images: int
    captions: int
    clip: Mapping[str, int]
    mpnet: Mapping[str, int]
    large: Mapping[str, int]
    small: Mapping[str, int]
    image_size: int
    lora_rank: int
    question_words: int
    answer_words: int
    steps: int
    batch_size: int
    microbatch: int
    align_batch: int
    device: str
    dtype: str


QWEN2_5_7B = {  # sizes of Qwen/Qwen2.5-7B-Instruct
    "vocab_size": 152_064, "hidden_size": 3584, "intermediate_size": 18_944,
    "num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4,
    "max_position_embeddings": 32_768,
}  # fmt: skip
FULL = Size(
    images=3072, captions=1024,
    clip={"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24,
          "num_attention_heads": 16},
    mpnet={"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
           "num_attention_heads": 12},
    large=QWEN2_5_7B,
    small={**QWEN2_5_7B, "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 4,
           "num_attention_heads": 8, "num_key_value_heads": 2},
    image_size=336, lora_rank=64, question_words=16, answer_words=48, steps=8, batch_size=16,
    microbatch=8, align_batch=512, device="cuda", dtype="bfloat16",
)  # fmt: skip
_TINY = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4}
_TINY_QWEN = {**_TINY, "vocab_size": 256, "num_hidden_layers": 2, "num_key_value_heads": 2,
              "max_position_embeddings": 512}  # fmt: skip
TINY = Size(
    images=20, captions=20, clip={**_TINY, "num_hidden_layers": 2},
    mpnet={**_TINY, "num_hidden_layers": 1}, large=_TINY_QWEN, small=_TINY_QWEN, image_size=56,
    lora_rank=4, question_words=4, answer_words=4, steps=2, batch_size=4, microbatch=2,
    align_batch=8, device="cpu", dtype="float32",
)  # fmt: skip


def photo(number: int) -> bytes:
    """Returns smooth noise as JPEG bytes."""
    import numpy as np
    from PIL import Image

    pixels = np.random.default_rng(number).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).resize((640, 480), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=90)
    return file.getvalue()


def words(number: int, count: int) -> str:
    """Returns random words of one token each."""
    return " ".join(random.Random(number).choices([f"w{each}" for each in range(200)], k=count))


def write_data(folder: Path, size: Size) -> None:
    """Writes what `edge-glass fetch` writes for pixmo-cap and pixmo-cap-qa."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with ProcessPoolExecutor(min(NUM_WORKERS, os.cpu_count() or 1)) as pool:
        photos = list(pool.map(photo, range(size.images), chunksize=16))
    images = [{"bytes": each, "path": None} for each in photos]
    links = [f"https://example.org/{number}.jpg" for number in range(size.images)]
    n = size.captions
    caption = [words(number, 40) for number in range(n)]
    cap = {"image_url": links[:n], "caption": caption,
           "transcripts": [[each] for each in caption], "image": images[:n]}  # fmt: skip
    questions = [words(10**6 + each, size.question_words) for each in range(5 * size.images)]
    # each second image has shorter answers, so that batches have two lengths
    answers = [
        words(10**7 + each, size.answer_words - size.answer_words // 6 * (each // 5 % 2))
        for each in range(5 * size.images)
    ]
    asked = [f"[USER] {question} [ASSISTANT]" for question in questions]
    five = [number // 5 for number in range(5 * size.images)]
    cap_qa = {"image_url": [links[each] for each in five], "question": asked, "answer": answers,
              "image": [images[each] for each in five]}  # fmt: skip
    for name, columns in (("cap", cap), ("cap_qa", cap_qa)):
        (folder / name).mkdir(parents=True)
        table = pa.table(columns)
        pq.write_table(table, folder / name / "00000-of-00001.parquet", row_group_size=320)


def write_clip(folder: Path, size: Size, device: str) -> None:
    """CLIP with random weights and the real one's preprocessing."""
    import torch
    from transformers import CLIPConfig, CLIPModel

    vision = {**size.clip, "image_size": size.image_size, "patch_size": 14}
    text = {"hidden_size": 32, "intermediate_size": 32, "num_attention_heads": 1,
            "num_hidden_layers": 1}  # fmt: skip
    with torch.device(device):
        model = CLIPModel(CLIPConfig(vision_config=vision, text_config=text, projection_dim=16))
    model.save_pretrained(folder)
    processor = {
        "crop_size": {"height": size.image_size, "width": size.image_size},
        "do_center_crop": True, "do_convert_rgb": True, "do_normalize": True,
        "do_rescale": True, "do_resize": True,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_processor_type": "CLIPImageProcessor",
        "image_std": [0.26862954, 0.26130258, 0.27577711],
        "resample": 3, "rescale_factor": 1 / 255, "size": {"shortest_edge": size.image_size},
    }  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))


def write_mpnet(folder: Path, size: Size) -> None:
    """A SentenceTransformer as all-mpnet-base-v2."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling
    from transformers import MPNetConfig, MPNetModel, MPNetTokenizer

    tokens = ["<s>", "<pad>", "</s>", "[UNK]", "w", *(f"##{each}" for each in range(10)), "<mask>"]
    plain = folder.with_name("mpnet-plain")
    MPNetModel(
        MPNetConfig(vocab_size=len(tokens), max_position_embeddings=514, **size.mpnet)
    ).save_pretrained(plain)
    vocab = {token: number for number, token in enumerate(tokens)}
    MPNetTokenizer(vocab=vocab, model_max_length=512).save_pretrained(plain)
    pooling = Pooling(size.mpnet["hidden_size"], pooling_mode="mean")
    modules = [Transformer(str(plain), max_seq_length=384), pooling, Normalize()]
    SentenceTransformer(modules=modules, device="cpu").save(str(folder))


def write_qwen(folder: Path, sizes: Mapping[str, int], device: str) -> None:
    """Qwen2.5 with random weights in bfloat16, drawn on the device, and a word tokenizer."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    from edge_glass.decoders.tokenizer import word_tokenizer

    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device(device):
            model = Qwen2ForCausalLM(Qwen2Config(tie_word_embeddings=False, **sizes))
    finally:
        torch.set_default_dtype(torch.float32)
    model.save_pretrained(folder)
    every = " ".join(f"w{each}" for each in range(200))
    word_tokenizer([every], max_vocab=256).save_pretrained(folder)


def load(scratch: Path, size: Size, **changes: Any) -> Any:
    """Returns `params.yaml` at scale paper with this machine's models, and further changes.

    A key of `changes` such as `vlm_qa__paper__steps` is a place in the file.
    """
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    place: dict[str, Any] = {
        "scale": "paper", "num_threads": 1, "device": size.device, "reproducibility": "native",
        "data": "pixmo_cap",
        "data_folder": str(scratch / "data"),
        "vision_encoder": "clip_vit_l14_336",
        "vision_encoders__clip_vit_l14_336__model": str(scratch / "clip"),
        "vision_encoders__clip_vit_l14_336__revision": None,
        "text_encoder": "all_mpnet_base_v2",
        "text_encoders__all_mpnet_base_v2__model": str(scratch / "mpnet"),
        "text_encoders__all_mpnet_base_v2__revision": None,
        "decoder": "qwen2_5_7b",
        "decoders__qwen2_5_7b__model": str(scratch / "large"),
        "decoders__qwen2_5_7b__revision": None,
        "decoders__qwen2_5_7b__license": None,
        "decoders__qwen2_5_7b__lora__rank": size.lora_rank,
        "decoders__qwen2_5_7b__dtype": size.dtype,
        "prepare__paper__num_workers": min(NUM_WORKERS, os.cpu_count() or 1),
        "prepare__paper__near_duplicates": "keep",
        "prepare__paper__near_duplicate_distance": None,
        "prepare__paper__shares": {"train": 0.8, "val": 0.2},
        "encode__paper__caption_image_size": size.image_size,
        "encode__paper__question_image_size": size.image_size,
        "vlm_qa__paper__visual_tokens__kind": "grid",  # the pooling of `align` adds four tokens
        "vlm_qa__paper__optim__warmup_steps": 0,
        "vlm_qa__paper__checkpoint": "last",
        "vlm_qa__paper__validation_steps": 0,
        "vlm_qa__paper__num_workers": 0 if size.device == "cpu" else 4,
        "vlm_qa__paper__log_steps": 1,
        "vlm_qa__paper__steps": size.steps,
        "vlm_qa__paper__batch_size": size.batch_size,
        "vlm_qa__paper__num_microbatches": size.batch_size // size.microbatch,
        **changes,
    }  # fmt: skip
    for name, value in place.items():
        *tables, last = name.split("__")
        table = raw
        for each in tables:
            table = table[each]
        table[last] = value
    return typed_params(raw)


def typed_params(raw: dict[str, Any]) -> Any:
    """Returns `Params` of the content of the file, without checks, which need pydantic."""
    from edge_glass.encoders.components import Component, config_class
    from edge_glass.training.params import KINDS, LAUNCH_CONFIGS, STAGES, DatasetConfig, Params

    scale = raw["scale"]
    parts: dict[str, Any] = {
        kind: Component(
            name=raw[kind], config=built(config_class(kind, raw[kind]), raw[table][raw[kind]])
        )
        for kind, table in KINDS.items()
    }
    parts |= {stage: built(config, raw[stage][scale]) for stage, config in STAGES.items()}
    launch, names = raw["launch"], ("seed", "scale", "num_threads", "device", "reproducibility",
                                    "features", "data_folder")  # fmt: skip
    return Params(
        **{name: raw[name] for name in names},
        launch=Component(
            name=launch, config=built(LAUNCH_CONFIGS[launch], raw["launches"][launch])
        ),
        log_with=(), data_name=raw["data"], data=built(DatasetConfig, raw["datasets"][raw["data"]]),
        raw=raw, **parts,
    )  # fmt: skip


def built(config: Any, options: Mapping[str, Any]) -> Any:
    """Returns a config dataclass of plain options: tables become dataclasses, lists tuples."""
    hints = typing.get_type_hints(config)
    return config(**{name: _value(hints[name], value) for name, value in options.items()})


def _value(hint: Any, value: Any) -> Any:
    if isinstance(value, list):
        return tuple(value)
    if isinstance(value, dict):
        kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
        for kind in kinds:
            if dataclasses.is_dataclass(kind):
                return built(kind, value)
    return value

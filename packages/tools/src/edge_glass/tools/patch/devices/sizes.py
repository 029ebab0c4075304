"""How much memory a model's weights take: parameters × bytes, and where each number comes from."""

from __future__ import annotations

import re
from dataclasses import dataclass

GIB = 2**30

# Parameter counts, as the published checkpoints have them.
KNOWN_PARAMETERS = {
    "Qwen/Qwen2.5-0.5B-Instruct": 494_032_768,
    "Qwen/Qwen2.5-1.5B-Instruct": 1_543_714_304,
    "Qwen/Qwen2.5-3B-Instruct": 3_085_938_688,
    "Qwen/Qwen2.5-7B-Instruct": 7_615_616_512,
    "openai/clip-vit-large-patch14-336": 427_944_193,
    "sentence-transformers/all-MiniLM-L6-v2": 22_713_216,
    "sentence-transformers/all-mpnet-base-v2": 109_486_464,
}
# What `CLIPVisionModel` takes of them.
KNOWN_PARTS = {"openai/clip-vit-large-patch14-336": 303_507_456}
# In a model's name: "7B", "0.5B", "350M", between separators.
_SIZE = re.compile(r"(?<![A-Za-z0-9.])(\d+(?:\.\d+)?)([BbMm])(?![A-Za-z0-9])")
# Experts that share the other layers: what "8x7B" and "8x22B" have in all.
_EXPERTS = re.compile(r"(?<![A-Za-z0-9.])(\d+)[xX](\d+(?:\.\d+)?)[Bb](?![A-Za-z0-9])")
_KNOWN_EXPERTS = {"8x7b": 46_702_792_704, "8x22b": 140_630_071_296}
# In a name: weights that are stored in 4 or 8 bits.
_STORED = (
    ("4bit", re.compile(r"(?<![A-Za-z])(?:awq|gptq|gguf|int4|4bit|nf4|w4a16)(?![A-Za-z])", re.I)),
    ("8bit", re.compile(r"(?<![A-Za-z])(?:int8|8bit|fp8|w8a8)(?![A-Za-z])", re.I)),
)
_UNITS = {"GiB": GIB, "GB": 10**9, "MiB": 2**20, "MB": 10**6}

BYTES_PER_PARAMETER = {
    "float64": 8.0,
    "double": 8.0,
    "float32": 4.0,
    "float": 4.0,
    "bfloat16": 2.0,
    "float16": 2.0,
    "half": 2.0,
    "auto": 2.0,  # as stored, which is 16 bit for all current decoders
    "8bit": 1.0,
    "4bit": 0.56,  # NF4 with double quantisation, and the parts that stay in 16 bit
}
# LoRA of rank 16 on all linear layers adds about this share of the parameters. Each is trained:
# weight, gradient and two moments of Adam in 32 bits.
LORA_SHARE = 0.005
LORA_BYTES = 16


@dataclass(frozen=True, kw_only=True)
class Size:
    """The bytes that a model takes, or None if that is not known, and the computation in words."""

    bytes: int | None
    reason: str


def size_of(
    identifier: str | None,
    kind: str,
    *,
    dtype: str | None,
    lora: bool,
    wrapper: bool,
    given: str | None,
) -> Size:
    """Return the size of a model.

    Args:
        identifier: the id that it is loaded by.
        kind: the class that loads it.
        dtype: a key of `BYTES_PER_PARAMETER`; None if the notebook shows none.
        lora: whether adapters are trained.
        wrapper: whether the class wraps a language model, whose weights are then taken as stored.
        given: a size from the command line, such as "7.6B" or "15GiB".
    """
    bytes_given = parse_bytes(given) if given is not None else None
    if bytes_given is not None:
        return Size(bytes=bytes_given, reason=f"{given} given by --size")
    count = parameters_of(identifier, kind) if identifier is not None else None
    source = "known for" if identifier in KNOWN_PARAMETERS else "read from the name"
    reason = f"{source} {identifier}"
    if given is not None:
        count, reason = _count(given), "given by --size"
    if count is None:
        unknown = "its size is unknown, not counted; --size NAME=7B gives it"
        return Size(bytes=None, reason=unknown)
    stored = next((bits for bits, name in _STORED if name.search(identifier or "")), None)
    if stored is not None and dtype not in ("4bit", "8bit"):
        dtype, reason = stored, f"{reason}, {stored} too"
    kept = dtype or ("auto" if wrapper else "float32")
    width = BYTES_PER_PARAMETER[kept]
    shown = kept if dtype is not None else f"{'16 bit' if wrapper else kept}, assumed"
    words = f"{_short(count)} parameters ({reason}) × {width:g} bytes ({shown})"
    total = count * width
    if lora:
        total += count * LORA_SHARE * LORA_BYTES
        words += f" + LoRA: {LORA_SHARE:.1%} of them × {LORA_BYTES} bytes, assumed"
    return Size(bytes=int(total), reason=words)


def parameters_of(model_id: str, kind: str = "") -> int | None:
    """Return the parameter count of a model by its id, exact if it is known, else from its name.

    `kind` is the class that loads it: one of them may take only a part of the checkpoint.
    """
    if model_id in KNOWN_PARTS and kind == "CLIPVisionModel":
        return KNOWN_PARTS[model_id]
    if model_id in KNOWN_PARAMETERS:
        return KNOWN_PARAMETERS[model_id]
    for name, count in KNOWN_PARAMETERS.items():
        if name.split("/")[1].lower() == model_id.split("/")[-1].lower():
            return count
    experts = _EXPERTS.search(model_id.split("/")[-1])
    if experts is not None:
        most = int(int(experts[1]) * float(experts[2]) * 10**9)
        return _KNOWN_EXPERTS.get(experts[0].lower(), most)
    match = _SIZE.search(model_id.split("/")[-1])
    return _count(match[0]) if match is not None else None


def parse_sizes(texts: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """Return the sizes of the option `--size`.

    Raises:
        ValueError: A size is neither a number of parameters nor a number of bytes.
    """
    for name, size in texts:
        if _count(size) is None and parse_bytes(size) is None:
            raise ValueError(f"--size {name}={size}: expected parameters (7.6B, 350M) or 15GiB")
    return dict(texts)


def parse_bytes(text: str) -> int | None:
    """Return the bytes of `24GiB`, or None if the text is no such size."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(GiB|GB|MiB|MB)", text.strip())
    return int(float(match[1]) * _UNITS[match[2]]) if match is not None else None


def _count(text: str) -> int | None:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([BbMm])", text.strip())
    if match is None:
        return None
    return int(float(match[1]) * (10**9 if match[2] in "Bb" else 10**6))


def _short(count: int) -> str:
    return f"{count / 1e9:.2f}B" if count >= 10**9 else f"{count / 1e6:.0f}M"

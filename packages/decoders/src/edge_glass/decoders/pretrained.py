"""Loading a pretrained causal language model of transformers, and its tokenizer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from edge_glass.decoders.model_source import ModelSource
from edge_glass.decoders.quantization import (
    Quantization,
    keep_weights_as_stored,
    quantization_config,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

LONGEST_CAUSE = 300  # letters of transformers' own message that are repeated
# Tensors that a file may hold although no logit depends on them.
UNREAD = re.compile(
    r"rotary_emb\.inv_freq$|position_ids$|(^|\.)attn(ention)?\.(masked_)?bias$"  # buffers
    r"|^lm_head\."  # a second copy of tied embeddings
    r"|^(model\.)?mtp\."  # layers that guess several words at once
    r"|(^|\.)(vision|audio)_|multi_modal_projector"  # the other parts of a model that also sees
)


def load_tokenizer(source: ModelSource) -> PreTrainedTokenizerFast:
    """Loads a model's tokenizer; without a pad token it pads with its end-of-sequence token.

    Raises:
        ValueError: if the tokenizer has no end-of-sequence token, or only a slow implementation.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    # AutoTokenizer replaces the rules of a tokenizer.json beside some configs by the family's own.
    has_json = _has_tokenizer_json(source)
    cls: Any = PreTrainedTokenizerFast if has_json else AutoTokenizer
    _require_gguf(source)
    remedy = "give a folder with the model's tokenizer.json"
    with _one_line(source, "tokenizer", remedy):
        tokenizer = cls.from_pretrained(source.place, **source.arguments())
    # some classes of transformers are empty if their file is missing
    if not has_json and not set(tokenizer("question").input_ids) - set(tokenizer.all_special_ids):
        raise ValueError(f"the tokenizer of {source.place} has no words; {remedy}")
    if not tokenizer.is_fast:
        raise ValueError(
            f"the tokenizer of {source.place} has no fast implementation; give a model with a "
            "tokenizer.json"
        )
    if tokenizer.eos_token_id is None:
        raise ValueError(
            f"the tokenizer of {source.place} has no end-of-sequence token, so answers could not "
            "end; set eos_token in its tokenizer_config.json"
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token  # padding is masked, so any token will do
    return cast("PreTrainedTokenizerFast", tokenizer)


def load_model(
    source: ModelSource,
    dtype: torch.dtype,
    quantization: Quantization,
    device: torch.device | None = None,
) -> PreTrainedModel:
    """Loads a causal language model to a device; the weights of a GGUF file are dequantised.

    Raises:
        ValueError: if the model has layers without attention, or a GGUF file is to be quantised.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    arguments: dict[str, Any] = source.arguments()
    if source.gguf_file is not None and quantization != "none":
        raise ValueError(
            f"quantization is {quantization!r}, but {source.gguf_file} is a GGUF file, which is "
            "dequantised when it is loaded; set quantization: none, or give the model's "
            "safetensors folder"
        )
    _require_gguf(source)
    quantized = quantization_config(quantization) or _dequantized(source)
    device = device or torch.device("cpu")
    if quantization != "none" or device.type != "cpu":
        # without a map, transformers puts a quantised model on the GPU if there is one
        arguments["device_map"] = {"": str(device)}
    with _one_line(source):
        config = AutoConfig.from_pretrained(source.place, **source.arguments())
    _check_weights(source, config)
    loader: Any = AutoModelForCausalLM  # its types leave out the report
    mapping = loader._model_mapping
    if type(config) not in mapping:
        raise ValueError(
            f"{source.place} is of the family {config.model_type}, which transformers does not "
            "know as a causal language model; give a different model"
        )
    check_layers(config.get_text_config())
    with _quiet(), _one_line(source):
        model, report = loader.from_pretrained(
            source.place,
            **arguments,
            dtype=dtype,
            attn_implementation="sdpa" if mapping[type(config)]._supports_sdpa else "eager",
            quantization_config=quantized,
            use_safetensors=True,
            ignore_mismatched_sizes=True,  # they are refused below, by name
            output_loading_info=True,
        )
    # transformers itself only logs it, and draws the weights that are not there
    misfits = sorted(report["mismatched_keys"])
    if misfits:
        name, found, expected = misfits[0]
        raise ValueError(
            f"{source.place}: {name} has shape {tuple(found)}, but config.json means "
            f"{tuple(expected)} ({len(misfits)} such tensors); copy the model's whole folder again"
        )
    absent = sorted(report["missing_keys"])
    if absent:
        raise ValueError(
            f"{source.place}: {len(absent)} tensors are missing, such as {absent[0]}; copy the "
            "model's whole folder again"
        )
    # for example the last layers, if config.json names fewer
    others = sorted(name for name in report["unexpected_keys"] if not UNREAD.search(name))
    if others:
        raise ValueError(
            f"{source.place}: its weights hold {len(others)} tensors that config.json has no place "
            f"for, such as {', '.join(others[:3])}; copy the model's whole folder again"
        )
    keep_weights_as_stored(model)
    return cast("PreTrainedModel", model)


def check_layers(config: Any) -> None:
    """Refuses layers that carry something else than keys and values from word to word.

    Raises:
        ValueError: names the family and the kinds of its layers.
    """
    kinds = set(getattr(config, "layer_types", None) or ())
    kinds |= set(getattr(config, "attention_layers", None) or ())  # GPT-Neo's name
    # A "local" layer of GPT-Neo counts columns, not positions.
    others = sorted(kinds - {"full_attention", "sliding_attention", "attention", "global"})
    if others:
        raise ValueError(
            f"{config.model_type} has layers of the kinds {others}, but packed questions need "
            "full_attention or sliding_attention in every layer; choose a different model"
        )


def _has_tokenizer_json(source: ModelSource) -> bool:
    if source.gguf_file is not None:
        return False
    if source.revision is None:
        return (Path(source.place) / "tokenizer.json").is_file()
    from transformers.utils.hub import cached_file

    found = cached_file(
        source.place,
        "tokenizer.json",
        revision=source.revision,
        _raise_exceptions_for_missing_entries=False,
    )
    return found is not None


def _dequantized(source: ModelSource) -> Any:
    """Returns the option that dequantises a GGUF file; None if transformers has no such option."""
    import transformers

    kind: Any = getattr(transformers, "GgufConfig", None)
    return None if source.gguf_file is None or kind is None else kind(dequantize=True)


def _check_weights(source: ModelSource, config: Any) -> None:
    """Refuses weights that would be read wrongly, or not at all.

    Raises:
        ValueError: if the folder holds quantised weights, or weights only as pickle.
    """
    if source.gguf_file is None and getattr(config, "quantization_config", None):
        raise ValueError(
            f"the weights of {source.place} are quantised already; give the model's unquantised "
            "weights, and set quantization: 4bit or 8bit"
        )
    folder = Path(source.place)
    if source.gguf_file is None and not any(folder.glob("*.safetensors")):
        pickled = sorted(each.name for each in folder.glob("*.bin"))
        if pickled:
            raise ValueError(
                f"{source.place} holds its weights only in {pickled[0]}, a pickle file, which can "
                "run code when it is read; give the model's safetensors, or convert the file to it "
                "(docs/encoders.md)"
            )


@contextmanager
def _one_line(source: ModelSource, part: str = "model", remedy: str = "") -> Iterator[None]:
    """Turns the errors of a model that can't be loaded into one line that names it.

    Raises:
        ValueError: names the model, the cause and what to do.
    """
    try:
        yield
    except Exception as error:  # of any type: transformers checks little of what it reads
        # the text of a KeyError, for example, is only the key
        kind = "" if isinstance(error, (OSError, ValueError)) else f"{type(error).__name__}: "
        cause = " ".join((kind + str(error)).split())
        if len(cause) > LONGEST_CAUSE:
            cause = f"{cause[:LONGEST_CAUSE]}..."
        if isinstance(error, torch.OutOfMemoryError):
            remedy = "set quantization: 4bit, or choose a smaller model or a GPU with more memory"
        elif source.revision is not None:
            remedy = "run it once with a network, or give a folder that holds the model"
        remedy = remedy or "copy the model's whole folder again"
        raise ValueError(f"the {part} of {source.place} can't be loaded ({cause}); {remedy}") from (
            error
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Turns off progress bars and warnings of transformers, which repeat what is refused here."""
    from transformers.utils import logging

    shown, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def _require_gguf(source: ModelSource) -> None:
    if source.gguf_file is not None and find_spec("gguf") is None:
        raise ValueError(
            f"{source.gguf_file} needs the package gguf, which is not installed: "
            "pip install 'edge-glass-decoders[gguf]'"
        )

"""Small models that the tests share; jaxtyping checks the shapes of every public forward."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from beartype import beartype
from jaxtyping import jaxtyped

from edge_glass.decoders import causal_lm, layers, masks, sampling, trm
from edge_glass.decoders.causal_lm_config import CausalLmConfig
from edge_glass.decoders.tokenizer import word_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

CHECKED = (
    (layers.RMSNorm, "forward"),
    (layers.CausalSelfAttention, "forward"),
    (layers.SwiGLU, "forward"),
    (layers, "rotary_table"),
    (masks, "additive"),
    (masks, "may_attend"),
    (masks, "rotary_positions"),
    (sampling, "choose"),
    (trm.TinyRecursiveDecoder, "embed"),
    (trm.TinyRecursiveDecoder, "forward"),
    (trm.TinyRecursiveDecoder, "project"),
    (causal_lm.CausalLmDecoder, "embed"),
    (causal_lm.CausalLmDecoder, "forward"),
    (causal_lm.CausalLmDecoder, "project"),
)
TEXTS = ["what is in the top left ?", "a red apple", "how many are there ? 3"]
SIZES = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
# Qwen's 0.02 is meant for widths of thousands; at 64 the blocks would hardly move the logits.
LOUD = SIZES | {"initializer_range": 0.08}


@pytest.fixture(autouse=True)
def shapes_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    for owner, name in CHECKED:
        monkeypatch.setattr(owner, name, jaxtyped(typechecker=beartype)(getattr(owner, name)))


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def sizes() -> dict[str, int]:
    return SIZES


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return word_tokenizer(TEXTS, max_vocab=100)


@pytest.fixture(scope="session")
def qwen_folder(tmp_path_factory: pytest.TempPathFactory, tokenizer: object) -> Path:
    """A real Qwen2 checkpoint of tiny sizes, as the hub would hold it."""
    folder = tmp_path_factory.mktemp("qwen")
    torch.manual_seed(1)
    decoder = CausalLmConfig(config=LOUD).build(tokenizer)  # type: ignore[arg-type]
    decoder.causal_lm.save_pretrained(folder)
    tokenizer.save_pretrained(folder)  # type: ignore[attr-defined]
    return folder

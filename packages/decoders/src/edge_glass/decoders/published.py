"""The published Qwen2.5 models that the full-size configurations name: commit, licence and sizes.

The sizes make a random model of the same shape without a download, for benchmarks and for counting
parameters on the meta device.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, kw_only=True)
class PublishedModel:
    """A model on the hub.

    Attributes:
        model: Hub id.
        revision: Commit of the hub repository.
        license: Licence of the weights, as the model card names it.
        num_parameters: Counted once where the embedding is tied.
        config: The fields of its `transformers.Qwen2Config` that decide the shape.
    """

    model: str
    revision: str
    license: str
    num_parameters: int
    config: Mapping[str, object]


QWEN2_5_3B = PublishedModel(
    model="Qwen/Qwen2.5-3B-Instruct",
    revision="aa8e72537993ba99e69dfaafa59ed015b17504d1",
    license="Qwen Research License (research and evaluation only, no commercial use)",
    num_parameters=3_085_938_688,
    config=MappingProxyType(
        {
            "vocab_size": 151_936,
            "hidden_size": 2048,
            "intermediate_size": 11_008,
            "num_hidden_layers": 36,
            "num_attention_heads": 16,
            "num_key_value_heads": 2,
            "max_position_embeddings": 32_768,
            "rms_norm_eps": 1e-6,
            "tie_word_embeddings": True,
        }
    ),
)

QWEN2_5_7B = PublishedModel(
    model="Qwen/Qwen2.5-7B-Instruct",
    revision="a09a35458c702b33eeacc393d103063234e8bc28",
    license="Apache-2.0",
    num_parameters=7_615_616_512,
    config=MappingProxyType(
        {
            "vocab_size": 152_064,
            "hidden_size": 3584,
            "intermediate_size": 18_944,
            "num_hidden_layers": 28,
            "num_attention_heads": 28,
            "num_key_value_heads": 4,
            "max_position_embeddings": 32_768,
            "rms_norm_eps": 1e-6,
            "tie_word_embeddings": False,
        }
    ),
)

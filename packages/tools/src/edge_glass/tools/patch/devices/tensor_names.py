"""What names show: which values are tensors, and which calls make, join or need them."""

from __future__ import annotations

import re

TENSOR_NAME = re.compile(
    r"(.*_)?(pixels?|pixel_values|input_ids|ids|mask|attention_mask|labels|tokens|features?"
    r"|embeds|embeddings?|hidden|hidden_states?|latents?|logits|inputs_embeds|tensors?)|x"
)
IMAGE_KEY = re.compile(r"images?|frames?|videos?|imgs?|audio|waveform|spectrogram")
CREATES = frozenset(
    {"arange", "as_tensor", "cat", "concat", "empty", "eye", "from_numpy", "full", "linspace"}
    | {"matmul", "ones", "ones_like", "pad_sequence", "rand", "randint", "randn", "randn_like"}
    | {"stack", "tensor", "zeros", "zeros_like", "full_like", "rand_like"}
)
COMBINES = frozenset({"cat", "concat", "stack", "matmul", "bmm", "cosine_similarity", "einsum",
                       "cross_entropy", "mse_loss", "where", "vstack", "hstack"})  # fmt: skip
NOT_A_TENSOR = frozenset({"device", "dim", "dtype", "item", "ndim", "numel", "shape", "size",
                           "tolist", "numpy", "keys", "items", "hidden_dim", "config"})  # fmt: skip
# Methods of a model that take no tensor, or move what they take.
NO_FEED = frozenset(
    {"apply", "bfloat16", "compile", "cpu", "cuda", "decode", "eval", "float", "from_pretrained"}
    | {"half", "load_adapter", "load_state_dict", "named_parameters", "parameters", "print"}
    | {"push_to_hub", "register_buffer", "register_forward_hook", "requires_grad_"}
    | {"resize_token_embeddings", "save_pretrained", "state_dict", "to", "train", "zero_grad"}
    | {"batch_decode", "encode_text_prompt", "tokenize", "gradient_checkpointing_enable"}
)
TEXT_TOOLS = re.compile(r"tokenizer|processor|tok$|collate", re.IGNORECASE)
CPU = "cpu"

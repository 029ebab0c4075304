"""4-bit NF4 and 8-bit weights through bitsandbytes, on GPU and CPU.

Only the linear layers inside the decoder's blocks are quantised. Embeddings, norms and the
vocabulary projection keep their precision. Projector, fusion and heads are outside the decoder, so
they keep it too.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import nn

if TYPE_CHECKING:
    from transformers import BitsAndBytesConfig

VOCABULARY = ["lm_head", "embed_out"]  # names of the vocabulary projection in all families
Quantization = Literal["none", "8bit", "4bit"]


def quantization_config(
    quantization: Quantization, compute_dtype: torch.dtype = torch.bfloat16
) -> BitsAndBytesConfig | None:
    """Returns the `quantization_config` for `from_pretrained`, or None for no quantisation.

    Args:
        quantization: `4bit` is NF4 with double quantisation (Dettmers et al., 2023,
            arXiv:2305.14314), `8bit` is LLM.int8() (Dettmers et al., 2022, arXiv:2208.07339).
        compute_dtype: precision of the products with dequantised 4-bit weights.
    """
    if quantization not in get_args(Quantization):
        raise ValueError(
            f"quantization is {quantization!r}, expected one of {', '.join(get_args(Quantization))}"
        )
    if quantization == "none":
        return None
    _require_bitsandbytes(quantization)
    from transformers import BitsAndBytesConfig

    if quantization == "8bit":
        return BitsAndBytesConfig(  # type: ignore[no-untyped-call]
            load_in_8bit=True, llm_int8_skip_modules=VOCABULARY
        )
    return BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute_dtype,
        llm_int8_skip_modules=VOCABULARY,
    )


def keep_weights_as_stored(model: nn.Module) -> None:
    """Stops bitsandbytes from repacking 4-bit weights at the first evaluation on a CPU.

    On CPUs with AVX512-BF16 it repacks in place and rounds the scales to bf16. An evaluation would
    change the training after it, and answers would depend on the CPU. It also fails if a layer's
    input width is not a multiple of 64.
    """
    for module in model.modules():
        if "support_avx512bf16_for_cpu" in vars(module):
            vars(module)["support_avx512bf16_for_cpu"] = False


def _require_bitsandbytes(quantization: str) -> None:
    try:
        import bitsandbytes  # noqa: F401
    except ImportError as error:
        raise ValueError(
            f"quantization {quantization!r} needs bitsandbytes, which does not import here "
            f"({error}): pip install 'edge-glass-decoders[quantization]', or set quantization: none"
        ) from error
    # LLM.int8() works in float16 by design, and logs this for every layer at every call.
    logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)

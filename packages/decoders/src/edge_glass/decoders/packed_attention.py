"""Attention of packed questions on a GPU: FlexAttention, which leaves out blocks that are masked.

It takes the place of PyTorch's scaled dot product attention (SDPA) if the mask is a block mask, and
only then. Triton compiles it when it first runs: each length is a multiple of 64 and its kernel is
the same in each run, so that a run repeats bit for bit.

Source: Dong et al. 2024, arXiv:2412.05496.
"""

from __future__ import annotations

import shutil
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import torch
from jaxtyping import Bool
from torch import Tensor

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask
    from transformers import PreTrainedModel

PackedAttention = Literal["flex", "sdpa"]
NAME = "edge_glass_packed"
BLOCK = 128  # rows and columns of a block; a shorter text has no block to leave out


def use_flex(model: PreTrainedModel) -> None:
    """Makes a model on a GPU take block masks; all other masks get SDPA, as before.

    Raises:
        ValueError: if the model can't use FlexAttention, or there is no C compiler for Triton.
    """
    config: Any = model.config.get_text_config()
    problem = None
    if not getattr(model, "_supports_flex_attn", False):
        problem = f"the family {config.model_type} has no FlexAttention"
    elif getattr(config, "attention_dropout", 0.0):
        problem = (
            f"FlexAttention has no dropout, and attention_dropout is {config.attention_dropout}"
        )
    elif not any(shutil.which(each) for each in ("cc", "gcc", "clang")):
        problem = "FlexAttention is compiled when it first runs, and there is no C compiler (gcc)"
    if problem:
        raise ValueError(f"packed_attention is 'flex', but {problem}; set packed_attention: sdpa")
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    model.set_attn_implementation(NAME)


def block_mask(allowed: Bool[Tensor, "B S S"]) -> BlockMask:
    """Returns a mask of blocks; True if the row may attend to the column."""
    from torch.nn.attention.flex_attention import create_block_mask

    def attends(batch: Tensor, _: Tensor, row: Tensor, column: Tensor) -> Tensor:
        return allowed[batch, row, column]

    batch, rows, columns = allowed.shape
    return create_block_mask(
        attends, batch, None, rows, columns, device=str(allowed.device), BLOCK_SIZE=BLOCK
    )


def attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any, **options: Any
) -> tuple[Tensor, None]:
    """Has the arguments and results of each attention of transformers."""
    from torch.nn.attention.flex_attention import BlockMask
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if not isinstance(attention_mask, BlockMask):
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    device = query.device.type
    if torch.is_autocast_enabled(device):  # as SDPA does; rotary positions may be in float32
        dtype = torch.get_autocast_dtype(device)
        query, key, value = (each.to(dtype) for each in (query, key, value))
    output: Tensor = _compiled()(
        query, key, value, block_mask=attention_mask, scale=options.get("scaling"), enable_gqa=True
    )
    return output.transpose(1, 2).contiguous(), None


@cache
def _compiled() -> Any:
    """Returns FlexAttention, compiled once for all lengths."""
    from torch.nn.attention.flex_attention import flex_attention

    # A kernel for the first length and another for all later ones would depend on their order.
    return torch.compile(flex_attention, dynamic=True)

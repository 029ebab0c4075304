"""Options of the decoder `causal_lm`, which has several names in `params.yaml`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch

from edge_glass.decoders.causal_lm import CausalLmDecoder
from edge_glass.decoders.chat_template import ChatTemplate, apply_template, check_template
from edge_glass.decoders.contract import check_contract
from edge_glass.decoders.lora import LoraOptions
from edge_glass.decoders.model_source import GGUF, check_reference, find_source
from edge_glass.decoders.packed_attention import PackedAttention
from edge_glass.decoders.pretrained import load_model, load_tokenizer
from edge_glass.decoders.quantization import Quantization
from edge_glass.decoders.qwen2_sizes import MAX_SIZE, build_qwen2, complete_sizes
from edge_glass.decoders.tokenizer import word_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

GIVE_ONE = (
    "give exactly one: model, a hub id, folder, .gguf file or package:NAME, or config, the sizes "
    "of a model from scratch"
)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, kw_only=True)
class CausalLmConfig:
    """A causal language model: `model` names a pretrained one, or `config` sizes a new Qwen2.

    Attributes:
        model: hub id, folder, `package:NAME` or GGUF file of a model that transformers loads as a
            causal language model. A hub id needs `revision` and `license`.
        revision: commit of a hub model, 40 hexadecimal digits, because a branch may change.
        license: licence of a hub model's weights, as its model card names it.
        config: fields of `transformers.Qwen2Config` for a model from scratch, see `qwen2_sizes.py`;
            `vocab_size` is filled in from the tokenizer.
        dtype: precision of the base weights. Quantised layers have their own.
        quantization: of a pretrained model's linear layers, see `quantization.py`.
        lora: adapters on a frozen base. None trains all weights of an unquantised model.
        gradient_checkpointing: computes activations again in the backward pass to save memory. A
            number n does so for each n-th layer only, which is faster and saves less.
        packed_attention: of packed questions on a GPU: `flex` leaves out what is masked and needs a
            C compiler, see `packed_attention.py`; `sdpa` computes it all. Their last bits differ.
            A CPU uses `sdpa` always.
        max_vocab: limit of entries of the word tokenizer of a model from scratch.
        chat_template: how a pretrained model's prompts are written, see `chat_template.py`: None,
            `model`, `turn` or a Jinja text.
    """

    model: str | None = None
    revision: str | None = None
    license: str | None = None
    config: Mapping[str, Any] | None = None
    dtype: Literal["float32", "bfloat16"] = "float32"
    quantization: Quantization = "none"
    lora: LoraOptions | None = None
    gradient_checkpointing: bool | int = False
    packed_attention: PackedAttention = "sdpa"
    max_vocab: int = 8192
    chat_template: ChatTemplate = None

    def __post_init__(self) -> None:
        # Neither is an entry of params.yaml that waits for a model; it is refused if it is chosen.
        if self.model is not None and self.config is not None:
            raise ValueError(f"model is {self.model!r} and config is {self.config!r}; {GIVE_ONE}")
        if self.config is not None and self.quantization != "none":
            raise ValueError(
                f"quantization is {self.quantization!r}, but a model from scratch has "
                "nothing to quantise; set quantization: none"
            )
        if self.config is not None:
            object.__setattr__(self, "config", complete_sizes(self.config))
        every = self.gradient_checkpointing
        if every is not False and not 1 <= every <= MAX_SIZE:
            raise ValueError(
                f"gradient_checkpointing is {every}, expected false, true or a number of layers "
                "from 1"
            )
        if not 1 <= self.max_vocab <= MAX_SIZE:
            raise ValueError(f"max_vocab is {self.max_vocab}, expected 1 to {MAX_SIZE}")
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype is {self.dtype!r}, expected one of {', '.join(DTYPES)}")
        if self.packed_attention not in get_args(PackedAttention):
            raise ValueError(
                f"packed_attention is {self.packed_attention!r}, expected one of "
                f"{', '.join(get_args(PackedAttention))}"
            )
        check_template(self.chat_template)
        if self.model is not None:
            check_reference(self.model, self.revision, self.license)
            if self.model.endswith(GGUF) and self.quantization != "none":
                raise ValueError(
                    f"quantization is {self.quantization!r}, but {self.model} is a GGUF file, "
                    "which is dequantised when it is loaded; set quantization: none"
                )

    @property
    def width(self) -> int | None:
        """The decoder's width (D), None if only the pretrained model holds it.

        Raises:
            ValueError: if there is neither a model nor sizes.
        """
        if self.config is not None:
            return int(self.config["hidden_size"])
        self._place()
        return None

    def _place(self) -> str:
        """Returns `model`, which has to be given if there are no sizes."""
        if self.model is None:
            raise ValueError(f"model and config are null; {GIVE_ONE}")
        return self.model

    def build_tokenizer(self, texts: Iterable[str]) -> PreTrainedTokenizerFast:
        """Loads the pretrained model's tokenizer, or builds a word tokenizer."""
        if self.config is not None:
            return word_tokenizer(texts, max_vocab=self.max_vocab)
        tokenizer = load_tokenizer(find_source(self._place(), self.revision))
        apply_template(tokenizer, self.chat_template, where=self._place())
        return tokenizer

    def build(
        self, tokenizer: PreTrainedTokenizerFast, device: torch.device | None = None
    ) -> CausalLmDecoder:
        """Builds the decoder, with adapters if `lora` is given, and checks what it computes.

        Pretrained weights go from the file to the device, without a copy in the CPU's memory.

        Raises:
            ValueError: if the tokenizer has more entries than the model has rows, bitsandbytes is
                missing, or the model does not do what a decoder has to do; see `contract.py`.
        """
        dtype = DTYPES[self.dtype]
        if self.config is not None:
            model: Any = build_qwen2(self.config, tokenizer, dtype)
            model.to(device)
        else:
            source = find_source(self._place(), self.revision)
            model = load_model(source, dtype, self.quantization, device)
        decoder = CausalLmDecoder(
            model,
            lora=self.lora,
            quantization=self.quantization,
            gradient_checkpointing=self.gradient_checkpointing,
            packed_attention=self.packed_attention,
        )
        entries = 1 + max(tokenizer.get_vocab().values(), default=-1)  # ids may have gaps
        if decoder.vocab_size < entries:
            raise ValueError(
                f"{decoder.family}: the tokenizer needs {entries} entries, the model has only "
                f"{decoder.vocab_size} rows; use the tokenizer of the same model"
            )
        check_contract(decoder)
        return decoder

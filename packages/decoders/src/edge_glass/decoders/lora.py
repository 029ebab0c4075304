"""LoRA adapters (Hu et al., 2021, arXiv:2106.09685) through peft, on a decoder from the hub."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from torch import Tensor, nn

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

MAX_RANK = 10**6
ALL_LINEAR = "all-linear"  # peft's own word
ADAPTER = "default"  # peft's own name for the first adapter


@dataclass(frozen=True, kw_only=True)
class LoraOptions:
    """Options of the adapters.

    Attributes:
        rank: inner width of an adapter.
        alpha: an adapter's output is scaled by alpha / rank.
        dropout: probability of dropping an input of an adapter, in [0, 1).
        target_modules: names of the linear layers that get an adapter, or `all-linear` for all
            except the vocabulary projection. Families differ in the names.
    """

    rank: int = 64
    alpha: int = 16
    dropout: float = 0.05
    target_modules: tuple[str, ...] | Literal["all-linear"] = (
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
    )

    def __post_init__(self) -> None:
        for name in ("rank", "alpha"):
            if not 1 <= getattr(self, name) <= MAX_RANK:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 1 to {MAX_RANK}")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout is {self.dropout}, expected at least 0 and less than 1")
        if isinstance(self.target_modules, str) and self.target_modules != ALL_LINEAR:
            raise ValueError(
                f"target_modules is {self.target_modules!r}, expected {ALL_LINEAR} or a list of "
                "names of layers"
            )
        if not self.target_modules:
            raise ValueError("target_modules is empty; name layers, or set lora: null")


def add_adapters(model: PreTrainedModel, options: LoraOptions) -> PeftModel:
    """Freezes the model and adds adapters that change nothing until they are trained (B = 0).

    The adapters are float32 for any type of base, and drawn from torch's global generator. Their
    inputs keep their precision: peft itself would cast each one to float32, which autocast then
    rounds again to bfloat16. A bfloat16 base therefore runs under autocast.
    """
    from peft import LoraConfig, get_peft_model
    from peft.tuners.lora import LoraLayer
    from transformers.pytorch_utils import Conv1D

    targets = options.target_modules
    names = {name.rpartition(".")[2] for name, _ in model.named_modules()}
    unknown = [] if targets == ALL_LINEAR else sorted(set(targets) - names)
    linear = {
        name.rpartition(".")[2]: each
        for name, each in model.named_modules()
        if isinstance(each, (nn.Linear, Conv1D))
    }
    if unknown:
        raise ValueError(
            f"lora: target_modules {unknown} match no layer; choose among {sorted(linear)}, or set "
            f"target_modules: {ALL_LINEAR}"
        )
    config = LoraConfig(
        r=options.rank,
        lora_alpha=options.alpha,
        lora_dropout=options.dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
        # GPT-2's layers hold their weights transposed
        fan_in_fan_out=any(isinstance(each, Conv1D) for each in linear.values()),
        bias="none",
        task_type="CAUSAL_LM",
    )
    with warnings.catch_warnings():
        # peft uses a name that transformers 5.23 has deprecated.
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        # peft adds a rule for the experts of a mixture, which are no linear layers
        warnings.filterwarnings("ignore", "The following (rank|alpha)_pattern", RuntimeWarning)
        adapted = get_peft_model(model, config)
    # not in a context: it would have ended when checkpointing computes activations again
    for module in adapted.modules():
        if isinstance(module, LoraLayer):
            module.cast_input_dtype_enabled = False
    return adapted


def adapter_state(model: nn.Module) -> dict[str, Tensor]:
    """Returns the adapters' tensors by module name, without the base model's."""
    return {name: value for name, value in model.state_dict().items() if _is_adapter(name)}


def load_adapter_state(model: nn.Module, state: dict[str, Tensor]) -> None:
    """Loads what `adapter_state` returned."""
    own = adapter_state(model)
    missing, unexpected = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    if missing or unexpected:
        raise ValueError(
            f"the adapters do not fit the model: {len(missing)} missing {missing[:3]}, "
            f"{len(unexpected)} unexpected {unexpected[:3]}; "
            "use the configuration they were saved with"
        )
    for name, value in state.items():
        if own[name].shape != value.shape:
            raise ValueError(
                f"adapter {name} has shape {tuple(value.shape)}, expected "
                f"{tuple(own[name].shape)}; use the rank and the model that it was trained with"
            )
        own[name].data.copy_(value)


def _is_adapter(name: str) -> bool:
    return f".lora_A.{ADAPTER}." in name or f".lora_B.{ADAPTER}." in name

"""A machine with two accelerators, as small stand-ins that refuse a tensor on the wrong device.

They run a patched notebook on a machine that has neither accelerators nor torch.
"""

from __future__ import annotations

import contextlib
import types
from typing import Any


class Tensor:
    """A tensor that is nothing but its device."""

    def __init__(self, device: str = "cpu") -> None:
        self.device = device
        self.shape = (1, 1)

    def to(self, *args: Any, **kwargs: Any) -> Tensor:
        device = kwargs.get("device", args[0] if args else None)
        return type(self)(device) if device in KNOWN else type(self)(self.device)

    def cuda(self, *_: Any) -> Tensor:
        return type(self)("cuda:0")

    def cpu(self) -> Tensor:
        return type(self)("cpu")

    def _same(self, other: Any) -> Tensor:
        if isinstance(other, Tensor) and other.device != self.device:
            raise RuntimeError(f"two devices: {self.device} and {other.device}")
        return Tensor(self.device)

    __add__ = __mul__ = __matmul__ = __sub__ = __truediv__ = _same

    def __getitem__(self, key: Any) -> Tensor:
        return Tensor(self.device)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return Tensor(self.device)

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:  # `x.float()`, `x.unsqueeze(0)`
        return Tensor(self.device)


class Output(Tensor):
    """What a model returns: it has tensors, and `.to` as they have."""


class Module:
    """A model. It and its parts refuse tensors on other devices than its own."""

    def __init__(self, *args: Any, device_map: Any = None, max_memory: Any = None, **kwargs: Any):
        self.device = "cpu"
        if device_map is not None:
            where = device_map.get("") if isinstance(device_map, dict) else device_map
            self.device = "cuda:0" if where in ("auto", "balanced") else where
            if self.device not in KNOWN:
                raise ValueError(f"device_map {device_map!r}")
        self.hidden_dim = 8

    def to(self, device: Any = None, *args: Any, **kwargs: Any) -> Module:
        self.device = device if device in KNOWN else self.device
        return self

    def cuda(self, *_: Any) -> Module:
        return self.to("cuda:0")

    def half(self) -> Module:
        return self

    bfloat16 = train = requires_grad_ = half
    locals()["eval"] = half

    def parameters(self) -> list[Any]:
        return []

    def load_state_dict(self, state: Any, strict: bool = True) -> None:
        assert state is not None

    def __call__(self, *args: Any, **kwargs: Any) -> Output:
        for value in [*args, *kwargs.values()]:
            if isinstance(value, Tensor) and value.device != self.device:
                raise RuntimeError(f"the model is on {self.device}, a tensor on {value.device}")
        return Output(self.device)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return _Part(self)

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Module:
        return cls(*args, **kwargs)


class _Part:
    def __init__(self, owner: Module) -> None:
        self._owner = owner

    def __getattr__(self, name: str) -> _Part:
        return self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._owner(*args, **kwargs)


KNOWN = ("cpu", "cuda", "cuda:0", "cuda:1")


def tensor(*args: Any, device: Any = "cpu", **kwargs: Any) -> Tensor:
    return Tensor("cuda:0" if device == "cuda" else device)


def cat(tensors: Any, *args: Any, **kwargs: Any) -> Tensor:
    first, *others = tensors
    for other in others:
        first._same(other)
    return Tensor(first.device)


class Tokens(dict[str, Tensor]):
    def to(self, device: str) -> Tokens:
        return Tokens({key: value.to(device) for key, value in self.items()})

    def __getattr__(self, name: str) -> Tensor:
        return self[name]


class Tokenizer:
    @classmethod
    def from_pretrained(cls, name: str) -> Tokenizer:
        return cls()

    def __call__(self, *args: Any, **kwargs: Any) -> Tokens:
        return Tokens(input_ids=Tensor(), attention_mask=Tensor())


def world() -> dict[str, types.ModuleType]:
    """Return the modules that notebooks of this kind import, by name."""
    torch: Any = types.ModuleType("torch")
    torch.Tensor = Tensor
    torch.device = lambda name, *number: f"{name}:{number[0]}" if number else (
        "cuda:0" if name == "cuda" else name)  # fmt: skip
    torch.cuda = types.SimpleNamespace(
        is_available=lambda: True, device_count=lambda: 2, empty_cache=lambda: None
    )
    torch.no_grad = torch.inference_mode = contextlib.nullcontext
    for name in ("zeros", "ones", "randn", "tensor", "rand", "arange"):
        setattr(torch, name, tensor)
    torch.cat = torch.stack = cat
    torch.load = lambda path, map_location=None, **kwargs: {}
    torch.bfloat16 = torch.float16 = "dtype"
    nn: Any = types.ModuleType("torch.nn")
    nn.Linear = nn.Module = nn.Sequential = Module
    torch.nn = nn
    lab: Any = types.ModuleType("mylab")
    for name in ("AlignedEncoder", "QwenDecoder", "VisionTower", "MultimodalModel", "Projector"):
        setattr(lab, name, type(name, (Module,), {}))
    transformers: Any = types.ModuleType("transformers")
    for name in ("AutoModel", "AutoModelForCausalLM", "CLIPVisionModel"):
        setattr(transformers, name, type(name, (Module,), {}))
    transformers.AutoTokenizer = Tokenizer
    return {"torch": torch, "torch.nn": nn, "mylab": lab, "transformers": transformers}

"""What a notebook says about devices: its models, its device variables, who consumes a tensor."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import libcst as cst

from edge_glass.tools.code.cells import PythonCell
from edge_glass.tools.patch.devices.memory_plan import BYTES_PER_PARAMETER, Need, parameters_of
from edge_glass.tools.patch.syntax.names import (
    NamedTransformer,
    NotebookNames,
    dotted,
    keyword,
    literal_string,
    root_of,
)

_DEVICE = re.compile(r"cuda(:\d+)?|cpu")
_NOT_A_MODEL = re.compile(r"Tokenizer|Processor|Config|Extractor|Transform")
# Methods that return the model itself, so that a chain of them is still the model.
_CHAINED = frozenset({"bfloat16", "cuda", "eval", "float", "half", "requires_grad_", "to", "train"})


@dataclass(frozen=True, kw_only=True)
class Component:
    """A model that the notebook makes at its top level."""

    name: str
    size: int | None  # bytes of its weights
    dtype: str  # that these are counted in; float32 where the notebook doesn't say
    device_mapped: bool  # made with `device_map=`, or quantised, which needs one
    spreadable: bool  # its loader understands `device_map`

    @property
    def need(self) -> Need:
        return Need(name=self.name, size=self.size, spreadable=self.spreadable)


def device_in(node: cst.BaseExpression | None, qualified: str | None = None) -> str | None:
    """Return the device that an expression names: "cuda", "cuda:1", "cpu", else None.

    Understands `"cuda"`, `torch.device("cuda")` (`qualified` tells what is called) and a choice
    between an accelerator and the CPU, whose answer is the accelerator.
    """
    text = literal_string(node)
    if text is not None:
        return text if _DEVICE.fullmatch(text) else None
    if isinstance(node, cst.IfExp):
        sides = (device_in(node.body), device_in(node.orelse))
        if None in sides:
            return None  # "mps" or something computed
        return next((side for side in sides if side != "cpu"), "cpu")
    if isinstance(node, cst.Call) and node.args and qualified == "torch.device":
        number = node.args[1].value if len(node.args) == 2 else None
        found = device_in(node.args[0].value)
        if isinstance(number, cst.Integer) and found == "cuda":
            return f"cuda:{number.value}"
        return found if number is None else None
    return None


def unchained(node: cst.BaseExpression) -> tuple[cst.BaseExpression, tuple[cst.Call, ...]]:
    """Split `Model(…).eval().to(x)` into the creation and the calls chained to it."""
    chain: list[cst.Call] = []
    while (
        isinstance(node, cst.Call)
        and isinstance(node.func, cst.Attribute)
        and node.func.attr.value in _CHAINED
    ):
        chain.append(node)
        node = node.func.value
    return node, tuple(chain)


class Survey(NamedTransformer):
    """Reads the cells, in order; changes none."""

    def __init__(self, cells: Sequence[PythonCell], names: NotebookNames) -> None:
        super().__init__({})
        self.consumers: dict[str, set[str]] = {}  # variable -> the calls' roots it is handed to
        self._parameters: dict[str, int | None] = {}  # models made by from_pretrained and the like
        self._dtype: dict[str, str] = {}
        self._mapped: set[str] = set()
        self._spreadable: set[str] = set()
        self._instances: set[str] = set()  # variables made by calling a class
        self._moved: set[str] = set()
        self._strings: dict[str, str] = {}
        self._quantised: dict[str, str] = {}  # variable with a quantisation config -> "4bit"
        for cell in cells:
            self._names = names.at(cell.index)
            cell.visit(self)

    @property
    def components(self) -> dict[str, Component]:
        """The models: those loaded by name, and instances of classes that are moved somewhere."""
        for name in self._instances & self._moved:
            self._parameters.setdefault(name, None)
        found = {}
        for name, count in self._parameters.items():
            dtype = self._dtype.get(name, "float32")
            width = BYTES_PER_PARAMETER[dtype]
            size = None if count is None else int(count * width)
            found[name] = Component(
                name=name,
                size=size,
                dtype=dtype,
                device_mapped=name in self._mapped,
                spreadable=name in self._spreadable,
            )
        return found

    def visit_Assign(self, node: cst.Assign) -> None:
        target = node.targets[0].target
        if self.in_function or len(node.targets) != 1 or not isinstance(target, cst.Name):
            return
        name, text = target.value, literal_string(node.value)
        if text is not None:
            self._strings[name] = text
        made, chain = unchained(node.value)
        if isinstance(made, cst.Call):
            bits = self._bits(made)
            if bits:
                self._quantised[name] = bits
            self._model(name, made)
            if any(_is_move(call) for call in chain):
                self._moved.add(name)
        for call in chain:
            for dtype in _dtypes(call):
                self._dtype[name] = dtype

    def visit_Call(self, node: cst.Call) -> None:
        root = (dotted(node.func) or "").split(".")[0]
        if _is_move(node) and not self.in_function:
            self._moved.add(root)
        if not root or self.is_local(root):
            return
        for argument in node.args:
            name = root_of(argument.value)
            if name:
                self.consumers.setdefault(self.scoped(name), set()).add(root)

    def _model(self, name: str, made: cst.Call) -> None:
        path = dotted(made.func) or ""
        owner, _, method = path.rpartition(".")
        if method == "from_pretrained" and not _NOT_A_MODEL.search(owner):
            identifier = made.args[0].value if made.args else None
            given = keyword(made, "pretrained_model_name_or_path")
            identifier = given.value if given else identifier
            if not (self.qualified(made.func) or "").startswith("edge_glass."):
                self._spreadable.add(name)
        elif method == "SentenceTransformer":
            identifier = made.args[0].value if made.args else None
        else:
            if method[:1].isupper() and not _NOT_A_MODEL.search(method):
                self._instances.add(name)
            return
        model_id = literal_string(identifier)
        if model_id is None and isinstance(identifier, cst.Name):
            model_id = self._strings.get(identifier.value)
        kind = owner.split(".")[-1]
        self._parameters[name] = parameters_of(model_id, kind) if model_id else None
        self._dtype.pop(name, None)
        for argument in ("dtype", "torch_dtype"):
            given = keyword(made, argument)
            dtype = (literal_string(given.value) or dotted(given.value) or "") if given else ""
            if dtype.split(".")[-1] in BYTES_PER_PARAMETER:
                self._dtype[name] = dtype.split(".")[-1]
        bits = self._bits(made)
        if bits:
            self._dtype[name] = bits
        if bits or keyword(made, "device_map"):
            self._mapped.add(name)

    def _bits(self, made: cst.Call) -> str | None:
        """Return "4bit" or "8bit" where a call, or the config handed to it, quantises."""
        for bits in ("4bit", "8bit"):
            given = keyword(made, f"load_in_{bits}")
            if given is not None and dotted(given.value) == "True":
                return bits
        given = keyword(made, "quantization_config")
        if given is not None and isinstance(given.value, cst.Call):
            return self._bits(given.value)
        return self._quantised.get(dotted(given.value) or "") if given is not None else None


def _is_move(call: cst.Call) -> bool:
    if not isinstance(call.func, cst.Attribute) or call.func.attr.value not in ("to", "cuda"):
        return False
    return call.func.attr.value == "cuda" or not list(_dtypes(call))


def _dtypes(call: cst.Call) -> list[str]:
    """Return the dtype that a chained call casts to: `.half()`, `.to(torch.bfloat16)`."""
    method = call.func.attr.value if isinstance(call.func, cst.Attribute) else ""
    if method in ("half", "bfloat16", "float", "double"):
        return [method]
    if method != "to":
        return []
    names = [(dotted(argument.value) or "").split(".")[-1] for argument in call.args]
    return [name for name in names if name in BYTES_PER_PARAMETER]

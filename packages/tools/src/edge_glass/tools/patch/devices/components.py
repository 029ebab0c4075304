"""What a notebook does with devices: its models, its device variables, who is given a tensor."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import libcst as cst

from edge_glass.tools.code.cells import PythonCell
from edge_glass.tools.code.program import Program
from edge_glass.tools.code.signatures import Signature
from edge_glass.tools.patch.devices.expressions import (
    dtypes_of,
    is_move,
    truth,
    unchained,
)
from edge_glass.tools.patch.devices.memory_plan import Need
from edge_glass.tools.patch.devices.models import Aliases, ModelNames
from edge_glass.tools.patch.devices.sizes import BYTES_PER_PARAMETER, Size, size_of
from edge_glass.tools.patch.syntax.names import NotebookNames, code_of, dotted, keyword, literal_string, root_of

_NOT_A_MODEL = re.compile(r"Tokenizer|Processor|Config|Extractor|Transform|Dataset|Loader|Accelerator")
# An attribute of a model that is a model itself.
_PART = re.compile(r"adapter|backbone|bridge|coder|fusion|head$|language|llm|model|net|projector"
                   r"|tower|transformer|vision", re.IGNORECASE)  # fmt: skip
# What only a model is used for.
_MODEL_METHODS = frozenset(
    {"eval", "forward", "generate", "load_state_dict", "parameters", "state_dict", "train"}
    | {"named_parameters", "requires_grad_", "zero_grad"}
)
_NAME_ARGUMENTS = ("pretrained_model_name_or_path", "model_name", "model_name_or_path", "model_id",
                   "model", "name", "checkpoint", "pretrained", "base_model", "decoder_name",
                   "encoder_name", "llm_name", "path")  # fmt: skip
_WRAPPER_HINTS = ("device_map", "load_in_4bit", "load_in_8bit", "use_lora", "quantization_config")


@dataclass(frozen=True, kw_only=True)
class Component:
    """A model of the notebook."""

    name: str  # its key, see models.py
    size: Size
    device_mapped: bool  # made with `device_map=`, or quantised, which needs one
    spreadable: bool  # its loader understands `device_map`
    takes_max_memory: bool
    wrapper: bool  # a class of the notebook's own project, made with `device_map=`
    moved: bool  # the notebook moves it somewhere

    @property
    def need(self) -> Need:
        return Need(
            name=self.name,
            size=self.size.bytes,
            spreadable=self.spreadable or (self.wrapper and self.device_mapped),
            mapped=self.device_mapped,
            reason=self.size.reason,
        )

    @property
    def placed(self) -> bool:
        """Whether the code puts it on an accelerator; a model that is only loaded stays on CPU."""
        return self.moved or self.device_mapped


@dataclass
class _Found:
    made: cst.Call
    kind: str  # the class or function that makes it
    identifier: str | None = None
    loader: bool = False  # made by `from_pretrained` and the like
    spreadable: bool = False
    wrapper: bool = False
    dtype: str | None = None
    bits: str | None = None
    mapped: bool = False
    takes_max_memory: bool = False


class Survey(ModelNames):
    """Reads the cells, in order; changes none."""

    def __init__(
        self,
        cells: Sequence[PythonCell],
        names: NotebookNames,
        program: Program,
        sizes: Mapping[str, str],
    ) -> None:
        super().__init__({}, Aliases())
        self._program = program
        self._cell = 0
        self.consumers: dict[str, set[str]] = {}  # variable -> the models it is handed to
        self._sizes = sizes
        self._found: dict[str, _Found] = {}
        self._moved: set[str] = set()
        self._adapted: set[str] = set()  # by LoRA
        self._used: set[str] = set()  # called, or used as only a model is
        self._strings: dict[str, str] = {}
        self._quantised: dict[str, str] = {}  # variable with a quantisation config -> "4bit"
        self.functions: dict[str, list[str]] = {}  # parameters of the notebook's own functions
        self._handed: dict[str, set[str]] = {}  # `function.parameter` -> the models given
        for _ in range(2):  # a function may be called below the cell that defines it, or above
            for cell in cells:
                self._names, self._cell = names.at(cell.index), cell.index
                cell.visit(self)
            self.aliases.variables |= {
                parameter: next(iter(given)) for parameter, given in self._handed.items()
                if len(given) == 1
            }  # fmt: skip

    @property
    def components(self) -> dict[str, Component]:
        """The models: loaded by name, made with `device_map`, or moved and used as a model."""
        found = {}
        for key, each in self._found.items():
            is_instance = each.kind[:1].isupper()
            known = each.loader or each.wrapper
            if not known and not (key in self._moved and (is_instance or key in self._used)):
                continue
            size = size_of(
                each.identifier, each.kind, dtype=each.bits or each.dtype,
                lora=key in self._adapted or _has_lora(each.made), wrapper=each.wrapper,
                given=self._given(key, each),
            )  # fmt: skip
            found[key] = Component(
                name=key,
                size=size,
                device_mapped=each.mapped or (each.bits is not None and each.spreadable),
                spreadable=each.spreadable,
                takes_max_memory=each.takes_max_memory,
                wrapper=each.wrapper,
                moved=key in self._moved,
            )
        return found

    def _given(self, key: str, found: _Found) -> str | None:
        """Return the size that `--size` gives for a model by its variable, class or id."""
        for name in (key, key.rpartition(".")[2], found.kind, found.identifier or ""):
            if name in self._sizes:
                return self._sizes[name]
        return None

    # Making.

    def visit_Assign(self, node: cst.Assign) -> None:
        for assigned in node.targets:
            self._assigned(assigned.target, node.value)

    def visit_AnnAssign(self, node: cst.AnnAssign) -> None:
        if node.value is not None:
            self._assigned(node.target, node.value)

    def visit_Return(self, node: cst.Return) -> None:
        if not self._functions or node.value is None:
            return
        name = ".".join(self._functions)
        values = [each.value for each in node.value.elements] if isinstance(
            node.value, cst.Tuple) else [node.value]  # fmt: skip
        keys: list[str | None] = []
        for number, value in enumerate(values):
            path = dotted(value)
            if path is not None:
                keys.append(self.model_of(path, self._found))
                continue
            made, _ = unchained(value)
            key = f"{name}.return{number or ''}"
            self._make(key, value)
            keys.append(key if isinstance(made, cst.Call) and key in self._found else None)
        if any(keys):
            self.aliases.returns[name] = keys

    def _assigned(self, target: cst.BaseAssignTargetExpression, value: cst.BaseExpression) -> None:
        called = dotted(value.func) if isinstance(value, cst.Call) else None
        returned = self.aliases.returns.get(called or "", [])
        if isinstance(target, (cst.Tuple, cst.List)):
            parts = [each.value for each in target.elements]
            if isinstance(value, (cst.Tuple, cst.List)) and len(value.elements) == len(parts):
                for part, element in zip(parts, value.elements, strict=True):
                    if isinstance(part, cst.BaseAssignTargetExpression):
                        self._assigned(part, element.value)
                return
            for part, key in zip(parts, returned, strict=False):
                if key is not None and isinstance(part, cst.Name):
                    self.aliases.variables[self.scoped(part.value)] = key
            if not returned and parts and isinstance(parts[0], cst.Name):
                self._make(self.own_key(parts[0].value), value)  # `model, _, transform = create(…)`
            return
        path = dotted(target)
        if path is None:
            return
        text = literal_string(value)
        if text is not None and not self.in_function:
            self._strings[path] = text
        if returned and returned[0] is not None and isinstance(target, cst.Name):
            self.aliases.variables[self.scoped(path)] = returned[0]
            return
        if called and called in self._own_classes() and isinstance(target, cst.Name):
            self.aliases.variables.setdefault(self.scoped(path), called)
        existing = self.model_of(path, self._found)
        same = isinstance(value, cst.Call) and self.model_of(_root_path(value), self._found)
        if existing is not None and same == existing:
            self._chain(existing, value)  # `model = model.half().to(device)`
            return
        if self._wraps(path, value, existing):
            return
        self._make(self.own_key(path), value)

    def _wraps(self, path: str, value: cst.BaseExpression, existing: str | None) -> bool:
        """Whether a variable gets a model that exists: by another name, or in a wrapper.

        `net = aligned.vision`, `model = get_peft_model(model, config)`.
        """
        inner = dotted(value)
        made = unchained(value)[0]
        if inner is None and isinstance(made, cst.Call) and made.args:
            last = (dotted(made.func) or "").rpartition(".")[2]
            inner = dotted(made.args[0].value) if not last[:1].isupper() or "Peft" in path else None
        model = self.model_of(inner, self._found)
        if model is None or inner is None or model not in self.keys(inner):
            return False
        if existing is None:
            self.aliases.variables[self.own_key(path)] = model
        if isinstance(value, cst.Call) and "peft" in code_of(value).lower():
            self._adapted.add(model)
        self._chain(model, value)
        return True

    def _own_classes(self) -> set[str]:
        return {key.partition(".")[0] for key in self._found if key.partition(".")[0][:1].isupper()}

    def _make(self, key: str, value: cst.BaseExpression) -> None:
        made, chain = unchained(value)
        if not isinstance(made, cst.Call):
            return
        bits = self._bits(made)
        if bits:
            self._quantised[key] = bits
        path = dotted(made.func) or ""
        owner, _, method = path.rpartition(".")
        is_class = method[:1].isupper()
        if _NOT_A_MODEL.search(owner if method.startswith("from_") else method) or not path:
            return
        if re.match(r"torch\.(?!nn|hub|jit|compile)", self.qualified(made.func) or path):
            return  # a tensor
        found = _Found(made, owner.rpartition(".")[2] if method.startswith("from_") else method)
        found.bits = bits
        found.mapped = keyword(made, "device_map") is not None
        if method == "from_pretrained":
            found.loader = True
            found.identifier = self._identifier(made, anything=True)
            # A class of this library or of the notebook's project has loaders of its own.
            library = (self.qualified(made.func) or "").partition(".")[0]
            found.spreadable = library in ("transformers", "diffusers", "peft", "")
            found.takes_max_memory = found.spreadable
        elif method == "SentenceTransformer":
            found.loader = True
            found.identifier = self._identifier(made, anything=True)
        elif any(keyword(made, name) is not None for name in _WRAPPER_HINTS) and (
            is_class or keyword(made, "device_map") is not None
        ):
            found.wrapper = True
            found.identifier = self._identifier(made, anything=False)
            signature = self._signature(path)
            found.spreadable = signature is not None and _takes(signature, "device_map")
            found.takes_max_memory = signature is not None and _takes(signature, "max_memory")
        else:
            found.identifier = self._identifier(made, anything=False) if is_class else None
        for argument in ("dtype", "torch_dtype"):
            given = keyword(made, argument)
            dtype = (literal_string(given.value) or dotted(given.value) or "") if given else ""
            if dtype.split(".")[-1] in BYTES_PER_PARAMETER:
                found.dtype = dtype.split(".")[-1]
        self._found[key] = found
        self._chain(key, value)

    def _signature(self, path: str) -> Signature | None:
        resolved = self._program.resolve(path, self._cell)
        if resolved is None:
            return None
        return self._program.definitions.signature(resolved, self._program.local(self._cell))

    def _chain(self, key: str, value: cst.BaseExpression) -> None:
        for call in unchained(value)[1]:
            if is_move(call):
                self._moved.add(key)
            for dtype in dtypes_of(call):
                self._found[key].dtype = dtype

    def _identifier(self, made: cst.Call, *, anything: bool) -> str | None:
        """Return the id of the model that a call loads: a text that its arguments give."""
        for name in _NAME_ARGUMENTS:
            given = keyword(made, name)
            if given is not None:
                return self._text(given.value)
        first = made.args[0] if made.args and made.args[0].keyword is None else None
        text = self._text(first.value) if first is not None else None
        return text if anything or (text is not None and re.search(r"[/-]", text)) else None

    def _text(self, node: cst.BaseExpression) -> str | None:
        return literal_string(node) or self._strings.get(dotted(node) or "")

    def _bits(self, made: cst.Call) -> str | None:
        """Return "4bit" or "8bit" if a call, or the config handed to it, quantises."""
        for bits in ("4bit", "8bit"):
            given = keyword(made, f"load_in_{bits}")
            if given is not None and truth(given.value):
                return bits
        given = keyword(made, "quantization_config")
        if given is not None and isinstance(given.value, cst.Call):
            return self._bits(given.value)
        return self._quantised.get(dotted(given.value) or "") if given is not None else None

    # Using.

    def visit_FunctionDef(self, node: cst.FunctionDef) -> bool | None:
        parameters = [*node.params.posonly_params, *node.params.params, *node.params.kwonly_params]
        self.functions[node.name.value] = [each.name.value for each in parameters]
        return super().visit_FunctionDef(node)

    def visit_Call(self, node: cst.Call) -> None:
        path = dotted(node.func) or ""
        owner, _, method = path.rpartition(".")
        if is_move(node):
            self._moves(node)
        if method in _MODEL_METHODS:
            self._used.add(self.model_of(owner, self._found) or "")
        self._used |= set(self.keys(path)) & self._found.keys()
        target = self.model_of(path, self._found) or path.partition(".")[0]
        if target and not self.is_local(target):
            for argument in node.args:
                name = root_of(argument.value)
                if name:
                    self.consumers.setdefault(self.scoped(name), set()).add(target)
        self._hand_over(path, node)

    def _moves(self, node: cst.Call) -> None:
        """Note that a model is moved; an attribute of a model may be a model of its own."""
        path = _root_path(node)
        if path is None:
            return
        keys = self.keys(path)
        key = next((each for each in keys if each in self._found), None)
        owner = self._found.get(self.model_of(path, self._found) or "")
        if key is None and owner is not None and _PART.search(path.rpartition(".")[2]):
            if owner.kind[:1].isupper() or owner.loader:
                key = keys[0]
                self._found[key] = _Found(node, "Module")
        if key is not None:
            self._moved.add(key)
            self._chain(key, node)

    def _hand_over(self, path: str, node: cst.Call) -> None:
        names = self.functions.get(path)
        if names is None:
            return
        for number, argument in enumerate(node.args):
            model = self.model_of(dotted(argument.value), self._found)
            if argument.keyword is not None:
                name = argument.keyword.value
            else:
                name = names[number] if number < len(names) else ""
            if model is not None and dotted(argument.value) in self._spellings(model):
                self._handed.setdefault(f"{path}.{name}", set()).add(model)

    def _spellings(self, model: str) -> set[str]:
        return {model, *(name for name, key in self.aliases.variables.items() if key == model)}


def _takes(signature: Signature, name: str) -> bool:
    return signature.takes_kwargs or name in signature.keywords


def _root_path(node: cst.Call) -> str | None:
    """Return the dotted name in front of chained calls: `a.b` of `a.b.eval().to(c)`."""
    return dotted(unchained(node)[0])


def _has_lora(made: cst.Call) -> bool:
    names = ("use_lora", "lora", "lora_config", "peft_config", "lora_r", "lora_rank")
    given = [keyword(made, name) for name in names]
    return any(each is not None and dotted(each.value) not in ("False", "None") for each in given)

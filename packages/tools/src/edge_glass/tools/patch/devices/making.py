"""Which calls make models, and what their arguments show."""

from __future__ import annotations

import ast
import re

from edge_glass.tools.code.expressions import argument, held, text_of
from edge_glass.tools.code.program import Program
from edge_glass.tools.code.signatures import Signature
from edge_glass.tools.patch.devices.component import Found
from edge_glass.tools.patch.devices.keyed_visitor import KeyedVisitor
from edge_glass.tools.patch.devices.model_calls import (
    NOT_A_MODEL,
    WRAPPER_HINTS,
    bits_of,
    dtypes_of,
    identifier_of,
    is_move,
    takes,
    unchained,
)
from edge_glass.tools.patch.devices.models import longest
from edge_glass.tools.patch.devices.sizes import BYTES_PER_PARAMETER


class Making(KeyedVisitor):
    """Reads the calls that make models."""

    def __init__(self, program: Program) -> None:
        super().__init__()
        self._program = program
        self._cell = 0
        self._found: dict[str, Found] = {}
        self._moved: set[str] = set()
        self._strings: dict[str, str] = {}
        self._quantised: dict[str, str] = {}  # variable with a quantisation config -> "4bit"

    def _model_of(self, path: str | None) -> str | None:
        return longest(self._keys(path), self._found) if path else None

    def _make(self, key: str, value: ast.expr) -> None:
        made = unchained(value)[0]
        if not isinstance(made, ast.Call):
            return
        bits = bits_of(made, self._quantised)
        if bits:
            self._quantised[key] = bits
        path = held(made.func) or ""
        owner, _, method = path.rpartition(".")
        is_class = method[:1].isupper()
        if NOT_A_MODEL.search(owner if method.startswith("from_") else method) or not path:
            return
        meaning = self._program.meaning(path, self._cell) or path
        if re.match(r"torch\.(?!nn|hub|jit|compile)", meaning):
            return  # a tensor
        found = Found(made, owner.rpartition(".")[2] if method.startswith("from_") else method)
        found.bits = bits
        found.mapped = argument(made, "device_map") is not None
        if method in ("from_pretrained", "SentenceTransformer"):
            found.loader = True
            found.identifier = identifier_of(made, self._strings, anything=True)
            # A class of this library or of the notebook's project has loaders of its own.
            library = meaning.partition(".")[0]
            known = library in ("transformers", "diffusers", "peft") or meaning == path
            found.spreadable = found.takes_max_memory = method == "from_pretrained" and known
        elif any(argument(made, name) is not None for name in WRAPPER_HINTS) and (
            is_class or found.mapped
        ):
            found.wrapper = True
            found.identifier = identifier_of(made, self._strings, anything=False)
            signature = self._signature(path)
            found.spreadable = signature is not None and takes(signature, "device_map")
            found.takes_max_memory = signature is not None and takes(signature, "max_memory")
        else:
            found.identifier = (
                identifier_of(made, self._strings, anything=False) if is_class else None
            )
        for name in ("dtype", "torch_dtype"):
            given = argument(made, name)
            dtype = (text_of(given) or held(given) or "").rpartition(".")[2]
            if dtype in BYTES_PER_PARAMETER:
                found.dtype = dtype
        self._found[key] = found
        self._chain(key, value)

    def _signature(self, path: str) -> Signature | None:
        resolved = self._program.resolve(path, self._cell)
        if resolved is None:
            return None
        return self._program.definitions.signature(resolved, self._program.local(self._cell))

    def _chain(self, key: str, value: ast.expr) -> None:
        for call in unchained(value)[1]:
            if is_move(call):
                self._moved.add(key)
            for dtype in dtypes_of(call):
                self._found[key].dtype = dtype

"""Which calls make models, and what their arguments show."""

from __future__ import annotations

import ast
import re

from edge_glass.tools.code.expressions import argument, held, text_of
from edge_glass.tools.code.program import Program
from edge_glass.tools.code.signatures import Signature
from edge_glass.tools.patch.devices.component import Found
from edge_glass.tools.patch.devices.keyed_visitor import KeyedVisitor
from edge_glass.tools.patch.devices.keyword_dicts import KeywordDicts, is_plain_map
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
from edge_glass.tools.patch.devices.tensor import is_none


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
        self._dicts = KeywordDicts()

    def _model_of(self, path: str | None) -> str | None:
        return longest(self._keys(path), self._found) if path else None

    def _make(self, key: str, value: ast.expr) -> None:
        given = unchained(value)[0]
        if not isinstance(given, ast.Call) or held(given.func) == "dict":
            return
        made = self._dicts.merged(given)
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
        device_map = argument(made, "device_map")
        found.mapped = device_map is not None and not is_none(device_map)
        found.by_hand = found.mapped and not is_plain_map(device_map)
        found.in_dict = found.mapped and argument(given, "device_map") is None
        found.parts = self._parts(made) if is_class else set()
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
            value_of = argument(made, name)
            dtype = (text_of(value_of) or held(value_of) or "").rpartition(".")[2]
            if dtype in BYTES_PER_PARAMETER:
                found.dtype = dtype
        self._found[key] = found
        self._chain(key, value)

    def _parts(self, made: ast.Call) -> set[str]:
        """Return the models that a call is given."""
        values = [*made.args, *(each.value for each in made.keywords)]
        for each in list(values):
            values += each.elts if isinstance(each, (ast.List, ast.Tuple)) else []
        paths = [path for path in map(held, values) if path is not None]
        models = [(self._model_of(path), path) for path in paths]
        return {model for model, path in models if model is not None and model in self._keys(path)}

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

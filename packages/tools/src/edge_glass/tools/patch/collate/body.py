"""What the body of a collate function does, as far as its syntax shows."""

from __future__ import annotations

import re

import libcst as cst

from edge_glass.tools.patch.syntax.names import code_of, dotted, literal_string

_TOKENIZER = re.compile(r"tok|tokenizer|.*_tokenizer")
_PREPARES = re.compile(r"(.*_)?(tok|tokenizer|processor)")
_TOKENIZES = frozenset({"encode", "batch_encode_plus", "tokenize", "apply_chat_template"})
_LIBRARY_PADS = frozenset({"attention_mask", "input_ids", "labels"})
_SEQUENCES = {cst.Tuple: "tuple", cst.GeneratorExp: "generator"}
_TENSORS = ("pad_sequence", "stack", "tensor", "cat")


class CollateBody(cst.CSTVisitor):
    """Collects the keys that a body reads and makes, its tokenizers and what it returns."""

    def __init__(self) -> None:
        self.words: set[str] = set()
        self.read: set[str] = set()
        self.made: set[str] = set()
        self.returned: list[cst.BaseExpression | None] = []
        self.tokenizers: list[str] = []
        self.calls: set[str] = set()
        self.yields = False
        self.copies_keys = False
        self._padding: list[cst.BaseExpression] = []
        self._stored: list[cst.Subscript] = []
        self._locals: set[str] = set()
        self._depth = 0
        self._pads = False
        self._padded: set[str] = set()

    def visit_SimpleString(self, node: cst.SimpleString) -> None:
        self.words.add(literal_string(node) or "")

    def visit_Attribute(self, node: cst.Attribute) -> None:
        self.words.add(node.attr.value)
        path = dotted(node)
        if path and _TOKENIZER.fullmatch(node.attr.value):
            self.tokenizers.append(path)

    def visit_Name(self, node: cst.Name) -> None:
        self.words.add(node.value)
        if _TOKENIZER.fullmatch(node.value):
            self.tokenizers.append(node.value)

    def visit_Arg(self, node: cst.Arg) -> None:
        if node.keyword is not None and node.keyword.value in ("padding_value", "pad_token_id"):
            self._padding.append(node.value)

    def visit_Call(self, node: cst.Call) -> None:
        path = dotted(node.func) or ""
        self.calls.add(path)
        if path.endswith(".get") and node.args:
            self.read.add(literal_string(node.args[0].value) or "")
        if path.endswith("pad_sequence"):
            self._pads = True
            inner = CollateBody()
            for argument in node.args:
                argument.visit(inner)
            self._padded |= inner.read

    def visit_AssignTarget(self, node: cst.AssignTarget) -> None:
        if isinstance(node.target, cst.Subscript):
            self._stored.append(node.target)
            self.made |= _keys(node.target)
        self._locals |= _names(node.target)

    def visit_For(self, node: cst.For) -> None:
        self._locals |= _names(node.target)

    def visit_CompFor(self, node: cst.CompFor) -> None:
        self._locals |= _names(node.target)

    def visit_Subscript(self, node: cst.Subscript) -> None:
        if not any(node is stored for stored in self._stored):
            self.read |= _keys(node)

    def visit_DictElement(self, node: cst.DictElement) -> None:
        key = literal_string(node.key)
        self.made |= {key} if key else set()

    def visit_DictComp(self, _node: cst.DictComp) -> None:
        self.copies_keys = True

    def visit_FunctionDef(self, _node: cst.FunctionDef) -> None:
        self._depth += 1

    def leave_FunctionDef(self, _original_node: cst.FunctionDef) -> None:
        self._depth -= 1

    def visit_Return(self, node: cst.Return) -> None:
        if not self._depth:
            self.returned.append(node.value)

    def visit_Yield(self, _node: cst.Yield) -> None:
        self.yields = True

    @property
    def padding(self) -> list[str]:
        """What it pads tokens with, if that still means something without the body."""
        values = [code_of(value, 10**6) for value in self._padding if not self._is_local(value)]
        return [value for value in values if value != "-100"]  # the labels'

    def _is_local(self, value: cst.BaseExpression) -> bool:
        return bool(_names(value) & self._locals)

    @property
    def renamed(self) -> dict[str, str]:
        """The keys that it returns in the plural or singular of the row's key, with that key."""
        found = {}
        for key in self.made - self.read:
            names = [each for each in (singular(key), f"{key}s") if each in self.read]
            if names and key != "attention_mask":
                found[key] = names[0]
        return found

    def more_than_batching(self) -> str | None:
        """Return in words what the library's functions don't do and this one does, or None."""
        for call in self.calls:
            owner, _, method = call.rpartition(".")
            maker = owner.rpartition(".")[2] if method in _TOKENIZES else method
            if _PREPARES.fullmatch(maker):
                return f"calls {call}: tokenize in the dataset's __getitem__, then patch again"
        for value in self.returned:
            if isinstance(value, (cst.Tuple, cst.List, cst.ListComp, cst.GeneratorExp)):
                return f"returns a {_SEQUENCES.get(type(value), 'list')}, the library's a dict"
            if isinstance(value, cst.Call) and (dotted(value.func) or "").endswith(_TENSORS):
                return "returns a tensor, the library's a dict"
        if not self.read and not self.copies_keys:
            return "reads no key of its rows, which the library's takes as dicts"
        made = {key for key in self.made if re.fullmatch(r".*_(ids|mask)", key) and self._pads}
        padded = sorted((self._padded | made) - _LIBRARY_PADS)
        if padded:
            return f"pads {', '.join(map(repr, padded))}, which the library's does not"
        new = sorted(self.made - self.read - self.renamed.keys() - {"attention_mask"})
        if new:
            return f"returns {', '.join(map(repr, new))}, which its rows don't hold"
        return None


def _names(node: cst.CSTNode) -> set[str]:
    """Return the names in an expression; of `a.b` only `a`."""
    if isinstance(node, cst.Name):
        return {node.value}
    children = [node.value] if isinstance(node, cst.Attribute) else node.children
    return {name for child in children for name in _names(child)}


def _keys(node: cst.Subscript) -> set[str]:
    """Return the string that a subscript asks for, if it is one."""
    inner = node.slice[0].slice if len(node.slice) == 1 else None
    key = literal_string(inner.value) if isinstance(inner, cst.Index) else None
    return {key} if key else set()


def singular(key: str) -> str:
    """Return the singular of a plural English key; any other key as it is."""
    if key.endswith("ies") and len(key) > 4:
        return key[:-3] + "y"
    if re.search(r"(ss|x|ch|sh)es$", key):
        return key[:-2]
    return key[:-1] if key.endswith("s") and not key.endswith("ss") else key

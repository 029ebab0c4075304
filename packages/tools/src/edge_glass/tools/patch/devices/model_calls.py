"""Small readers of the calls that make and move models."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping

from edge_glass.tools.code.expressions import argument, held, text_of
from edge_glass.tools.code.signatures import Signature
from edge_glass.tools.patch.devices.expressions import CHAINED
from edge_glass.tools.patch.devices.sizes import BYTES_PER_PARAMETER

NOT_A_MODEL = re.compile(
    r"Tokenizer|Processor|Config|Extractor|Transform|Dataset|Loader|Accelerator"
)
# An attribute of a model that is a model itself.
PART = re.compile(r"adapter|backbone|bridge|coder|fusion|head$|language|lm$|model|net|projector"
                   r"|tower|transformer|vision", re.IGNORECASE)  # fmt: skip
# What only a model is used for.
MODEL_METHODS = frozenset(
    {"eval", "forward", "generate", "load_state_dict", "parameters", "state_dict", "train"}
    | {"named_parameters", "requires_grad_", "zero_grad"}
)
NAME_ARGUMENTS = ("pretrained_model_name_or_path", "model_name", "model_name_or_path", "model_id",
                   "model", "name", "checkpoint", "pretrained", "base_model", "decoder_name",
                   "encoder_name", "llm_name", "path")  # fmt: skip
WRAPPER_HINTS = ("device_map", "load_in_4bit", "load_in_8bit", "use_lora", "quantization_config")


def takes(signature: Signature, name: str) -> bool:
    """Whether a callee takes a keyword."""
    return signature.takes_kwargs or name in signature.keywords


def root_path(node: ast.expr) -> str | None:
    """Return the dotted name in front of chained calls: `a.b` of `a.b.eval().to(c)`."""
    return held(unchained(node)[0])


def root_of(node: ast.expr) -> str | None:
    """Return the variable that an expression starts from: `x` of `x["a"].b.to(c)`."""
    while isinstance(node, (ast.Attribute, ast.Subscript, ast.Call, ast.Starred)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else None


def has_lora(made: ast.Call) -> bool:
    """Whether a call requests adapters."""
    names = ("use_lora", "lora", "lora_config", "peft_config", "lora_r", "lora_rank")
    given = [argument(made, name) for name in names]
    return any(
        each is not None and not (isinstance(each, ast.Constant) and each.value in (False, None))
        for each in given
    )


def unchained(node: ast.expr) -> tuple[ast.expr, tuple[ast.Call, ...]]:
    """Split `Model(…).eval().to(x)` into the creation and the calls chained to it."""
    chain: list[ast.Call] = []
    while (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in CHAINED
    ):
        chain.append(node)
        node = node.func.value
    return node, tuple(chain)


def names_cpu(node: ast.expr | None) -> bool:
    """Whether an expression is `"cpu"` or `torch.device("cpu")`."""
    if isinstance(node, ast.Call) and (held(node.func) or "").rpartition(".")[2] == "device":
        node = node.args[0] if node.args else None
    return text_of(node) == "cpu"


def moves_to_cpu(call: ast.Call) -> bool:
    """Whether a call is `.cpu()` or `.to("cpu")`."""
    if not isinstance(call.func, ast.Attribute):
        return False
    given = [*call.args, *(each.value for each in call.keywords if each.arg == "device")]
    method = call.func.attr
    return (method == "cpu" and not given) or (method == "to" and any(map(names_cpu, given)))


def is_move(call: ast.Call) -> bool:
    """Whether a call is `.cuda()`, or `.to(…)` with something else than a dtype or the CPU."""
    if moves_to_cpu(call):
        return False
    if not isinstance(call.func, ast.Attribute) or call.func.attr not in ("to", "cuda"):
        return False
    given = len(call.args) + len(call.keywords)
    return call.func.attr == "cuda" or len(dtypes_of(call)) < given


def dtypes_of(call: ast.Call) -> list[str]:
    """Return the dtype that a chained call casts to: `.half()`, `.to(torch.bfloat16)`."""
    method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    if method in ("half", "bfloat16", "float", "double"):
        return [method]
    if method != "to":
        return []
    values = [*call.args, *(each.value for each in call.keywords)]
    names = [(held(each) or "").rpartition(".")[2] for each in values]
    return [name for name in names if name in BYTES_PER_PARAMETER]


def identifier_of(made: ast.Call, strings: Mapping[str, str], *, anything: bool) -> str | None:
    """Return the id of the model that a call loads: a text that its arguments give.

    Args:
        made: the call.
        strings: the notebook's variables that hold texts.
        anything: whether any first argument is an id; else it has to look like one.
    """
    for name in NAME_ARGUMENTS:
        given = argument(made, name)
        if given is not None:
            return text_of(given) or strings.get(held(given) or "")
    first = made.args[0] if made.args else None
    text = text_of(first) or strings.get(held(first) or "")
    return text if anything or (text is not None and re.search(r"[/-]", text)) else None


def bits_of(made: ast.Call, quantised: Mapping[str, str]) -> str | None:
    """Return "4bit" or "8bit" if a call, or the config handed to it, quantises."""
    for bits in ("4bit", "8bit"):
        given = argument(made, f"load_in_{bits}")
        if isinstance(given, ast.Constant) and given.value is True:
            return bits
    given = argument(made, "quantization_config")
    if isinstance(given, ast.Call):
        return bits_of(given, quantised)
    return quantised.get(held(given) or "") if given is not None else None

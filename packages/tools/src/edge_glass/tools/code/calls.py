"""Calls against signatures: unknown keywords, missing arguments, too many positional ones."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher

from edge_glass.tools.code.expressions import dotted, shown, text_of
from edge_glass.tools.code.program import Call, Program
from edge_glass.tools.code.signatures import Signature

# Words that mean the same in parameter names.
_SYNONYMS = (
    {"img", "image", "images", "picture", "pic"},
    {"n", "num", "number", "count"},
    {"tfm", "transform", "transforms"},
    {"augment", "augmentation", "augmentations", "aug"},
    {"tok", "tokenizer"},
    {"dir", "directory", "folder"},
    {"val", "valid", "validation"},
    {"resolution", "size", "res"},
    {"lr", "learningrate"},
)
_NEGATIONS = frozenset({"disable", "exclude", "no", "non", "not", "skip", "without"})
_OPPOSITES = (("max", "min"), ("start", "stop"), ("first", "last"), ("train", "test"),
              ("width", "height"), ("mean", "std"), ("input", "output"))  # fmt: skip
_SIMILAR = 0.8  # ratio of two words that are taken as spellings of one


@dataclass(frozen=True, kw_only=True)
class CallProblem:
    """A call that its callee would refuse."""

    call: Call
    callee: str
    message: str
    signature: Signature
    keyword: ast.keyword | None = None  # the unknown one, if that is the problem
    proposal: str | None = None  # the parameter that is surely meant by it


def call_problems(program: Program) -> list[CallProblem]:
    """Return what is wrong with the calls whose signature can be read."""
    if "calls" not in program.memo:
        program.memo["calls"] = list(_call_problems(program))
    found: list[CallProblem] = program.memo["calls"]
    return found


def _call_problems(program: Program) -> Iterator[CallProblem]:
    for call in program.calls:
        node = call.node
        name = dotted(node.func)
        if name is None:  # `C().m(…)`
            yield from _checked(program, call, partial=False)
        elif name.rpartition(".")[2] in ("partial", "partialmethod") and node.args:
            inner = ast.Call(func=node.args[0], args=node.args[1:], keywords=node.keywords)
            ast.copy_location(inner, node)
            yield from _checked(program, Call(call.cell, inner, call.hidden), partial=True)
        else:
            yield from _checked(program, call, partial=False)


def _checked(program: Program, call: Call, *, partial: bool) -> Iterator[CallProblem]:
    node = call.node
    name = dotted(node.func) or (shown(node.func) if isinstance(node.func, ast.Attribute) else "")
    signature = program.signature(call) if name else None
    if signature is None:
        return
    keywords = _written_out(node.keywords)

    def problem(message: str, keyword: ast.keyword | None = None) -> CallProblem:
        proposal = _proposal(keyword, signature, taken) if keyword is not None else None
        if proposal is not None:
            message += f"; `{proposal}` is meant, because no other free parameter is like it"
        elif keyword is not None:
            message += f"; it takes {_listed(signature)}"
        return CallProblem(
            call=call, callee=name, message=message, signature=signature,
            keyword=keyword, proposal=proposal,
        )  # fmt: skip

    starred = any(isinstance(each, ast.Starred) for each in node.args)
    spread = any(each.arg is None for each in keywords)
    by_place = signature.positional[: len(node.args)] if not starred else ()
    given = {each.arg for each in keywords if each.arg is not None}
    taken = {*by_place, *given}
    unknown = [each for each in keywords
               if each.arg is not None and each.arg not in signature.keywords]  # fmt: skip
    if not signature.takes_kwargs:
        for keyword in unknown:
            yield problem(f"{name}() has no parameter `{keyword.arg}`", keyword)
    if not starred and not signature.takes_args and len(node.args) > len(signature.positional):
        yield problem(
            f"{name}() takes {len(signature.positional)} positional arguments, "
            f"the call gives {len(node.args)}"
        )
    for twice in sorted(given & set(by_place) & signature.keywords):
        yield problem(f"{name}() gets `{twice}` by position and by name")
    missing = sorted(signature.required - taken)
    renamed = {_proposal(each, signature, taken) for each in unknown}
    missing = [each for each in missing if each not in renamed]
    if missing and not (starred or spread or partial):
        yield problem(f"{name}() misses the required {', '.join(f'`{each}`' for each in missing)}")


def _written_out(keywords: list[ast.keyword]) -> list[ast.keyword]:
    """Return keywords with those of `**{"a": 1}` as keywords, at the place of the key."""
    found: list[ast.keyword] = []
    for each in keywords:
        keys = each.value.keys if each.arg is None and isinstance(each.value, ast.Dict) else [None]
        if None in map(text_of, keys):
            found.append(each)
            continue
        assert isinstance(each.value, ast.Dict)
        for key, value in zip(keys, each.value.values, strict=True):
            assert key is not None
            found.append(ast.copy_location(ast.keyword(arg=text_of(key), value=value), key))
    return found


def _listed(signature: Signature) -> str:
    named = [*signature.positional, *sorted(signature.keywords - set(signature.positional))]
    return ", ".join(named) if named else "no argument"


def _proposal(keyword: ast.keyword, signature: Signature, taken: set[str]) -> str | None:
    """Return the one free parameter whose name means what `keyword` names, if it is one."""
    old = keyword.arg or ""
    free = sorted(signature.keywords - taken)
    found = [new for new in free if related(old, new)]
    if len(found) > 1:  # `size` for `image_size` and `patch_size` is open, `imagesize` is not
        plain = old.replace("_", "").lower()
        found = [new for new in found if new.replace("_", "").lower() == plain]
    if len(found) != 1:
        return None
    value = keyword.value
    literal = isinstance(value, ast.Constant) and not isinstance(value.value, bool)
    return None if literal and found[0] in signature.switches else found[0]


def related(old: str, new: str) -> bool:
    """Whether two parameter names are spellings of one thing: `is_train` and `is_training`."""
    if old.replace("_", "").lower() == new.replace("_", "").lower():
        return True
    words, others = _words(old), _words(new)
    if (_NEGATIONS & set(words)) != (_NEGATIONS & set(others)):
        return False
    for one, two in _OPPOSITES:
        if (one in words) != (one in others) and (two in words) != (two in others):
            return False
    short, long = sorted((words, others), key=len)
    rest = list(long)
    for word in short:
        match = next((each for each in rest if _same(word, each)), None)
        if match is None:
            return False
        rest.remove(match)
    return bool(short)


def _words(name: str) -> list[str]:
    split = "".join(f"_{c.lower()}" if c.isupper() else c for c in name)
    return [word for word in split.split("_") if word]


def _same(one: str, two: str) -> bool:
    if one == two or any(one in group and two in group for group in _SYNONYMS):
        return True
    short, long = sorted((one, two), key=len)
    if len(short) >= 3 and long.startswith(short):
        return True
    return len(short) > 3 and SequenceMatcher(None, one, two).ratio() >= _SIMILAR

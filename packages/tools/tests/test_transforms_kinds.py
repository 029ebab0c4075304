"""Notebooks of the kind that `fix_notebook_transforms` was for: patched, then the calls are run."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from edge_glass.tools.notebook import parse_notebook
from edge_glass.tools.patch.syntax.rewrite import Note, Patch, rewrite_notebook
from edge_glass.tools.patch.transforms.keywords import KeywordsPatch
from edge_glass.tools.patch.transforms.transforms_patch import TransformsPatch

PIPELINE = '''"""Helpers."""
def image_pipeline(size, *, is_training):
    """Returns the image transform of this project."""
    return ("pipeline", size, is_training)

class QuestionRows:
    def __init__(self, path, tokenizer, transform):
        self.transform = transform
'''
CALLS = (
    "train = QuestionRows('train.parquet', None, image_pipeline(336, is_train=True))\n"
    "held_out = QuestionRows('val.parquet', None, image_pipeline(336, is_train=False))"
)
USE = "seen = val_transform"

# name -> (files beside the notebook, cells, (old, new) code that the patch is to write)
KINDS: dict[str, tuple[dict[str, str], list[str], str]] = {
    "a module beside the notebook": (
        {"helpers.py": PIPELINE},
        ["from helpers import QuestionRows, image_pipeline", CALLS, USE],
        "image_pipeline(336, is_training=False)",
    ),
    "an alias of the module": (
        {"helpers.py": PIPELINE},
        ["import helpers as h", CALLS.replace("Q", "h.Q").replace("image_", "h.image_"), USE],
        "h.image_pipeline(336, is_training=False)",
    ),
    "an alias of the function": (
        {"helpers.py": PIPELINE},
        ["from helpers import QuestionRows as Q, image_pipeline as make",
         CALLS.replace("QuestionRows", "Q").replace("image_pipeline", "make"), USE],
        "make(336, is_training=False)",
    ),
    "a package beside the notebook": (
        {"lab/__init__.py": "from .data import *\n", "lab/data/__init__.py": "from .tf import "
         "image_pipeline, QuestionRows\n", "lab/data/tf.py": PIPELINE},
        ["from lab.data import QuestionRows, image_pipeline", CALLS, USE],
        "image_pipeline(336, is_training=False)",
    ),
    "sys.path with os": (
        {"src/tools_of_ours.py": PIPELINE},
        ["import os, sys\nsys.path.append(os.path.join(os.path.dirname(os.getcwd()), 'nb', 'src'))",
         "from tools_of_ours import QuestionRows, image_pipeline", CALLS, USE],
        "image_pipeline(336, is_training=False)",
    ),
    "sys.path with pathlib and a variable": (
        {"../code/mylib/imaging.py": PIPELINE},
        ["import sys\nfrom pathlib import Path\nROOT = Path.cwd().resolve().parent\n"
         "if str(ROOT / 'code') not in sys.path:\n    sys.path.insert(0, str(ROOT / 'code'))",
         "from mylib.imaging import image_pipeline, QuestionRows", CALLS, USE],
        "image_pipeline(336, is_training=False)",
    ),
    "a relative folder": (
        {"../shared/helpers.py": PIPELINE},
        ["import sys\nsys.path += ['../shared']", "from helpers import *", CALLS, USE],
        "image_pipeline(336, is_training=False)",
    ),
    "defined in the notebook": (
        {},
        [PIPELINE, CALLS, USE],
        "image_pipeline(336, is_training=False)",
    ),
    "a class": (
        {"helpers.py": "class TrainTransform:\n    '''Image transforms.'''\n"
         "    def __init__(self, image_size=224, training=True):\n        self.a = image_size\n"},
        ["from helpers import TrainTransform",
         "t = TrainTransform(img_size=336, train=True)\ne = TrainTransform(img_size=336, "
         "train=False)", USE],
        "TrainTransform(image_size=336, training=False)",
    ),
    "a partial": (
        {"helpers.py": PIPELINE},
        ["from functools import partial\nfrom helpers import image_pipeline",
         "make = partial(image_pipeline, is_train=False)\nx = image_pipeline(1, is_train=False)",
         USE],
        "partial(image_pipeline, is_training=False)",
    ),
    "in a helper function": (
        {"helpers.py": PIPELINE},
        ["from helpers import image_pipeline", "def build(size, train):\n"
         "    return image_pipeline(size, is_train=train)\nt = build(3, True)\n"
         "e = image_pipeline(3, is_train=False)", USE],
        "image_pipeline(size, is_training=train)",
    ),
    "star arguments": (
        {"helpers.py": PIPELINE},
        ["from helpers import image_pipeline", "args = [336]\noptions = {}\n"
         "t = image_pipeline(*args, is_train=False, **options)", USE],
        "image_pipeline(*args, is_training=False, **options)",
    ),
    "another encoding and a lambda": (
        {"helpers.py": "# -*- coding: latin-1 -*-\n# gr\xfc\xdfe\n" + PIPELINE},
        ["from helpers import image_pipeline", "f = lambda: image_pipeline(1, is_train=True)\n"
         "x = image_pipeline(336, is_train=False)", USE],
        "lambda: image_pipeline(1, is_training=True)",
    ),
    "several lines and a comment": (
        {"helpers.py": PIPELINE},
        ["from helpers import image_pipeline\n%matplotlib inline",
         "x = image_pipeline(\n    336,\n    is_train=False,  # no flips\n)", USE],
        "    is_training=False,  # no flips\n",
    ),
}  # fmt: skip


def _write(folder: Path, files: dict[str, str]) -> Path:
    notebooks = folder / "nb"
    notebooks.mkdir()
    for name, text in files.items():
        path = notebooks / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="latin-1" if "latin-1" in text else "utf-8")
    return notebooks


def _notebook(cells: list[str], folder: Path) -> Any:
    entries = [{"cell_type": "code", "source": cell.splitlines(True)} for cell in cells]
    text = json.dumps({"cells": entries, "nbformat": 4, "nbformat_minor": 4}, indent=1)
    return parse_notebook(text, folder / "transforms.ipynb")


def _patched(
    cells: list[str], folder: Path, patch: Patch | None = None
) -> tuple[list[str], tuple[Note, ...]]:
    patch = patch or TransformsPatch()
    outcome = rewrite_notebook(_notebook(cells, folder), [patch])
    new = [outcome.sources.get(number, cell) for number, cell in enumerate(cells)]
    assert rewrite_notebook(_notebook(new, folder), [patch]).sources == {}
    return new, outcome.notes


@pytest.mark.parametrize(("files", "cells", "expected"), KINDS.values(), ids=KINDS)
def test_keywords_follow_the_signature_and_the_cells_run(
    files: dict[str, str], cells: list[str], expected: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    folder = _write(tmp_path, files)
    new, _ = _patched(cells, folder)
    assert expected in "\n".join(new)
    assert not any(name in sys.modules for name in ("helpers", "lab", "mylib", "tools_of_ours"))
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    for name in ("helpers", "lab", "lab.data", "lab.data.tf", "mylib", "mylib.imaging",
                 "tools_of_ours"):  # fmt: skip
        sys.modules.pop(name, None)
    namespace: dict[str, Any] = {}
    before = set(sys.modules)
    for cell in new:
        code = "\n".join(line for line in cell.splitlines() if not line.startswith("%"))
        exec(compile(code, "cell", "exec"), namespace)
    for name in set(sys.modules) - before:
        del sys.modules[name]
    assert namespace["seen"] is not None  # the lost `val_transform`


@pytest.mark.parametrize(
    ("parameters", "keyword"),
    [
        ("size, *, crop_size, patch_size", "sizes=3"),  # two are like it
        ("size, *, flip=True", "no_flip=True"),  # the opposite
        ("size, *, min_side=1", "max_side=3"),
        ("size, *, is_training=False", "is_train='yes'"),  # no text for a switch
        ("size, *, width=1", "colour=3"),
        ("size, **options", "anything=3"),
    ],
)
def test_what_is_not_certain_is_not_renamed(parameters: str, keyword: str, tmp_path: Path) -> None:
    files = {"helpers.py": f"def make_transform({parameters}):\n    pass\n"}
    cells = ["from helpers import make_transform", f"t = make_transform(1, {keyword})"]
    new, _ = _patched(cells, _write(tmp_path, files))
    assert new == cells


def test_a_lost_name_without_one_clear_call_is_not_defined(tmp_path: Path) -> None:
    folder = _write(tmp_path, {"helpers.py": PIPELINE})
    cells = ["from helpers import image_pipeline",
             "a = image_pipeline(224, is_training=False)\nb = image_pipeline(336, "
             "is_training=False)", "y = val_transform"]  # fmt: skip
    new, _ = _patched(cells, folder)
    assert new == cells


@pytest.mark.parametrize(
    ("definition", "call", "message"),
    [
        ("def f(a, b): pass", "f(1)", "misses the required `b`"),
        ("def f(a, *, b): pass", "f(1, 2)", "takes 1 positional arguments, the call gives 2"),
        ("def f(a, b=1): pass", "f(1, c=2)", "has no parameter `c`; it takes a, b"),
        ("def f(a): pass", "f(1, a=2)", "gets `a` by position and by name"),
        ("class A:\n    def __init__(self, rows): pass", "A()", "misses the required `rows`"),
        ("class A:\n    pass", "A(1)", "takes 0 positional arguments"),
        ("class B:\n    def __init__(self, x): pass\nclass A(B):\n    pass", "A()", "`x`"),
        ("class A:\n    @classmethod\n    def load(cls, path): pass", "A.load()", "`path`"),
        ("def f(a, **kw): return g(a, **kw)\ndef g(a, b=1): pass", "f(1, c=2)",
         "has no parameter `c`; it takes a, b"),
        ("def f(**kw): return g(3, **kw)\ndef g(a, *, b): pass", "f()", "misses the required `b`"),
        ("def f(a, b=1): pass", "f(1, **{'c': 2})", "has no parameter `c`"),
        ("class A:\n    def m(self, a): pass", "A().m(1, 2)", "takes 1 positional arguments"),
        ("from dataclasses import dataclass\n@dataclass\nclass A:\n    x: int\n    y: int = 0",
         "A(y=1)", "misses the required `x`"),
    ],
)  # fmt: skip
def test_calls_that_do_not_fit_are_reported(
    definition: str, call: str, message: str, tmp_path: Path
) -> None:
    folder = _write(tmp_path, {"helpers.py": definition})
    cells = ["import helpers", f"helpers.{call}"]
    new, notes = _patched(cells, folder, KeywordsPatch())
    assert new == cells
    assert {note.kind for note in notes} == {"person"}
    assert message in notes[0].message + notes[-1].message


@pytest.mark.parametrize(
    ("definition", "call"),
    [
        ("def f(a, b=1, *args, c=2, **kw): pass", "f(1, 2, 3, 4, d=1)"),
        ("def f(a, b): pass", "f(*x)"),
        ("def f(a, b): pass", "f(1, **x)"),
        ("import functools\n@functools.wraps(print)\ndef f(a): pass", "f()"),
        ("class M(type): pass\nclass A(metaclass=M):\n    def __init__(self, x): pass", "A()"),
        ("class A(Unknown): pass", "A(1, 2)"),
        ("if True:\n    def f(a): pass\nelse:\n    def f(a, b): pass", "f(1, 2, 3)"),
        ("f = print", "f(1, 2)"),
        ("def __getattr__(name): pass", "f(1)"),
        ("class A:\n    def __new__(cls, x): return x", "A(1)"),
        ("def f(a, /, b): pass", "f(1, b=2)"),
        ("from enum import Enum\nclass A(Enum):\n    X = 1", "A(1)"),
        ("from typing import NamedTuple\nclass A(NamedTuple):\n    x: int", "A(1)"),
        ("def f(a: int): pass", "f(a=(lambda: 1)())"),
        ("def f(a, **kw): return g(a, **kw)\ndef g(a, b=1): pass", "f(1, b=2)"),
        ("def f(a, **kw): print(kw); return g(a, **kw)\ndef g(a, b=1): pass", "f(1, c=2)"),
        ("def f(**kw): return g(**kw)\ndef g(**kw): return f(**kw)", "f(c=2)"),
        ("def f(a, b=1): pass", "f(1, **{key: 2, 'c': 3})"),
        ("class A:\n    def __init__(self): self.m = print\n    def m(self, a): pass", "A().m()"),
        ("class A:\n    @staticmethod\n    def m(a): pass", "A().m(1)"),
    ],
)
def test_calls_that_fit_or_cannot_be_known_are_not(
    definition: str, call: str, tmp_path: Path
) -> None:
    folder = _write(tmp_path, {"helpers.py": definition})
    cells = ["import helpers", f"helpers.{call}"]
    _, notes = _patched(cells, folder, KeywordsPatch())
    assert notes == ()


def test_other_keywords_are_renamed_on_request(tmp_path: Path) -> None:
    folder = _write(tmp_path, {"helpers.py": "def fit(model, *, num_epochs): pass"})
    cells = ["from helpers import fit\nfrom gone import run", "fit(1, epochs=3); run(a=1, b=2)"]
    new, notes = _patched(cells, folder, KeywordsPatch())
    assert new == cells
    assert "`patch keywords --map epochs=num_epochs` renames it" in notes[0].message
    mapping = (("epochs", "num_epochs"), ("run.a", "alpha"), ("b", "beta"))
    new, notes = _patched(cells, folder, KeywordsPatch(mapping=mapping))
    assert new[1] == "fit(1, num_epochs=3); run(alpha=1, b=2)"  # `run` is not known
    assert [note.kind for note in notes] == ["changed", "changed"]


def test_methods_of_instances_and_literal_keywords(tmp_path: Path) -> None:
    definition = "class A:\n    def m(self, a): pass\ndef make_transform(*, is_training): pass"
    folder = _write(tmp_path, {"helpers.py": definition})
    head = "from helpers import A, make_transform"
    cells = [head, "x = A()\ny = A()\ny = other()", "x.m()\ny.m()\nf = lambda x: x.m()"]
    _, notes = _patched(cells, folder, KeywordsPatch())
    assert ["`x.m()`: x.m() misses" in note.message for note in notes] == [True]
    new, _ = _patched([head, "t = make_transform(**{'is_train': True})"], folder)
    assert new[1] == "t = make_transform(**{'is_training': True})"

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edge_glass.tools.check import check_file

MIB = 2**20


def _notebook(tmp_path: Path, *cells: dict[str, Any], **changes: Any) -> Path:
    full = [
        {"cell_type": "code", "execution_count": None, "id": f"c{n}", "metadata": {},
         "outputs": [], "source": "x = 1", **cell}
        for n, cell in enumerate(cells)
    ]  # fmt: skip
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    content = {"cells": full, "metadata": {"kernelspec": kernel}, "nbformat": 4,
               "nbformat_minor": 5, **changes}  # fmt: skip
    path = tmp_path / "a.ipynb"
    path.write_text(json.dumps(content))
    return path


def _stream(text: str) -> dict[str, Any]:
    return {"outputs": [{"output_type": "stream", "name": "stdout", "text": text}]}


def test_a_good_notebook_has_no_findings(tmp_path: Path) -> None:
    path = _notebook(
        tmp_path,
        {"source": "%cd -q .\nimport os.path, json\nfrom pathlib import Path",
         "execution_count": 1},
        {"source": "from edge_glass.tools.notebook import read_notebook, Cell, _BOM\n"
                   "from edge_glass.tools import patch", "execution_count": 2},
        {"source": "%%bash\necho import nonsense"},
        {"source": "print('data/x')", **_stream("artifacts/prepared and https://x.org/home/y\n")},
    )  # fmt: skip
    assert check_file(path, max_bytes=MIB) == []
    assert check_file(path, max_bytes=MIB, execute=True) == []


@pytest.mark.parametrize(
    ("cell", "finding"),
    [
        ({"source": "import torchh"}, "import torchh: no such module"),
        ({"source": "from torchh.nn import x"}, "from torchh.nn: no such module"),
        ({"source": "if True:\n    from edge_glass.tools.nothing import x"}, "no such module"),
        ({"source": "from edge_glass.tools.notebook import gone"}, "import gone: no such name"),
        ({"source": "x = = 1"}, "cell 1 [c0] does not parse"),
        ({"source": "hf = 'hf_" + "a" * 34 + "'"}, "holds a Hugging Face token"),
        ({"source": "password = 'hunter2hunter2'"}, "holds a password"),
        (_stream("key AKIA" + "A" * 16), "shows an AWS key in its output"),
        (_stream("saved to /home/ann/run/x.png"), "a machine's path in its output: /home/ann"),
        (_stream("C:\\Users\\Ann\\x"), "machine's path"),
        ({"outputs": [{"output_type": "error", "ename": "KeyError", "evalue": "'k'",
                       "traceback": []}]}, "cell 1 failed: KeyError: 'k'"),
        ({"execution_count": 3}, "cell 1 ran as number 3, expected 1"),
    ],
)  # fmt: skip
def test_findings(cell: dict[str, Any], finding: str, tmp_path: Path) -> None:
    findings = check_file(_notebook(tmp_path, cell), max_bytes=MIB)
    assert len(findings) == 1
    assert finding in findings[0]


def test_pictures_are_not_searched_for_secrets(tmp_path: Path) -> None:
    data = {"image/png": "AKIA" + "A" * 16, "text/plain": "<Figure>"}
    output = {"output_type": "display_data", "data": data, "metadata": {}}
    assert check_file(_notebook(tmp_path, {"outputs": [output]}), max_bytes=MIB) == []


@pytest.mark.parametrize(
    ("changes", "finding"),
    [
        ({"metadata": {}}, "no kernel spec: metadata.kernelspec lacks name and display_name"),
        ({"nbformat": 3, "worksheets": [{"cells": [], "metadata": {}}]}, "nbformat 3 is old"),
    ],
)
def test_findings_on_the_whole(changes: dict[str, Any], finding: str, tmp_path: Path) -> None:
    findings = check_file(_notebook(tmp_path, {}, **changes), max_bytes=MIB)
    assert any(finding in each for each in findings)


def test_invalid_size_and_not_a_notebook(tmp_path: Path) -> None:
    path = _notebook(tmp_path, {"id": "not an id!"})
    assert any("is not valid nbformat 4.5" in each for each in check_file(path, max_bytes=MIB))
    assert any(
        "MiB, more than" in each for each in check_file(_notebook(tmp_path, {}), max_bytes=9)
    )
    path.write_text("{}")
    (finding,) = check_file(path, max_bytes=MIB)
    assert finding.startswith("is not a notebook")


def test_execution_failure_is_a_finding(tmp_path: Path) -> None:
    path = _notebook(tmp_path, {"source": "1 / 0"})
    before = path.read_bytes()
    (finding,) = check_file(path, max_bytes=MIB, execute=True)
    assert "cell 1 [c0] (`1 / 0`) raised ZeroDivisionError" in finding
    assert path.read_bytes() == before


def test_helpers_installs_and_guards_are_understood(tmp_path: Path) -> None:
    (tmp_path / "helpers.py").write_text("def f(a): ...\n")
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/deep.py").write_text("x = 1\n")
    (tmp_path / "requirements.txt").write_text("opencv-python>=4  # cv2\n")
    path = _notebook(
        tmp_path,
        {"source": "%pip install -q scikit-learn 'umap-learn>=0.5' -r requirements.txt\n"
                   "!pip install git+https://x.org/a/wonder_lib.git@main"},
        {"source": "import cv2, sklearn.svm, umap, wonder_lib"},
        {"source": "import sys, os\nsys.path.insert(0, os.path.abspath('lib'))\n"
                   "import deep, helpers\nfrom helpers import f"},
        {"source": "try:\n    import bits_x\nexcept ImportError:\n    bits_x = None"},
        {"source": "if 'google.colab' in sys.modules:\n    from google.colab import drive"},
        {"source": "%%writefile written.py\ny = 2"},
        {"source": "import written"},
    )  # fmt: skip
    assert check_file(path, max_bytes=MIB) == []


@pytest.mark.parametrize(
    ("sources", "finding"),
    [
        (["from helpers import g"], "cell 1 [c0]: from helpers import g: no such name"),
        (["def f(m, sd):\n    m.load_state_dict(sd, False)"], "write `m.load_state_dict(sd)`"),
        (["import torch\ntorch.load('x', weights_only=0)"], "unpickles the file"),
        (["import torch\ntorch.load('x')\ntorch.load('x')"], "line 3: `torch.load('x')` unpick"),
        (["import helpers as h\nx = h.gone"], "reads `h.gone`; module helpers has no `gone`"),
        (["import os\nos.makedirs('x', exists_ok=True)"], "has no parameter `exists_ok`"),
        (["import helpers\nhelpers.f()"], "f() misses the required `a` (module helpers)"),
        (["print(late)", "late = 1"], "cell 1 [c0]: reads `late`, which is defined only in cell 2"),
        (["x = 1\ndel x\nprint(x)"], "reads `x`, which a `del` before it removes"),
        (["x = 1", "del x", "print(x)"], "cell 3 [c2]: reads `x`, which a `del` before"),
        (["def f():\n    return b\nf()\nb = 1"], "reads `b` through `f()`, which is defined fu"),
        (["def f():\n    return b", "f()", "b = 1"], "cell 2 [c1]: reads `b` through `f()`"),
        (["print(gone)", "exec(open('x').read())\nprint(any)"], "cell 1 [c0]: reads `gone`"),
        (["print(b)\nb = 1"], "reads `b`, which is defined further down"),
        (["def f():\n    return gone"], "reads `gone`, which no cell defines"),
        (["import torch\ntorch.load('x.pt')"], "write `torch.load('x.pt', weights_only=True)`"),
        (
            ["ds = [{'a': 1}]\nfor r in ds:\n    r['b']\ncollate = 1"],
            "reads the key `b` of a row; the list of rows gives `a`",
        ),
    ],
)
def test_findings_on_the_code(sources: list[str], finding: str, tmp_path: Path) -> None:
    (tmp_path / "helpers.py").write_text("def f(a): ...\n")
    path = _notebook(tmp_path, *[{"source": source} for source in sources])
    found = check_file(path, max_bytes=MIB)
    assert any(finding in each for each in found), found


@pytest.mark.parametrize(
    "source",
    [
        "def f():\n    return later()\n\ndef later(): ...",
        "for i in range(3):\n    print(i)\nprint(i)",
        "x = 1\ndel x\nx = 2\nprint(x)",
        "list = [1]\ndel list\nprint(list('a'))",
        "x = 1\nfor i in [1]:\n    del x\n    x = 2\nprint(x)",
        "def f():\n    if 0:\n        return b\nf()\nb = 1",
        "def f():\n    def g():\n        return b\n    return g\nf()\nb = 1",
        "def f():\n    yield b\nf()\nb = 1",
        "def f():\n    return b\nb = 1\nf()",
        "locals().update(made=1)\nprint(made)",
        "def f():\n    return made\nexec('made = 1')\nf()",
        "import helpers\nhelpers.made = 1\nprint(helpers.made, helpers.a, helpers.__doc__)",
        "import helpers as h\nprint(hasattr(h, 'gone') and h.gone)\ndef f(h): return h.x",
        "try:\n    unicode\nexcept NameError:\n    unicode = str",
        "if 'x' not in globals():\n    x = 1\nprint(x)",
        "print(In, Out, _, __, _1, get_ipython(), display)",
        "%%capture out\nprint(1)",
        "x = !ls\nprint(x)",
        "class A:\n    y = 1\n    z = [v for v in [y]] if y else 0\n    def f(self): return A",
        "[(a, b) for a in range(3) for b in range(a) if (c := a)]\nprint(c)",
        "def f(*a, k=1, **kw):\n    global made\n    made = (a, k, kw)\nf()\nprint(made)",
        "match [1]:\n    case [x, *rest] | (x, rest): print(x, rest)",
        "with open('a') as (p, q): print(p, q)",
        "from os.path import *\nprint(whatever_it_brings)",
        "%run other.py\nprint(whatever_it_brings)",
        "lambda x, /, y=1, *a, z, **k: (x, y, a, z, k)",
        "import os.path as p, json\nprint(p, json)",
        "x: int\nx = 1\nprint(x, __name__)",
        "async def g():\n    async for v in g():\n        yield v",
    ],
)
def test_names_that_are_there_are_not_reported(source: str, tmp_path: Path) -> None:
    (tmp_path / "helpers.py").write_text("def f():\n    global a\n    a = 1\n")
    found = check_file(_notebook(tmp_path, {"source": source}), max_bytes=MIB)
    assert not [each for each in found if "reads `" in each], found


def test_weights_only_by_a_variable_is_not_surely_unsafe(tmp_path: Path) -> None:
    source = "import torch\nflag = True\ntorch.load('x', weights_only=flag)"
    assert check_file(_notebook(tmp_path, {"source": source}), max_bytes=MIB) == []

"""No notebook ends in a traceback, whatever is in it, and a second run changes nothing."""

from __future__ import annotations

import contextlib
import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus_cases import NOTEBOOKS, make_project
from edge_glass.tools.check import check_file
from edge_glass.tools.execute import parsed
from edge_glass.tools.notebook import NotebookError, parse_notebook
from edge_glass.tools.patch.batch import Job, Mode, patch_files
from edge_glass.tools.patch.collate.collate_patch import CollatePatch
from edge_glass.tools.patch.devices.devices_patch import DevicesPatch
from edge_glass.tools.patch.devices.memory_plan import parse_devices
from edge_glass.tools.patch.paths.paths_patch import PathsPatch
from edge_glass.tools.patch.review import review
from edge_glass.tools.patch.setup import SetupPatch
from edge_glass.tools.patch.syntax.rewrite import rewrite_notebook
from edge_glass.tools.patch.transforms.keywords import KeywordsPatch
from edge_glass.tools.patch.transforms.transforms_patch import TransformsPatch

STATEMENTS = [
    # devices
    "import torch\nfrom lab import Encoder, Decoder",
    "device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
    "m = Decoder(model_name='x/Q-7B', device_map='auto', load_in_4bit=True)",
    "m = Decoder('x/Q-70B', device_map='auto'); n = m",
    "enc = Encoder(*a, **k).to(device).eval()",
    "a.b = Encoder().cuda()\na.b.head.to('cuda:1')",
    "class P:\n    x = 1\n    def __init__(self): self.m = Decoder(device_map='auto')\n"
    "    def f(self, pixels, /, *args, ids=None, **kw): return self.m(pixels, ids, *args, **kw)",
    "def make(): return Encoder().to(device), Decoder('a-7B', device_map='auto')",
    "enc, m = make()",
    "out = m(enc(pixels).hidden + labels, **inputs)",
    "torch.cat([enc(x), m(ids)], dim=1)",
    "f'{m(enc(pixels))}'",
    "[m(p) for p in (enc(x) for x in y) if (z := p)]",
    "lambda x, *y, **z: m(x.to(device), y, z)",
    "async def g():\n    async with s as t:\n        return await m(await enc(pixels))",
    "with torch.no_grad(): y = m(pixels)",
    "try:\n    m(x)\nexcept* ValueError as e:\n    raise\nelse:\n    pass\nfinally:\n    enc(x)",
    "match m(x):\n    case {'a': [*rest], **more} if enc(rest): pass\n    case P(x=1) | None: pass",
    "m.to(device); m.half().to(torch.float16)",
    "global m",
    "nonlocal q",
    "del m, enc.b, a[0]",
    # collate
    "def collate_fn(rows):\n    return {'image': [r['image'] for r in rows], 'a': rows[0]['a']}",
    "def collate_fn(rows, *, p=0):\n    out = dict(a=[r['a'] for r in rows])\n"
    "    out['b'] = 1; return out",
    "collate = lambda b: {'x': [i['x'] for i in b]}",
    "class Collator:\n    def __call__(self, rows): return {**{'q': [r['q'] for r in rows]}}",
    "def collate_fn(rows): return collate_fn(rows)",
    "loader = DataLoader(ds, collate_fn=collate_fn)",
    "loader = torch.utils.data.DataLoader([{'x': 1}], collate_fn=lambda *b: {'x': b})",
    "loader = DataLoader(rows, collate_fn=partial(Collator(), 1))",
    "for i, (batch, _) in enumerate(zip(loader, y)):\n    batch['answers'].to(device)",
    "for batch in loader: print(batch['ids'], batch.get('xs'), batch.pop('y', None))",
    "batch = next(iter(loader)); batch |= {'z': 1}; batch['z'], batch['answer']",
    "class D:\n    def __getitem__(self, i): return {'image': 1, 'answer': 2}",
    "ds = D(); ds[0]['question']",
    # transforms and calls
    "from helpers import *",
    "from helpers import image_pipeline as ip, Rows",
    "import helpers, helpers as h",
    "from . import x",
    "from .. import *",
    "t = ip(3, is_train=True)",
    "t = h.image_pipeline(*[1], is_train=1, **{})",
    "Rows(); Rows(1, 2, 3, path=4); Rows(path=1)",
    "y = val_transform(Image.open('a.png'))",
    "if val_transform: pass",
    "@decorate(test_transform)\ndef f(x: val_transform = val_transform) -> None: ...",
    "t = T.Compose([T.Resize(8), T.ToTensor()])",
    "def image_pipeline(a, b, /, c=1, *d, e, f=2, **g): ...",
    "image_pipeline(1, a=2, b=3); image_pipeline(1)",
    # set-up
    "import sys, os; sys.path.append('..')",
    "import os, sys\nfrom pathlib import Path\nsys.path.insert(0, str(Path.cwd().parents[9]))",
    "if '..' not in sys.path:\n    sys.path.append('..')",
    "sys.path += ['\\x00', '~nobody/x', '/home/ann/project/data']",
    "import torch  # again",
    "import torch; x = 1",
    "from torch import nn, optim",
    "%cd ..",
    "%pip install -q 'lab[x]>=1' -r requirements.txt  # now",
    "!pip install git+https://x.org/a/b.git@main && ls",
    "%run other.py",
    "%%writefile lab.py\nx = 1",
    "%%bash\necho {m}",
    "%%cython\ndef f(): pass",
    "x = !ls\n%time m(x)",
    "obj??",
    "state = torch.load('a.pt'); m.load_state_dict(state, strict=False)",
    "cfg = yaml.safe_load(open('params.yaml')); p = '/home/ann/project/data/train.parquet'",
    "open(f'{x}/a.yaml', 'w'); read('\\x00.json'); load('a/../../b.json')",
    # oddities
    "this does not parse (",
    "print 'python 2'",
    "x = 'ü🎨'; m(pixels)  # ü",
    "\ufeffx = 1",
    "if True:\n\tm(x)\n\tenc(x)",
    "def f():\r\n    return m(x)\r\n",
    "x = (\n  m(pixels)\n  + 1\n)",
    "x: int = m(x); y: 'str'",
    "with (open('a') as b, open('c') as d): pass",
    "\x0cimport torch",
    "class A[T]: pass",
    "exec('x = 1'); globals()['q'] = 1; vars().update(a=1)",
    "raise SystemExit",
    "",
    "   ",
    "#",
    "'''doc'''",
]
CELLS = st.lists(
    st.lists(st.sampled_from(STATEMENTS), max_size=4).map("\n".join) | st.text(max_size=40),
    max_size=6,
)
HELPERS = """
def image_pipeline(size, *, is_training):
    "Returns the image transform."
class Rows:
    def __init__(self, path, tokenizer, transform): ...
"""


def job(folder: Path | None = None) -> Job:
    return Job(
        patches=[
            PathsPatch(root=folder),
            TransformsPatch(),
            KeywordsPatch(mapping=(("path", "paths"), ("ip.is_train", "is_training"))),
            CollatePatch(),
            DevicesPatch(devices=parse_devices("cuda:0,cuda:1", "24GiB")),
            SetupPatch(),
        ],
        review=review,
        clear_outputs=True,
    )


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_project(tmp_path_factory.mktemp("soup"))
    (folder / "notebooks/helpers.py").write_text(HELPERS)
    (folder / "notebooks/requirements.txt").write_text("torch\n-e .\n")
    (folder / "params.yaml").touch()
    return folder


def _text(sources: list[str], **extra: Any) -> str:
    cells = [{"cell_type": "code", "execution_count": None, "id": f"c{n}", "metadata": {},
              "outputs": [], "source": source.splitlines(True)}
             for n, source in enumerate(sources)]  # fmt: skip
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return json.dumps({"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4,
                       "nbformat_minor": 5, **extra}, indent=1)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(sources=CELLS)
def test_any_notebook_is_patched_and_checked(project: Path, sources: list[str]) -> None:
    path = project / "notebooks" / "soup.ipynb"
    path.write_text(_text(sources), encoding="utf-8", errors="surrogatepass")
    check_file(path, max_bytes=2**20)
    whole = job(project)
    notebook = parse_notebook(path.read_text(encoding="utf-8", errors="surrogatepass"), path)
    outcome = rewrite_notebook(notebook, whole.patches, whole.review)
    again = parse_notebook(notebook.replaced(outcome.sources), path)
    assert rewrite_notebook(again, whole.patches, whole.review).sources == {}


VALUES = [None, 1, "x", [], {}, True, -1.5, ["a", 1], {"a": []}, "\ud800", "%%time", [["x"]]]


@settings(max_examples=100, deadline=None)
@given(draw=st.randoms(use_true_random=False), base=st.sampled_from(NOTEBOOKS))
def test_a_damaged_notebook_is_refused_in_words(project: Path, draw: Any, base: Path) -> None:
    """Parts of the JSON are deleted or of wrong types."""
    try:
        content = json.loads(base.read_text(encoding="utf-8-sig"))
    except RecursionError:
        return
    for _ in range(draw.randint(1, 3)):
        node = content
        while isinstance(node, (dict, list)) and node:
            key = draw.choice(list(node) if isinstance(node, dict) else range(len(node)))
            if isinstance(node[key], (dict, list)) and node[key] and draw.random() < 0.7:
                node = node[key]
                continue
            if draw.random() < 0.3:
                del node[key]
            else:
                node[key] = copy.deepcopy(draw.choice(VALUES))
            break
    path = project / "notebooks" / "damaged.ipynb"
    path.write_text(json.dumps(content))
    check_file(path, max_bytes=2**20)
    list(patch_files([path], job(project), Mode.DIFF))
    with contextlib.suppress(NotebookError):
        parsed(path.read_text(), path)


@pytest.mark.parametrize("statement", STATEMENTS)
def test_each_statement_alone_and_behind_models(statement: str, project: Path) -> None:
    path = project / "notebooks" / "one.ipynb"
    path.write_text(_text([*STATEMENTS[:6], statement, statement]), encoding="utf-8")
    check_file(path, max_bytes=2**20)
    (report,) = patch_files([path], job(project), Mode.DIFF)
    assert report.error is None


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_corpus_by_all_patches(path: Path, project: Path) -> None:
    copy = project / "notebooks" / path.name
    copy.write_bytes(path.read_bytes())
    check_file(copy, max_bytes=2**20)
    (report,) = patch_files([copy], job(project), Mode.WRITE)
    assert report.error is None
    written = copy.read_bytes()
    (again,) = patch_files([copy], job(project), Mode.WRITE)
    assert not again.changes
    assert copy.read_bytes() == written

"""Every patch on every notebook of the corpus: the result, and what no patch may ever do."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import libcst as cst
import nbformat
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus_cases import EXPECTED, NOTEBOOKS, make_project, patches, result
from edge_glass.tools.code.cells import PythonCell, syntax_problem
from edge_glass.tools.notebook import parse_notebook, read_notebook
from edge_glass.tools.patch.batch import Job, Mode, exit_status, patch_files
from edge_glass.tools.patch.rewrite import (
    Note,
    Rewrite,
    rewrite_notebook,
)

PATCHES = sorted(patches(Path()))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path)


def test_the_corpus_is_large_enough() -> None:
    assert len(NOTEBOOKS) >= 25


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_expected_result(path: Path, project: Path) -> None:
    copy = project / "notebooks" / path.name
    copy.write_bytes(path.read_bytes())
    expected = json.loads((EXPECTED / f"{path.stem}.json").read_text(encoding="utf-8"))
    nothing = {"cells": {}, "notes": []}
    for name, patch in patches(project).items():
        assert result(copy, patch) == expected.get(name, nothing), name


@pytest.mark.parametrize("name", PATCHES)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_written_file(path: Path, name: str, project: Path) -> None:
    """Only changed sources differ in the file, twice equals once, the backup is the original."""
    copy = project / "notebooks" / path.name
    old = path.read_bytes()
    copy.write_bytes(old)
    patch = patches(project)[name]

    (report,) = patch_files([copy], Job(patches=[patch]), Mode.WRITE)
    assert report.error is None
    new = copy.read_bytes()
    assert (new != old) == bool(report.changed_cells)
    if not report.changed_cells:
        assert report.backup is None
    else:
        assert report.backup is not None
        assert report.backup.read_bytes() == old

    before, after = read_notebook(path), read_notebook(copy)
    assert len(before.cells) == len(after.cells)
    assert _without_sources(before.text, before) == _without_sources(after.text, after)
    for cell, changed in zip(before.cells, after.cells, strict=True):
        if cell.index not in report.changed_cells:
            assert before.text[slice(*cell.span)] == after.text[slice(*changed.span)]
    assert new.endswith(b"\n") == old.endswith(b"\n")

    (again,) = patch_files([copy], Job(patches=[patch]), Mode.WRITE)
    assert again.changed_cells == ()
    assert copy.read_bytes() == new


def _without_sources(text: str, notebook: object) -> list[str]:
    """Return the file's text around the cells' sources."""
    pieces, at = [], 0
    for cell in notebook.cells:  # type: ignore[attr-defined]
        pieces.append(text[at : cell.span[0]])
        at = cell.span[1]
    return [*pieces, text[at:]]


@pytest.mark.parametrize("mode", [Mode.DIFF, Mode.CHECK])
def test_only_write_changes_files(mode: Mode, project: Path) -> None:
    for path in NOTEBOOKS:
        (project / "notebooks" / path.name).write_bytes(path.read_bytes())
    files = sorted((project / "notebooks").iterdir())
    for patch in patches(project).values():
        reports = list(patch_files(files, Job(patches=[patch]), mode))
        changes = any(report.changed_cells for report in reports)
        assert changes or patch.name == "keywords"  # which changes nothing without a mapping
        assert all(bool(report.diff) == (mode is Mode.DIFF and bool(report.changed_cells))
                   for report in reports)  # fmt: skip
        assert exit_status(reports, mode) == (mode is Mode.CHECK and changes)
    assert sorted((project / "notebooks").iterdir()) == files
    assert all((project / "notebooks" / p.name).read_bytes() == p.read_bytes() for p in NOTEBOOKS)


def test_corpus_stays_valid(project: Path) -> None:
    """What was valid for nbformat is so after all patches, one after another."""
    for path in NOTEBOOKS:
        text = read_notebook(path).text
        for patch in patches(project).values():
            notebook = parse_notebook(text, project / "notebooks" / path.name)
            text = notebook.replaced(rewrite_notebook(notebook, [patch]).sources)
        if read_notebook(path).nbformat == 4:
            nbformat.validate(json.loads(text.removeprefix("\ufeff")))


# Properties over code put together at random.

STATEMENTS = [
    "import torch",
    "import torch as t",
    "from torchvision import transforms as T",
    "device = 'cuda'",
    "device = torch.device('cuda:1')",
    "%matplotlib inline",
    "!nvidia-smi",
    "files = !ls",
    "%time y = x.cuda()",
    "x = torch.zeros(3).cuda()",
    "x = x.to(device); y = x.cpu()",
    "m = AutoModel.from_pretrained('q-7B', device_map='auto')",
    "m = AutoModel.from_pretrained('q-7B').cuda()",
    "m.cuda()",
    "m = m.to('cuda')",
    "out = m(x, y.to(device))",
    "def f(m, device):\n    return m.to(device)(x.cuda())",
    "class A:\n    def g(self):\n        self.m.cuda()",
    "if x:\n    m.cuda()\nelse:\n    z = torch.ones(2, device='cuda')",
    "p = '/home/ann/project/data/train.parquet'",
    "q = f'/home/ann/project/data/{n}.txt'",
    "a = T.Compose([T.RandomHorizontalFlip(), T.Resize(8), T.ToTensor()])",
    "image_transform = T.Compose([T.ColorJitter(1), T.Resize((8, 8)), T.ToTensor()])",
    "def collate(batch):\n    return [b['caption'] for b in batch]",
    "def collate_fn(batch, tok):\n    return tok([b['question'] for b in batch])",
    "loader = DataLoader(d, collate_fn=lambda b: [r['text'] for r in b])",
    "# a remark with .cuda() and '/home/ann/project/data'",
    "s = '''\n%time x.cuda()\n'''",
    "async for a in b:\n    await a.cuda()",
    "this does not parse .cuda()",
    "ü = 'größe 🎨'\r\nü.cuda()",
    "",
]
CELLS = st.lists(st.lists(st.sampled_from(STATEMENTS), max_size=5).map("\n".join), max_size=6)


def _notebook(sources: list[str], folder: Path) -> object:
    cells = [{"cell_type": "code", "source": source.splitlines(True)} for source in sources]
    text = json.dumps({"cells": cells, "nbformat": 4, "nbformat_minor": 4}, indent=1)
    return parse_notebook(text, folder / "notebooks" / "x.ipynb")


@pytest.fixture(scope="session")
def shared_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("properties"))


@pytest.mark.parametrize("name", PATCHES)
@settings(max_examples=40, deadline=None)
@given(sources=CELLS)
def test_properties(shared_project: Path, name: str, sources: list[str]) -> None:
    """The result parses, twice equals once, and cells that don't parse stay as they are."""
    patch = patches(shared_project)[name]
    notebook = _notebook(sources, shared_project)
    outcome = rewrite_notebook(notebook, [patch])  # type: ignore[arg-type]
    from edge_glass.tools.code.masking import mask

    for index, source in outcome.sources.items():
        assert syntax_problem(mask(source).text) is None
        assert syntax_problem(mask(sources[index]).text) is None
        assert [line for line in sources[index].splitlines() if line.startswith(("!", "%mat"))] == [
            line for line in source.splitlines() if line.startswith(("!", "%mat"))
        ]
    text = notebook.replaced(outcome.sources)  # type: ignore[attr-defined]
    again = parse_notebook(text, notebook.path)  # type: ignore[attr-defined]
    assert rewrite_notebook(again, [patch]).sources == {}


@pytest.mark.parametrize("name", sorted(set(PATCHES) - {"setup"}))  # it takes an import out
@settings(max_examples=40, deadline=None)
@given(source=st.lists(st.sampled_from(["x = 1", "def f(a):\n    return a / 2", "import os",
       "print(f'{x}')", "y = {'a': [1, 2]}", "# just words", "for i in range(3): pass",
       "z = 'a/b'", "w = re.sub('\\\\d', '/', s)"])).map("\n".join))  # fmt: skip
def test_no_business_there(shared_project: Path, name: str, source: str) -> None:
    """A cell without devices, collates, transforms or machine paths is never changed."""
    outcome = rewrite_notebook(
        _notebook([source], shared_project),  # type: ignore[arg-type]
        [patches(shared_project)[name]],
    )
    assert outcome.sources == {}


# The runner holds its promises whatever a patch does.


class Careless:
    """Replaces every cell by fixed text."""

    name = "careless"

    def __init__(self, text: str) -> None:
        self.text = text

    def rewrite(self, cells: tuple[PythonCell, ...], path: Path, /) -> Rewrite:
        notes = [Note(cell.index, "changed", "done") for cell in cells]
        return Rewrite(texts={cell.index: self.text for cell in cells}, notes=notes)


@pytest.mark.parametrize(
    ("source", "text", "reason"),
    [
        ("x = 1", "x = = 2", "the result would not parse"),
        ("!ls\nx = 1", "x = 2", "a magic or shell line would be lost"),
    ],
)
def test_a_patch_cannot_break_a_cell(source: str, text: str, reason: str) -> None:
    outcome = rewrite_notebook(_notebook([source], Path()), [Careless(text)])  # type: ignore[arg-type]
    assert outcome.sources == {}
    assert [note.kind for note in outcome.notes] == ["left"]
    assert reason in outcome.notes[0].message


def test_a_cell_that_libcst_refuses_is_left_and_the_others_are_done() -> None:
    deep = "x = " + "-" * 3000 + "1 .cuda()"  # fine for no parser's stack
    notebook = _notebook([deep, "import torch\nx = torch.ones(1).cuda()"], Path())
    outcome = rewrite_notebook(notebook, [patches(Path())["devices"]])  # type: ignore[arg-type]
    assert list(outcome.sources) == [1]
    assert [note.cell for note in outcome.notes if note.kind == "unparsed"] == [0]


def test_untouched_code_is_equal_for_python(project: Path) -> None:
    """A patch leaves the meaning of statements that it does not report alone."""
    source = "import torch\nx = torch.zeros(3).cuda()\ny = [i ** 2 for i in range(3)]\n"
    notebook = _notebook([source], project)
    outcome = rewrite_notebook(notebook, [patches(project)["devices"]])  # type: ignore[arg-type]
    old, new = ast.parse(source).body, ast.parse(outcome.sources[0]).body
    assert ast.dump(old[-1]) == ast.dump(new[-1])
    assert cst.parse_module(outcome.sources[0]).code == outcome.sources[0]

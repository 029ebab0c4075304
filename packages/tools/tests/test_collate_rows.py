"""Collate functions that are hard to repair: filtered rows, several loaders, factories."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edge_glass.tools.notebook import parse_notebook
from edge_glass.tools.patch.collate.collate_patch import CollatePatch
from edge_glass.tools.patch.syntax.rewrite import Note, rewrite_notebook

HEAD = (
    "import torch\nfrom functools import partial\n"
    "from torch.utils.data import ConcatDataset, DataLoader, Subset, random_split"
)
LOADER = "loader = DataLoader(rows, batch_size=2, collate_fn=collate_fn)"
READ = "for batch in loader:\n    print(batch['image'], batch['answers'])"


def _notebook(cells: list[str]) -> Any:
    entries = [{"cell_type": "code", "source": cell.splitlines(True)} for cell in cells]
    text = json.dumps({"cells": entries, "nbformat": 4, "nbformat_minor": 4}, indent=1)
    return parse_notebook(text, Path("/nowhere/collate.ipynb"))


def _patched(cells: list[str]) -> tuple[list[str], tuple[Note, ...]]:
    outcome = rewrite_notebook(_notebook(cells), [CollatePatch()])
    new = [outcome.sources.get(number, cell) for number, cell in enumerate(cells)]
    assert rewrite_notebook(_notebook(new), [CollatePatch()]).sources == {}
    return new, outcome.notes


def _collated(function: str, *, values: str = "'answer': 'a'") -> tuple[list[str], list[Note]]:
    rows = f"rows = [{{'image': 1, {values}}}]"
    read = "for batch in loader:\n    print(batch['answers'])"
    new, notes = _patched([HEAD, rows, function, LOADER, read])
    return new, [note for note in notes if "`answers`" in note.message]


FILTERED = {
    "a different name": ("    r = [x for x in rows if x['image']]\n", "r"),
    "the same name": ("    rows = [x for x in rows if x is not None]\n", "rows"),
    "filter()": ("    kept = list(filter(None, rows))\n", "kept"),
    "sorted": ("    rows = sorted(rows, key=lambda x: x['image'])\n", "rows"),
    "sorted in place": ("    rows.sort(key=lambda x: x['image'])\n", "rows"),
}


@pytest.mark.parametrize(("line", "name"), FILTERED.values(), ids=FILTERED)
def test_a_value_is_made_from_the_rows_that_the_others_are_made_from(line: str, name: str) -> None:
    function = f"def collate_fn(rows):\n{line}    return {{'image': [x['image'] for x in {name}]}}"
    new, _ = _collated(function)
    expected = f"'image': [x['image'] for x in {name}], 'answers': [x['answer'] for x in {name}]"
    assert expected in new[2]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("rows = [torch.tensor(r['image']) for r in rows]\n    return {'image': rows}",
         "bound again"),
        ("images, rows = zip(*[(r['image'], r) for r in rows])\n    return {'image': images}",
         "bound again"),
        ("r = [x for x in rows if x]\n    return {'image': [x['image'] for x in r], "
         "'label': [x['label'] for x in rows]}", "made from 'r' and 'rows'"),
        ("out = []\n    for r in rows:\n        if r['image'] is None:\n            continue\n"
         "        out.append(r['image'])\n    return {'image': out}", "drops or repeats rows"),
        ("return {'image': [r['image'] for r in rows if r['image']]}", "drops or repeats rows"),
        ("return {'image': [x for r in rows for x in r['image']]}", "repeats rows"),
        ("out = []\n    for r in rows:\n        for x in r['image']:\n            out.append(x)\n"
         "    return {'image': out}", "repeats rows"),
        ("out = []\n    while rows:\n        out.append(rows.pop()['image'])\n"
         "    return {'image': out}", "drops or"),
        ("order = pick(rows)\n    return {'image': [rows[i]['image'] for i in order]}",
         "made from `order`"),
        ("return {'image': images(rows)}", "does not show"),
        ("return {'image': [r['image'] for r in filter(None, rows)]}", "drops or repeats rows"),
        ("keep = [rows[i] for i in order]\n    return {'image': [r['image'] for r in keep]}",
         "made from `keep`"),
        ("images = [r['image'] for r in rows]\n    rows.pop()\n    return {'image': images}",
         "changes while"),
        ("images = [r['image'] for r in rows]\n    rows = rows[1:]\n    return {'image': images}",
         "changes while"),
    ],
)  # fmt: skip
def test_left_if_no_name_surely_holds_the_rows(body: str, reason: str) -> None:
    function = f"def collate_fn(rows):\n    {body}"
    new, (note,) = _collated(function)
    assert new[2] == function
    assert note.kind == "left"
    assert reason in note.message


@pytest.mark.parametrize(
    ("value", "key", "expected"),
    [
        ("torch.zeros(3)", "vec", "torch.stack([r['vec'] for r in rows])"),
        ("torch.zeros(3).float()", "image_path", "torch.stack([r['image_path'] for r in rows])"),
        ("'a.png'", "image_path", "'image_path': [r['image_path'] for r in rows]"),
        ("load()", "image_path", "'image_path': [r['image_path'] for r in rows]"),
        ("7", "image_id", "'image_id': [r['image_id'] for r in rows]"),
        ("7", "label", "'label': torch.tensor([r['label'] for r in rows])"),
        ("[1, 2]", "image_ids", "'image_ids': [r['image_ids'] for r in rows]"),
    ],
)
def test_only_what_is_surely_a_tensor_is_stacked(value: str, key: str, expected: str) -> None:
    cells = [
        HEAD,
        f"rows = [{{'image': torch.zeros(3), '{key}': {value}}}]",
        "def collate_fn(rows):\n    return {'image': torch.stack([r['image'] for r in rows])}",
        LOADER,
        f"for batch in loader:\n    batch['{key}']",
    ]
    new, _ = _patched(cells)
    assert expected in new[2]


TOKENS_FIRST = "def collate(tok, rows):\n    return {'image': [r['image'] for r in rows]}"


@pytest.mark.parametrize(
    "given",
    ["partial(collate, tok)", "lambda b: collate(tok, b)", "lambda b: collate(tok, rows=b)",
     "made"],
)  # fmt: skip
def test_the_parameter_that_gets_the_batch(given: str) -> None:
    loader = f"made = partial(collate, tok)\nloader = DataLoader(rows, collate_fn={given})"
    cells = [HEAD, "tok = None\nrows = [{'image': 1, 'answer': 'a'}]", TOKENS_FIRST, loader, READ]
    new, _ = _patched(cells)
    assert "'answers': [r['answer'] for r in rows]" in new[2]


def test_parameters_that_differ_are_left() -> None:
    loader = ("loader = DataLoader(rows, collate_fn=partial(collate, tok))\n"
              "two = DataLoader(rows, collate_fn=collate)")  # fmt: skip
    cells = [HEAD, "tok = None\nrows = [{'image': 1, 'answer': 'a'}]", TOKENS_FIRST, loader, READ]
    new, notes = _patched(cells)
    assert new == cells
    assert any("`answers`" in n.message for n in notes if n.kind in ("left", "person"))


TWO = "one = DataLoader(a, collate_fn=collate_fn)\ntwo = DataLoader(b, collate_fn=collate_fn)"
PLAIN = "def collate_fn(rows):\n    return {'image': [r['image'] for r in rows]}"
READ_TWO = "for batch in one:\n    batch['answers']\nfor batch in two:\n    batch['image']"


def test_two_loaders_get_only_keys_that_the_rows_of_both_have() -> None:
    rows = "a = [{'image': 1, 'answer': 'x'}]\nb = [{'image': 1, 'caption': 'y'}]"
    cells = [HEAD, rows, PLAIN, TWO, READ_TWO]
    new, notes = _patched(cells)
    (note,) = [each for each in notes if "`answers`" in each.message]
    assert new == cells
    assert "line 1, has `answer`, `image`; the loader in cell 4, line 2, has" in note.message
    both = rows.replace("'caption'", "'answer'")
    new, _ = _patched([HEAD, both, PLAIN, TWO, READ_TWO])
    assert "'answers': [r['answer'] for r in rows]" in new[2]
    unknown = "a = [{'image': 1, 'answer': 'x'}]\nb = load()"
    cells = [HEAD, unknown, PLAIN, TWO, READ_TWO]
    assert _patched(cells)[0] == cells


def test_the_calls_of_a_function_that_makes_loaders() -> None:
    rows = "a = [{'image': 1, 'answer': 'x'}]\nb = [{'image': 1, 'caption': 'y'}]"
    make = ("def make(ds):\n    return DataLoader(ds, collate_fn=collate_fn)\n"
            "one = make(a)\ntwo = make(b)")  # fmt: skip
    for order in (
        make,
        make.replace("one = make(a)\ntwo = make(b)", "two = make(b)\none = make(a)"),
    ):
        cells = [HEAD, rows, PLAIN, order, READ_TWO]
        assert _patched(cells)[0] == cells


def test_a_method_is_never_a_function_of_the_same_name() -> None:
    other = "def collate(rows):\n    return {'image': [r['image'] for r in rows]}"
    data = ("class Data(Base):\n    def loader(self):\n"
            "        return DataLoader(rows, collate_fn=self.collate)")  # fmt: skip
    read = "for batch in Data().loader():\n    batch['answers']"
    rows = "rows = [{'image': 1, 'answer': 'x'}]"
    assert _patched([HEAD, rows, other, data, read])[0][2:] == [other, data, read]
    method = (
        "\n    def collate(self, items):\n        return {'image': [r['image'] for r in items]}"
    )
    own = data.replace("(Base)", "") + method
    loop = ("class Run(Data):\n    def go(self):\n        for batch in DataLoader(rows, "
            "collate_fn=self.collate):\n            batch['answers']")  # fmt: skip
    new, _ = _patched([HEAD, rows, other, own, loop])
    assert new[2] == other
    assert "'answers': [r['answer'] for r in items]" in new[3]


def test_a_message_has_no_empty_list() -> None:
    cells = [HEAD, "def collate_fn(rows):\n    return {'image': make(rows)}", LOADER,
             "for batch in loader:\n    batch['gold']"]  # fmt: skip
    _, (note,) = _patched(cells)
    assert "its rows have no key that can be read" in note.message


@pytest.mark.parametrize("ending", ["return inner", "fn = 1\n    return lambda rows: inner(rows)"])
def test_a_function_that_makes_the_collate_function(ending: str) -> None:
    make = ("def build(tok):\n    def inner(rows):\n        return {'image': "
            f"[r['image'] for r in rows]}}\n    {ending}")  # fmt: skip
    loader = "loader = DataLoader(rows, collate_fn=build(None))"
    new, _ = _patched([HEAD, "rows = [{'image': 1, 'answer': 'x'}]", make, loader, READ])
    assert "'answers': [r['answer'] for r in rows]" in new[2]


@pytest.mark.parametrize(
    "wrapped",
    ["data = Subset(a, range(3))", "data, rest = random_split(a, [1, 0])",
     "data = ConcatDataset([a, a])"],
)  # fmt: skip
def test_wrapped_data_sets_keep_their_rows(wrapped: str) -> None:
    rows = "a = [{'image': 1, 'answer': 'x', 'note': 'y'}]\n" + wrapped
    loader = "loader = DataLoader(data, collate_fn=collate_fn)"
    new, _ = _patched([HEAD, rows, PLAIN, loader, READ])
    assert "'answers': [r['answer'] for r in rows]" in new[2]
    cells = [HEAD, rows.replace("answer", "text"), PLAIN, loader, READ]
    new, notes = _patched(cells)
    assert new == cells
    assert any("the rows have `image`, `note`, `text`" in note.message for note in notes)


@pytest.mark.parametrize(
    "data",
    ["class D:\n    def __getitem__(self, i):\n        return 1, 'a'\nrows = D()", "rows = load()"],
)
def test_rows_that_are_tuples(data: str) -> None:
    body = "images, texts = zip(*rows)\n    return {'image': list(images)}"
    cells = [HEAD, data, f"def collate_fn(rows):\n    {body}", LOADER, READ]
    new, notes = _patched(cells)
    assert new == cells
    assert any("its rows are tuples" in note.message for note in notes)


def _library_notes(function: str, loader: str = LOADER) -> list[Note]:
    _, notes = _patched([HEAD, function, loader])
    return [note for note in notes if "all its keys map" in note.message]


def test_the_library_is_offered_if_keys_map_in_the_plural() -> None:
    value = "{'captions': [r['caption'] for r in rows], 'images': [r['image'] for r in rows]}"
    (note,) = _library_notes(f"def collate_fn(rows):\n    return {value}")
    assert "`captions` is `caption`, `images` is `image`" in note.message
    assert note.kind == "left"
    cells = [HEAD, f"def collate_fn(rows):\n    return {value}", LOADER]
    assert rewrite_notebook(_notebook(cells), [CollatePatch(library=True)]).sources == {}
    value = "{'captions': [r['caption'] for r in rows], 'scores': [1 for r in rows]}"
    assert not _library_notes(f"def collate_fn(rows):\n    return {value}")


def test_the_library_is_called_with_the_rows_only() -> None:
    function = "def collate(tok, rows):\n    return {'caption': [r['caption'] for r in rows]}"
    loader = "loader = DataLoader(rows, collate_fn=partial(collate, tok))"
    cells = [HEAD, function, loader]
    outcome = rewrite_notebook(_notebook(cells), [CollatePatch(library=True)])
    assert outcome.sources == {}
    assert any("not its first parameter" in note.message for note in outcome.notes)

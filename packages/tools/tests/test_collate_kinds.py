"""Notebooks of the kind that `fix_collate_fn` was for: patched, then the function is run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edge_glass.tools.notebook import parse_notebook
from edge_glass.tools.patch.collate.collate_patch import CollatePatch
from edge_glass.tools.patch.syntax.rewrite import Note, rewrite_notebook

HEAD = (
    "import torch\nfrom functools import partial\nfrom torch.nn.utils.rnn import pad_sequence\n"
    "from torch.utils.data import DataLoader"
)
STACK = "torch.stack([r['image'] for r in rows])"
IDS = "pad_sequence([r['answer_ids'] for r in rows], batch_first=True, padding_value=0)"
READ = "for batch in loader:\n    print(batch['images'], batch['answers'])"
LOADER = "loader = DataLoader(rows, batch_size=2, collate_fn=collate_fn)"
ROWS = [
    {"image": 1, "answer_ids": [1, 2], "answer": "two", "label": 3, "question": "how many?"}
] * 2

# name -> (cells, the collate function to call, its result)
KINDS: dict[str, tuple[list[str], str]] = {
    "a dict on several lines": ([
        f"def collate_fn(rows):\n    return {{\n        'images': {STACK},\n"
        f"        'answer_ids': {IDS},\n    }}", LOADER, READ], "collate_fn(ROWS)"),
    "a dict on one line": ([
        f"def collate_fn(rows):\n    return {{'images': {STACK}, 'answer_ids': {IDS}}}",
        LOADER, READ], "collate_fn(ROWS)"),
    "no comma at the end": ([
        f'def my_collate(rows):\n    out = {{\n        "images": {STACK},\n'
        f'        "answer_ids": ({IDS})\n    }}\n    return out',
        "loader = DataLoader(d, collate_fn=my_collate)",
        "it = iter(loader)\nbatch = next(it)\nbatch['answers']"], "my_collate(ROWS)"),
    "keys one by one": ([
        f"def collate(rows):\n    batch = {{}}\n    batch['images'] = {STACK}\n"
        f"    batch['answer_ids'] = {IDS}\n    return batch",
        "loader = DataLoader(d, collate_fn=collate)",
        "for step, b in enumerate(loader):\n    b['answers']"], "collate(ROWS)"),
    "dict()": ([
        f"def collate_fn(rows):\n    return dict(images={STACK}, answer_ids={IDS})",
        LOADER, "from tqdm.auto import tqdm\nfor batch in tqdm(loader, desc='x'):\n"
        "    a = batch.get('answers')"], "collate_fn(ROWS)"),
    "a lambda": ([
        "loader = DataLoader(d, collate_fn=lambda rows: {'images': torch.stack("
        "[r['image'] for r in rows]), 'answer': [r['answer'] for r in rows]})",
        READ], "loader.collate_fn(ROWS)"),
    "a partial": ([
        "def pad_rows(rows, pad):\n    ids = [r['answer_ids'] for r in rows]\n"
        f"    return {{'images': {STACK}, 'answer_ids': pad_sequence(ids, padding_value=pad)}}",
        "loader = DataLoader(d, collate_fn=partial(pad_rows, pad=0))",
        READ], "pad_rows(ROWS, 0)"),
    "a class that is called": ([
        "class Collator:\n    def __init__(self, pad):\n        self.pad = pad\n\n"
        "    def __call__(self, samples):\n        ids = [s['answer_ids'] for s in samples]\n"
        "        return {\n            'images': torch.stack([s['image'] for s in samples]),\n"
        "            'answer_ids': ids,  # not padded\n        }",
        "loader = DataLoader(d, collate_fn=Collator(0))", READ], "Collator(0)(ROWS)"),
    "a method": ([
        "class Rows:\n    @staticmethod\n    def collate_fn(rows):\n"
        f"        return {{'images': {STACK}, 'answer_ids': {IDS}}}",
        "data = Rows()\nloader = DataLoader(data, collate_fn=data.collate_fn)",
        READ], "Rows.collate_fn(ROWS)"),
    "read in a helper": ([
        f"def collate_fn(rows):\n    return {{'images': {STACK}, 'answer_ids': {IDS}}}",
        LOADER, "def score(model, data):\n    for step, batch in enumerate(data):\n"
        "        right(batch)\n\ndef right(b):\n    return b['answers']",
        "score(model, loader)"], "collate_fn(ROWS)"),
    "a nested function": ([
        f"def make_loader(rows):\n    def collate_fn(rows):\n"
        f"        return {{'images': {STACK}, 'answer_ids': {IDS}}}\n"
        "    return DataLoader(rows, collate_fn=collate_fn)",
        "loader = make_loader(data)", READ], "make_loader(None).collate_fn(ROWS)"),
    "a batch that is moved": ([
        f"def collate_fn(rows):\n    return {{'images': {STACK}, 'answer_ids': {IDS}}}", LOADER,
        "for batch in loader:\n    batch = {k: v.to('cuda') for k, v in batch.items()}\n"
        "    batch['answers']"], "collate_fn(ROWS)"),
    "the data set is there": ([
        "class QA:\n    def __getitem__(self, i):\n        row = {'image': 1, 'answer_ids': [1]}\n"
        "        row['answer'] = 'two'\n        return row",
        "def collate_fn(batch):\n    images = torch.stack([item['image'] for item in batch])\n"
        "    return {'images': images}",
        "loader = DataLoader(QA(), collate_fn=collate_fn)", READ], "collate_fn(ROWS)"),
    "async": ([
        f"def collate_fn(rows):\n    return {{'images': {STACK}, 'answer_ids': {IDS}}}", LOADER,
        "async def run():\n    async for batch in loader:\n        await send(batch['answers'])"],
        "collate_fn(ROWS)"),
    "magics and a comment at the end": ([
        f"%%time\ndef collate_fn(rows):\n    return {{\n        'images': {STACK},\n"
        f"        'answer_ids': {IDS}  # padded\n    }}", LOADER, "!ls\n" + READ],
        "collate_fn(ROWS)"),
}  # fmt: skip


def _notebook(cells: list[str]) -> Any:
    entries = [{"cell_type": "code", "source": cell.splitlines(True)} for cell in cells]
    text = json.dumps({"cells": entries, "nbformat": 4, "nbformat_minor": 4}, indent=1)
    return parse_notebook(text, Path("/nowhere/collate.ipynb"))


def _patched(cells: list[str]) -> tuple[list[str], tuple[Note, ...]]:
    outcome = rewrite_notebook(_notebook(cells), [CollatePatch()])
    new = [outcome.sources.get(number, cell) for number, cell in enumerate(cells)]
    assert rewrite_notebook(_notebook(new), [CollatePatch()]).sources == {}
    return new, outcome.notes


class _Loader:
    """A loader that only keeps its collate function."""

    def __init__(self, dataset: Any, *, batch_size: int = 1, collate_fn: Any = None) -> None:
        self.collate_fn = collate_fn


class _Torch:
    stack = staticmethod(list)


@pytest.mark.parametrize(("cells", "call"), KINDS.values(), ids=KINDS)
def test_the_missing_key_is_added(cells: list[str], call: str) -> None:
    new, notes = _patched([HEAD, *cells])
    assert any("`answers`" in note.message for note in notes if note.kind == "changed")
    namespace: dict[str, Any] = {
        "torch": _Torch, "DataLoader": _Loader, "partial": __import__("functools").partial,
        "pad_sequence": lambda values, **_: list(values), "ROWS": ROWS, "rows": ROWS, "d": ROWS,
        "data": ROWS, "model": None,
    }  # fmt: skip
    for cell in new[1:]:
        code = "\n".join(line for line in cell.splitlines() if not line.startswith(("%", "!")))
        if any(word in code for word in ("def ", "class ", "loader = ")):
            exec(compile(code, "cell", "exec"), namespace)
    exec(f"result = {call}", namespace)
    batch = namespace["result"]
    assert batch["answers"] == ["two", "two"]
    assert batch["images"] == [1, 1]


def test_a_key_that_the_rows_do_not_have_is_left_to_a_person() -> None:
    cells = [
        HEAD,
        "class QA:\n    def __getitem__(self, i):\n        return {'image': 1, 'question': 'a'}",
        "def collate_fn(rows):\n    return {'images': [r['image'] for r in rows]}",
        "loader = DataLoader(QA(), collate_fn=collate_fn)",
        READ,
    ]
    new, notes = _patched(cells)
    assert new == cells
    (note,) = notes
    assert note.kind == "person"
    assert "lacks `answers`, which cell 5 reads" in note.message
    assert "the rows have `image`, `question`" in note.message


@pytest.mark.parametrize(
    ("function", "read"),
    [
        ("{**rows[0], 'a': 1}", "batch['b']"),  # any key of a row
        ("tokenizer([r['q'] for r in rows])", "batch['input_ids']"),
        ("{k: [r[k] for r in rows] for k in rows[0]}", "batch['b']"),
        ("{'a': [r['a'] for r in rows]}", "'b' in batch and batch['b']"),
        ("{'a': [r['a'] for r in rows]}", "batch['b'] = 1; batch['b']"),
        ("{'a': [r['a'] for r in rows]}", "batch['a']"),
        ("torch.stack(rows)", "batch['a']"),
    ],
)
def test_no_key_is_missed(function: str, read: str) -> None:
    cells = [HEAD, f"def collate_fn(rows):\n    return {function}", LOADER,
             f"for batch in loader:\n    {read}"]  # fmt: skip
    new, notes = _patched(cells)
    assert new == cells
    assert not [note for note in notes if note.kind in ("changed", "person")]


def test_two_loaders_with_functions_of_their_own() -> None:
    cells = [
        HEAD,
        "def collate_a(rows):\n    return {'a': [r['a'] for r in rows]}\n"
        "def collate_b(rows):\n    return {'b': [r['b'] for r in rows]}",
        "one = DataLoader(x, collate_fn=collate_a)\ntwo = DataLoader(x, collate_fn=collate_b)",
        "for batch in one:\n    batch['a']\nfor batch in two:\n    batch['b']",
    ]
    new, notes = _patched(cells)
    assert new == cells
    assert not [note for note in notes if note.kind in ("changed", "person")]


@pytest.mark.parametrize(
    ("made", "key", "expected"),
    [
        ("pad_sequence([r['question_ids'] for r in rows], padding_value=9)", "answer_ids",
         "'answer_ids': pad_sequence([r['answer_ids'] for r in rows], padding_value=9)"),
        ("torch.stack([r['image'] for r in rows])", "depth_image",
         "'depth_image': torch.stack([r['depth_image'] for r in rows])"),
    ],
)  # fmt: skip
def test_a_key_is_made_as_its_kin_is(made: str, key: str, expected: str) -> None:
    other = "question_ids" if "question" in made else "image"
    cells = [
        HEAD,
        f"rows = [{{'{other}': 1, '{key}': 2}}]",
        f"def collate_fn(rows):\n    return {{'{other}': {made}}}",
        LOADER,
        f"for batch in loader:\n    batch['{key}']",
    ]
    new, _ = _patched(cells)
    assert expected in new[2]


def test_a_number_that_is_used_as_a_tensor() -> None:
    cells = [HEAD, "def collate_fn(rows):\n    return {'image': [r['image'] for r in rows]}",
             "rows = [{'image': 1, 'label': 3}]\n" + LOADER,
             "for batch in loader:\n    batch['label'].to('cuda')"]  # fmt: skip
    new, _ = _patched(cells)
    assert "'label': torch.tensor([r['label'] for r in rows])" in new[1]
    new, _ = _patched([*cells[:2], cells[2].replace("3", "f()"), cells[3]])
    expected = "'label': torch.stack([torch.as_tensor(r['label']) for r in rows])"
    assert expected in new[1]


def test_the_library_is_offered_if_all_keys_map() -> None:
    cells = [HEAD, "def collate_fn(rows):\n    return {'caption': [r['caption'] for r in rows]}"]
    new, (note,) = _patched(cells)
    assert new == cells
    assert "collate_captions; `patch collate --library`" in note.message

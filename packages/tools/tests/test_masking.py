from __future__ import annotations

import ast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_glass.tools.code.masking import MaskError, mask

MAGICS = [
    "%matplotlib inline",
    "!pip install x \\\n   y",
    "files = !ls {folder}",
    "a, b = %who",
    "d['k'] = !ls",
    "obj?",
    "obj.attribute??",
    "?obj",
    "%time x = f(1)",
    "%timeit -n 3 f(1)",
    "%time for i in x: pass",
    "if x:\n    !mkdir data\n    y = 1",
    "%%time\nx = 1",
    "%%capture out\nx = 1",
    ", f a b",
    "/f a",
]
PLAIN = [
    "x = (7\n  % 3)",
    "s = '''\n%matplotlib inline\n!ls\nobj?\n'''",
    'print("a = !b")',
    "f('a', 'b = %c')",
    "x = 7 \\\n  % 3",
    "a != b",
    "x %= 2",
    "s = 'really?'",
    "y = [\n  1,\n  # ( unclosed in a remark\n]\nz = '['",
]


@pytest.mark.parametrize("source", MAGICS)
def test_magics_are_hidden_and_come_back(source: str) -> None:
    masked = mask(source)
    assert masked.hidden
    ast.parse(masked.text)
    assert masked.restore(masked.text) == source


@pytest.mark.parametrize("source", PLAIN)
def test_python_is_not_taken_for_magics(source: str) -> None:
    masked = mask(source)
    assert masked.hidden == ()
    assert masked.text == source


@pytest.mark.parametrize("magic", ["%%bash", "%%html", "%%writefile x.py", "%%javascript"])
def test_other_languages_are_refused(magic: str) -> None:
    with pytest.raises(MaskError, match="another language"):
        mask(f"\n{magic}\nmodel.cuda()")


def test_python_behind_time_is_visible() -> None:
    assert mask("%time model.cuda()").text.endswith(";model.cuda()")


@pytest.mark.parametrize("change", ["", "{0}{0}"])
def test_a_lost_or_doubled_magic_is_an_error(change: str) -> None:
    masked = mask("!ls\nx = 1")
    with pytest.raises(MaskError, match="lost, doubled or moved"):
        masked.restore(change.format(masked.text))


def test_a_placeholder_in_the_source_is_no_clash() -> None:
    source = "__eg_magic_0__ = 1\n!ls"
    masked = mask(source)
    assert masked.restore(masked.text) == source


@settings(max_examples=150, deadline=None)
@given(
    parts=st.lists(st.sampled_from(MAGICS + PLAIN) | st.text(max_size=30), max_size=6),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_any_text_comes_back_byte_for_byte(parts: list[str], end: str) -> None:
    source = "\n".join(parts).replace("\n", end)
    try:
        masked = mask(source)
    except MaskError:
        return
    assert masked.restore(masked.text) == source

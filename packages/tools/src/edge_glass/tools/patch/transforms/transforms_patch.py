"""Patch `transforms`: image pipelines are called as they are defined, and become the library's.

First the keywords of pipeline functions follow their signatures, and transforms that no cell
defines are defined as an existing call shows. Then each torchvision pipeline is replaced by the
model's own preprocessing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_glass.tools.code.cells import PythonCell, changed_cell
from edge_glass.tools.code.program import Program, program_of
from edge_glass.tools.patch.rewrite import Note, Rewrite
from edge_glass.tools.patch.transforms.drift import define_lost_names, repair_keywords
from edge_glass.tools.patch.transforms.pipelines import replace_pipelines


@dataclass(frozen=True, kw_only=True)
class TransformsPatch:
    """Repairs image pipelines. `fit`: "pad" shows the whole image, "crop" its centre."""

    fit: str = "pad"
    name: str = "transforms"

    def rewrite(self, cells: Sequence[PythonCell], path: Path, /) -> Rewrite:
        notes: list[Note] = []
        now = list(cells)
        steps: list[Callable[[Program], tuple[dict[int, str], list[Note]]]] = [
            repair_keywords,
            define_lost_names,
            lambda program: replace_pipelines(program.cells, self.fit),
        ]
        for step in steps:
            texts, made = step(program_of(tuple(now), path))
            notes += made
            now = [changed_cell(each, texts[each.index]) if each.index in texts else each
                   for each in now]  # fmt: skip
        changed = {new.index: new.text for old, new in zip(cells, now, strict=True)
                   if old.text != new.text}  # fmt: skip
        return Rewrite(texts=changed, notes=notes)

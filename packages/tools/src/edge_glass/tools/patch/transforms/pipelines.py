"""Patch `transforms`: torchvision pipelines become the model's own preprocessing.

`image_transform` keeps the aspect and never flips. Augmentations of colour and sharpness are kept
in front of it; a flip is dropped with a warning, because captions say left and right; a pipeline
with a step that is not known here is left whole.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence

import libcst as cst

from edge_glass.tools.code.cells import PythonCell
from edge_glass.tools.patch.syntax.insertion import free_name, import_line, insert_statements
from edge_glass.tools.patch.syntax.names import (
    NamedTransformer,
    NotebookNames,
    code_of,
    dotted,
    keyword,
)
from edge_glass.tools.patch.syntax.rewrite import Kind, Note

MODULE = "edge_glass.encoders.towers.preprocessing"
FUNCTION = "image_transform"
CLIP = ("(0.48145466, 0.4578275, 0.40821073)", "(0.26862954, 0.26130258, 0.27577711)")

_SIZES = ("Resize", "RandomResizedCrop", "RandomCrop", "CenterCrop")  # the last one there decides
_INTERPOLATION = {"Resize": 1, "RandomResizedCrop": 3}  # place of the argument
_SMOOTH = re.compile(r"bilinear|bicubic|^[23]$", re.IGNORECASE)
_TO_TENSOR = frozenset(
    {"ConvertImageDtype", "PILToTensor", "ToDtype", "ToImage", "ToImageTensor", "ToTensor"}
)
_SAFE = frozenset(
    {"ColorJitter", "GaussianBlur", "GaussianNoise", "JPEG", "RandomAdjustSharpness"}
    | {"RandomAutocontrast", "RandomEqualize", "RandomGrayscale", "RandomPhotometricDistort"}
    | {"RandomPosterize"}
)
_COLOURS = frozenset({"ColorJitter", "RandomGrayscale", "RandomPhotometricDistort"})
_FLIPS = frozenset({"RandomHorizontalFlip", "RandomVerticalFlip"})
_TO_RGB = re.compile(r"""lambda (\w+): \1\.convert\(["']RGB["']\)""")
_USES_CLIP = re.compile(r"CLIPVision|CLIPModel|clip-vit|clip_vit|open_clip", re.IGNORECASE)


def replace_pipelines(cells: Sequence[PythonCell], fit: str) -> tuple[dict[int, str], list[Note]]:
    """Return new texts in which torchvision pipelines are the library's, and the notes.

    Args:
        cells: the notebook's cells.
        fit: "pad" shows the whole image, "crop" its centre.
    """
    relevant = [cell for cell in cells if "Compose" in cell.text]
    texts: dict[int, str] = {}
    notes: list[Note] = []
    if not relevant:
        return texts, notes
    names = NotebookNames(cells)
    text = "\n".join(cell.text for cell in cells)
    opened = frozenset(re.findall(r"([\w.]+)\.transforms\b", text))
    own = CLIP if _USES_CLIP.search(text) else None
    added: str | None = None
    for cell in relevant:
        bound = added or names.bound_by(cell.index, f"{MODULE}.{FUNCTION}")
        function = bound or free_name(FUNCTION, text)
        transformer = _Pipelines(names.at(cell.index), cell.index, function, fit, own, opened)
        module = cell.visit(transformer)
        notes += transformer.notes
        if module.code != cell.text:
            lines = [] if bound else [import_line(MODULE, FUNCTION, function)]
            texts[cell.index] = insert_statements(module, lines).code
            added = function
    return texts, notes


class _Pipelines(NamedTransformer):
    def __init__(
        self,
        names: Mapping[str, str],
        index: int,
        function: str,
        fit: str,
        own: tuple[str, str] | None,
        opened: frozenset[str],
    ) -> None:
        super().__init__(names)
        self._index = index
        self._function = function
        self._fit = fit
        self._own = own
        self._opened = opened
        self._kept: list[cst.BaseExpression] = []  # pipelines whose steps are read
        self.notes: list[Note] = []

    def visit_Assign(self, node: cst.Assign) -> None:
        if {dotted(each.target) for each in node.targets} & self._opened:
            self._kept.append(node.value)

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.BaseExpression:
        called = self.qualified(original_node.func) or ""
        if called.split(".")[0] == "albumentations" and called.endswith(".Compose"):
            self._note("left", original_node, "an albumentations pipeline works on arrays")
            return updated_node
        if not re.fullmatch(r"torchvision\.transforms\.(v2\.)?Compose", called):
            return updated_node
        steps = original_node.args[0].value if original_node.args else None
        if any(original_node is each for each in self._kept):
            self._note("left", original_node, "the notebook reads its steps, `.transforms`")
            return updated_node
        if not isinstance(steps, (cst.List, cst.Tuple)):
            self._note("left", original_node, "its steps are not a list here")
            return updated_node
        return self._pipeline(original_node, updated_node, steps)

    def _pipeline(
        self, original: cst.Call, updated: cst.Call, steps: cst.List | cst.Tuple
    ) -> cst.BaseExpression:
        before: list[cst.BaseElement] = []
        after: list[cst.BaseElement] = []
        sizes: dict[str, str | None] = {}
        mean_std: tuple[str, str] | None = None
        tensor = False
        warnings: list[str] = []
        for element in steps.elements:
            step = element.value
            kind = self._kind(step)
            if kind in _SIZES:
                assert isinstance(step, cst.Call)
                sizes[kind] = _size(step)
                interpolation = _argument(step, _INTERPOLATION.get(kind, 99), "interpolation")
                if interpolation and not _SMOOTH.search(interpolation):
                    reason = f"interpolation {interpolation} may be for masks, which bicubic mixes"
                    self._note("left", original, reason)
                    return updated
                if kind.startswith("Random"):
                    warnings.append(f"{kind} dropped: it cuts off what a caption may speak of")
            elif kind in _TO_TENSOR:
                tensor = True
            elif kind == "Normalize":
                assert isinstance(step, cst.Call)
                mean_std = (_argument(step, 0, "mean"), _argument(step, 1, "std"))
            elif kind in _SAFE:
                (after if tensor else before).append(element)
                if kind in _COLOURS:
                    warnings.append(f"{kind} kept: mind questions that ask for a colour")
            elif kind in _FLIPS:
                warnings.append(f"{kind} dropped: captions and questions say left and right")
            elif kind != "rgb":
                if kind == self._function:
                    return updated  # done before
                self._note("left", original, f"`{code_of(step)}` has no counterpart here")
                return updated
        size = next((sizes[name] for name in reversed(_SIZES) if name in sizes), None)
        if size is None or not tensor:
            self._note("left", original, "no square size, or no tensor, comes out of it")
            return updated
        if mean_std is None:
            reason = "it does not normalise: its images may be for a plot, or be masks"
            self._note("left", original, reason)
            return updated
        if self._own is not None and _differ(mean_std, self._own):
            warnings.append(
                f"mean {mean_std[0]} is not CLIP's, which the notebook loads; now it is"
            )
            mean_std = self._own
        if "CenterCrop" in sizes and self._fit == "pad":
            warnings.append("CenterCrop dropped: the whole image is shown; `--fit crop` keeps it")
        numbers = "mean={}, std={}".format(*map(_as_tuple, mean_std))
        call = f'{self._function}(image_size={size}, fit="{self._fit}", {numbers})'
        for warning in warnings:
            self._note("warning", original, warning)
        self._note("changed", original, f"now `{call}`")
        if not (before or after):
            return cst.parse_expression(call)
        # The list keeps its layout: a comma and line break as its first, an end as its last.
        first, last = steps.elements[0], steps.elements[-1]
        elements = [*before, cst.Element(cst.parse_expression(call)), *after]
        elements = [element.with_changes(comma=first.comma) for element in elements[:-1]] + [
            elements[-1].with_changes(comma=last.comma)
        ]
        argument = updated.args[0].with_changes(value=steps.with_changes(elements=elements))
        return updated.with_changes(args=[argument, *updated.args[1:]])

    def _kind(self, step: cst.BaseExpression) -> str:
        if _TO_RGB.search(code_of(step, 10**6)):
            return "rgb"
        called = self.qualified(step.func) if isinstance(step, cst.Call) else None
        if called == f"{MODULE}.{FUNCTION}":
            return self._function
        if called and called.startswith("torchvision.transforms"):
            return called.split(".")[-1]
        return ""

    def _note(self, kind: Kind, node: cst.CSTNode, message: str) -> None:
        self.notes.append(Note(self._index, kind, f"`{code_of(node)}`: {message}"))


def _argument(call: cst.Call, place: int, name: str) -> str:
    given = keyword(call, name)
    if given is None:
        positional = [argument for argument in call.args if argument.keyword is None]
        given = positional[place] if place < len(positional) else None
    return code_of(given.value, 10**6) if given is not None else ""


def _size(call: cst.Call) -> str | None:
    """Return the side of the square that a step makes, as code; None if it is no square."""
    text = _argument(call, 0, "size")
    pair = re.fullmatch(r"[(\[]\s*(.+?)\s*,\s*(.+?)\s*,?\s*[)\]]", text)
    if pair is None:
        return text or None
    return pair[1] if pair[1] == pair[2] else None


def _as_tuple(text: str) -> str:
    """Write a literal of numbers as the triple that the library's function takes."""
    try:
        numbers = list(ast.literal_eval(text))
    except (ValueError, TypeError, SyntaxError):
        return text  # a name, or something computed
    if len(numbers) == 1:  # one number for all channels
        return str(tuple(numbers * 3))
    return f"({text.strip()[1:-1].strip().rstrip(',')})"


def _differ(found: tuple[str, str], own: tuple[str, str]) -> bool:
    """Whether written-out numbers differ from `own` by more than rounding to three digits."""
    try:
        pairs = [
            (float(a), float(b))
            for left, right in zip(found, own, strict=True)
            for a, b in zip(ast.literal_eval(left), ast.literal_eval(right), strict=True)
        ]
    except (ValueError, TypeError, SyntaxError):
        return False  # a name: whoever chose it knows it
    return any(abs(a - b) > 1e-3 for a, b in pairs)

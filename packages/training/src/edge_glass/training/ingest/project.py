"""The project's `params.yaml`: how the encoder sees images, and the names of data sets.

The file is edited as text, at the places that a YAML parser reports, so that comments and layout
stay as they are.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from edge_glass.encoders.components import ConfigError
from edge_glass.encoders.files import replacing
from edge_glass.training.runtime.yaml_file import parse_yaml

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")


@dataclass(frozen=True, kw_only=True)
class View:
    """How the vision encoder sees an image; `name` is the encoder's."""

    name: str = "an encoder"
    size: int = 256
    fit: Literal["pad", "crop"] = "pad"
    pad_color: Literal["mean", "white"] = "white"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """The lines of a data set for `params.yaml`.

    Attributes:
        name: of the data set.
        data_folder: that its paths begin in, as `params.yaml` writes it.
        sources: "captions" and "questions" to folders in `data_folder`.
    """

    name: str
    data_folder: str
    sources: Mapping[str, str]

    @property
    def line(self) -> str:
        """The line below `datasets`."""
        inner = ", ".join(f"{kind}: {_scalar(path)}" for kind, path in self.sources.items())
        return f"{self.name}: {{{inner}}}"


def check_name(name: str) -> None:
    """Checks the name of a data set.

    Raises:
        ValueError: if DVC could not use it in `dvc.yaml`.
    """
    if not NAME.match(name):
        raise ValueError(f"--add is {name!r}; expected a letter, then letters, digits and _")


def read_view(params: Path) -> View:
    """Returns how the chosen encoder sees images; defaults, if the file does not state it."""
    raw = _read(params)
    name = raw.get("vision_encoder")
    options = _table(_table(raw, "vision_encoders"), name)
    size = _table(_table(raw, "encode"), raw.get("scale")).get("caption_image_size")
    default = View()
    fit, color = options.get("fit"), options.get("pad_color")
    return View(
        name=name if isinstance(name, str) else default.name,
        size=size if isinstance(size, int) and 0 < size <= 2048 else default.size,
        fit="crop" if fit == "crop" else "pad",
        pad_color="mean" if color == "mean" else "white",
    )


def make_entry(out: Path, kinds: tuple[str, ...], params: Path, name: str | None) -> Entry:
    """Returns the entry of an imported folder: inside the project's data folder, if it lies there.

    Args:
        out: the imported folder.
        kinds: "captions" and "questions", as far as there are any.
        params: the project's file.
        name: of the data set; None takes the folder's.
    """
    project = Path(os.path.realpath(params.parent))
    real = Path(os.path.realpath(out))
    folder = _read(params).get("data_folder")
    folder = folder if isinstance(folder, str) and folder else "data"
    if real.is_relative_to(root := Path(os.path.realpath(project / folder))) and real != root:
        inner = real.relative_to(root).as_posix()
    else:
        parent = real.parent
        near = parent.is_relative_to(project) and parent != project
        folder = parent.relative_to(project).as_posix() if near else str(parent)
        inner = real.name
        if parent == project:
            folder, inner = real.name, ""
    plain = re.sub(r"[^A-Za-z0-9_]", "_", real.name)
    sources = {kind: f"{inner}/{kind}".lstrip("/") for kind in kinds}
    default = plain if NAME.match(plain) else f"data_{plain}"
    return Entry(name=name or default, data_folder=folder, sources=sources)


def add_entry(params: Path, entry: Entry) -> list[str]:
    """Adds a data set to `params.yaml` and chooses it; returns the lines that changed.

    Raises:
        ValueError: if the file can't be changed in this way, naming what to do by hand.
    """
    try:
        text = params.read_text()
    except FileNotFoundError:
        raise ValueError(f"{params}: no such file; run in the folder that holds it") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{params}: can't be read: {error}") from None
    before = parse_yaml(text, where=str(params))
    root = YAML(typ="safe", pure=True).compose(text)
    wanted = dict(entry.sources)
    by_hand = f"add `{entry.line}` below `datasets` by hand"
    datasets = before.get("datasets")
    if not isinstance(datasets, dict) or not isinstance(root, MappingNode):
        raise ValueError(f"{params}: no table `datasets`; {by_hand}")
    if entry.name in datasets and datasets[entry.name] != wanted:
        raise ValueError(f"{params}: data set {entry.name!r} is there already; choose another name")
    edits: list[tuple[int, int, str]] = []  # begin, end, new text
    changed: list[str] = []
    nodes = {key.value: value for key, value in root.value}
    if entry.name not in datasets:
        edits.append(_insertion(text, nodes["datasets"], entry.line, by_hand, params))
        changed.append(f"  {entry.line}")
    for key, value in (("data", entry.name), ("data_folder", entry.data_folder)):
        node = nodes.get(key)
        if not isinstance(node, ScalarNode):
            raise ValueError(f"{params}: no `{key}`; {by_hand}")
        if before[key] != value:
            edits.append((node.start_mark.index, node.end_mark.index, _scalar(value)))
            changed.append(f"{key}: {_scalar(value)}")
    for begin, end, new in sorted(edits, reverse=True):
        text = text[:begin] + new + text[end:]
    expected = {**before, "data": entry.name, "data_folder": entry.data_folder}
    expected["datasets"] = {**datasets, entry.name: wanted}
    if parse_yaml(text, where=str(params)) != expected:
        raise ValueError(f"{params}: its layout is unusual; {by_hand}")
    if changed:
        with replacing(params) as path:
            path.write_text(text)
    return changed


def _insertion(
    text: str, node: Node, line: str, by_hand: str, params: Path
) -> tuple[int, int, str]:
    if not isinstance(node, MappingNode) or node.flow_style or not node.value:
        raise ValueError(f"{params}: `datasets` is not written with an entry per line; {by_hand}")
    key, value = node.value[-1]
    # after the line, comment included, on which the last entry ends
    end = value.end_mark.index
    if isinstance(value, MappingNode | SequenceNode) and not value.flow_style:
        while end > 0 and text[end - 1] in " \n\r\t":
            end -= 1
    end = text.find("\n", end)
    end = len(text) if end < 0 else end
    indent = " " * key.start_mark.column
    return end, end, f"\n{indent}{line}"


def _scalar(value: str) -> str:
    plain = re.fullmatch(r"[A-Za-z_./][A-Za-z0-9_./-]*", value)
    if plain and value.lower() not in ("true", "false", "null", "yes", "no", "on", "off"):
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _read(params: Path) -> dict[str, Any]:
    """Returns what a file holds, nothing if it is none: only hints for the user depend on it."""
    try:
        return parse_yaml(params.read_text(), where=str(params))
    except (OSError, ConfigError, UnicodeDecodeError):
        return {}


def _table(raw: Mapping[str, Any], key: Any) -> dict[str, Any]:
    found = raw.get(key) if isinstance(key, str) else None
    return found if isinstance(found, dict) else {}

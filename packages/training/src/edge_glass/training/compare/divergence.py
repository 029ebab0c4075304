"""How two runs of the pipeline differ: parameters, environment, first step, files, tensors."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

from edge_glass.training.folders import LOGS
from edge_glass.training.loop.certificate import CERTIFICATE, CHAIN
from edge_glass.training.runtime.yaml_file import read_yaml

MOST_NAMED = 8  # of files and tensors
CHUNK = 1 << 20


def files_below(folder: Path) -> dict[str, Path]:
    """Returns the files of a folder by their path in it, or the file itself by its name."""
    if folder.is_file():
        return {folder.name: folder}
    return {
        str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()
    }


def equal_files(one: Path, other: Path) -> bool:
    """Returns whether two files have equal bytes, in bounded memory."""
    if one.stat().st_size != other.stat().st_size:
        return False
    with one.open("rb") as first, other.open("rb") as second:
        while chunk := first.read(CHUNK):
            if chunk != second.read(CHUNK):
                return False
    return True


def describe(one: Path, other: Path, outputs: Iterable[str]) -> list[str]:
    """Describes how the outputs of a stage differ between two projects' folders.

    Returns lines to print: the first step that differs, then files, then tensors; none if every
    byte is equal.
    """
    differing: list[tuple[str, Path, Path]] = []
    lines: list[str] = []
    for output in outputs:
        first, second = files_below(one / output), files_below(other / output)
        for name in sorted(first.keys() ^ second.keys()):
            where = one if name in first else other
            lines.append(f"{output}/{name}: only in {where}")
        differing += [
            (f"{output}/{name}", first[name], second[name])
            for name in sorted(first.keys() & second.keys())
            if not equal_files(first[name], second[name])
        ]
    named = [f"{name}: differs" for name, *_ in differing[:MOST_NAMED]]
    if len(differing) > MOST_NAMED:
        named.append(f"and {len(differing) - MOST_NAMED} more files")
    tensors = [
        f"{name}: {line}"
        for name, first, second in differing
        if name.endswith(".safetensors")
        for line in tensor_differences(first, second)
    ]
    return [*first_link(differing), *first_step(differing), *lines, *named, *tensors]


def first_link(differing: list[tuple[str, Path, Path]]) -> list[str]:
    """Names the first step at which two hash chains differ, if there are chains among the files.

    A link hashes the link before it: after the first difference, all links differ.
    """
    for name, first, second in differing:
        if Path(name).name != CHAIN:
            continue
        one, other = (json.loads(path.read_text()) for path in (first, second))
        links = [chain["steps"].split() for chain in (one, other)]
        pairs = enumerate(zip_longest(*links), start=1)
        step = next((number for number, (a, b) in pairs if a != b), None)
        if step is None:
            return []  # equal links: the difference is in the header of the file
        missing = [len(each) for each in links if len(each) < step]
        if missing:
            return [f"one run ends after step {missing[0]}, the other continues"]
        equal = [
            int(number)
            for number, link in one["weights"].items()
            if other["weights"].get(number) == link
        ]
        since = f"; weights are known to be equal after step {max(equal)}" if equal else ""
        what = "samples, loss, gradient" + (" or weights" if str(step) in one["weights"] else "")
        if step == 1:
            what = f"weights at the start, {what}"
        return [f"first at step {step} of the chain: {what}{since}"]
    return []


def environment_differences(one: Path, other: Path, stage: str) -> list[str]:
    """Names the differences between the environments in which a stage last ran."""
    paths = [project / LOGS / stage / CERTIFICATE for project in (one, other)]
    if not all(path.is_file() for path in paths):
        return []
    first, second = (
        [dict(_flat(start)) for start in json.loads(path.read_text())["starts"]] for path in paths
    )
    lines = []
    for number, (a, b) in enumerate(zip_longest(first, second)):
        if a is None or b is None:
            longer = one if b is None else other
            lines.append(f"environment: {longer} was resumed after step {(a or b)['after_step']}")
            continue
        lines += [
            f"environment{f' of start {number + 1}' if number else ''}: {name}: "
            f"{a.get(name, 'missing')} and {b.get(name, 'missing')}"
            for name in dict.fromkeys((*a, *b))
            if a.get(name) != b.get(name) and name != "after_step"
        ]
    return lines


def first_step(differing: list[tuple[str, Path, Path]]) -> list[str]:
    """Names the first logged step at which curves differ, if there are curves among the files."""
    found: dict[int, list[str]] = {}
    for name, first, second in differing:
        if not name.endswith(".tsv"):
            continue
        one, other = (_curve(path) for path in (first, second))
        unequal = [step for step in sorted({*one, *other}) if one.get(step) != other.get(step)]
        if unequal:
            step = unequal[0]
            what = f"{Path(name).stem} {one.get(step, 'missing')} and {other.get(step, 'missing')}"
            found.setdefault(step, []).append(what)
    if not found:
        return []
    step = min(found)
    return [f"first at step {step}: {', '.join(found[step])}"]


def tensor_differences(one: Path, other: Path) -> Iterator[str]:
    """Describes the tensors that differ between two safetensors files."""
    from safetensors import safe_open

    with safe_open(one, "pt") as first, safe_open(other, "pt") as second:
        names = [set(first.keys()), set(second.keys())]
        for name in sorted(names[0] ^ names[1]):
            yield f"tensor {name} only in {one if name in names[0] else other}"
        unequal = 0
        for name in sorted(names[0] & names[1]):
            a, b = first.get_tensor(name), second.get_tensor(name)
            if a.shape != b.shape or a.dtype != b.dtype:
                what = f"{tuple(a.shape)} {a.dtype} and {tuple(b.shape)} {b.dtype}"
            elif (number := int((a != b).sum())) or not a.equal(b):
                gap = float((a.double() - b.double()).abs().max())
                what = f"{number} of {a.numel()} values, by {gap:.2g} at the most"
            else:
                continue
            unequal += 1
            if unequal <= MOST_NAMED:
                yield f"tensor {name}: {what}"
        if unequal > MOST_NAMED:
            yield f"and {unequal - MOST_NAMED} more tensors"


def parameter_differences(one: Path, other: Path) -> list[str]:
    """Names the parameters that differ between the `params.yaml` of two projects."""
    first, second = (dict(_flat(read_yaml(project / "params.yaml"))) for project in (one, other))
    return [
        f"parameter {name}: {first.get(name, 'missing')} and {second.get(name, 'missing')}"
        for name in dict.fromkeys((*first, *second))
        if first.get(name) != second.get(name) and name != "log_with"  # it changes no byte
    ]


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name, each in value.items():
            yield from _flat(each, f"{prefix}.{name}" if prefix else str(name))
    else:
        yield prefix, value


def _curve(path: Path) -> dict[int, str]:
    """Reads a curve of DVCLive: the digits as they are in the file, by step."""
    lines = path.read_text().splitlines()
    header = lines[0].split("\t") if lines else []
    if "step" not in header:
        return {}
    column = header.index("step")
    rows = [line.split("\t") for line in lines[1:]]
    return {int(row[column]): " ".join(row[:column] + row[column + 1 :]) for row in rows}

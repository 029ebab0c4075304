"""The formats of `edge-glass export`: a plain table, and the writing of a new folder."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_glass.encoders.components import nearest, shown
from edge_glass.encoders.files import output_folder
from edge_glass.fusion.export.new_folder import check_new_folder

PREPARED = Path("artifacts/prepared")
PRECISIONS = ("fp32", "int8")


@dataclass(frozen=True, kw_only=True)
class Format:
    """A format that a model can be exported to.

    Attributes:
        writer: `module:function`, imported when it is used. The function takes the folder of a
            model and an empty folder, and writes the files.
        reads: the kind of model, for errors and help.
        extra: the extra of edge-glass-fusion that installs what the writer imports, if any.
        install: what pip installs beside it, if no extra can: pip would replace this project's
            torch.
        has_parity_check: whether the writer compares what it wrote on held-out data; it then takes
            `data` and `precisions` too.
        precisions: those that are written by default, of a format with a parity check.
        has_runtime: whether the writer copies programs of npm packages; it then takes
            `runtime_folder` too.
    """

    writer: str
    reads: str
    extra: str | None = None
    install: str | None = None
    has_parity_check: bool = False
    precisions: tuple[str, ...] = PRECISIONS
    has_runtime: bool = False


# Each format has one file in this folder and one parity test in tests/export.
FORMATS: dict[str, Format] = {
    "sentence-transformers": Format(
        writer="edge_glass.fusion.export.sentence_transformers:write_folder",
        reads="dual encoder",
    ),
    "onnx": Format(
        writer="edge_glass.fusion.export.onnx:write_folder",
        reads="dual encoder or a vision-language model",
        extra="onnx",
        has_parity_check=True,
    ),
    "executorch": Format(
        writer="edge_glass.fusion.export.executorch:write_folder",
        reads="dual encoder or a vision-language model",
        extra="onnx",
        install="--no-deps executorch==1.5.1 torchao==0.18.0 pytorch-tokenizers expecttest kgb "
        "parameterized ruamel.yaml tabulate",
        has_parity_check=True,
        precisions=("fp32",),
    ),
    "web": Format(
        writer="edge_glass.fusion.export.web_page:write_folder",
        reads="dual encoder",
        extra="onnx",
        has_parity_check=True,
        precisions=("int8",),
        has_runtime=True,
    ),
    "immich": Format(
        writer="edge_glass.fusion.export.immich:write_folder",
        reads="dual encoder",
        extra="onnx",
        has_parity_check=True,
        precisions=("fp32",),
    ),
    "llava": Format(
        writer="edge_glass.fusion.export.llava:write_folder",
        reads="vision-language model with visual tokens of kind llava",
    ),
    "peft": Format(
        writer="edge_glass.fusion.export.peft:write_folder",
        reads="vision-language model",
        extra="lora",
    ),
}


def export_model(
    name: str,
    model: Path,
    out: Path,
    *,
    data: Path = PREPARED,
    precisions: Sequence[str] | None = None,
    runtime_folder: Path | None = None,
) -> None:
    """Writes a model in the format of this name to a new folder, in one step.

    A format with a parity check compares what it wrote on the validation splits of `data`, the
    folder of the prepared data, and writes the given precisions, or its own choice if None. A
    format with a runtime copies it from `runtime_folder`, or from npm if None.

    Raises:
        ValueError: if the format is unknown, has no precisions to choose, or its packages are not
            installed; if the model is of a different kind, or the format can't express it.
        OSError: if the folder exists and is not empty, lies in the model's, or can't be written.
    """
    if name not in FORMATS:
        raise ValueError(
            f"format is {shown(name)}, which is not known{nearest(name, FORMATS)}; choose one of "
            f"{', '.join(FORMATS)}"
        )
    if precisions is not None and not FORMATS[name].has_parity_check:
        raise ValueError(f"the format {name} has no precisions to choose: leave out --precision")
    if runtime_folder is not None and not FORMATS[name].has_runtime:
        raise ValueError(f"the format {name} has no runtime to copy: leave out --runtime-folder")
    if not model.is_dir():
        raise FileNotFoundError(
            f"{model}: no such folder; give the folder of a {FORMATS[name].reads}"
        )
    check_new_folder(out, model)
    module, _, function = FORMATS[name].writer.partition(":")
    try:
        write: Callable[..., None] = getattr(importlib.import_module(module), function)
        with output_folder(out) as work:
            options: dict[str, Any] = {}
            if FORMATS[name].has_parity_check:
                options |= {"data": data, "precisions": precisions or FORMATS[name].precisions}
            if FORMATS[name].has_runtime:
                options["runtime_folder"] = runtime_folder
            write(model, work, **options)
    except ModuleNotFoundError as error:
        extra = FORMATS[name].extra
        target = f'"edge-glass-fusion[{extra}]"' if extra else "edge-glass-fusion"
        if FORMATS[name].install:
            target += f" && python -m pip install {FORMATS[name].install}"
        raise ValueError(
            f"the format {name} needs the Python package {error.name}, which is not installed: "
            f"python -m pip install {target}"
        ) from error

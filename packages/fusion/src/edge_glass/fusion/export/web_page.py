"""The format `web`: a static folder that searches a visitor's own images in the browser.

    edge-glass export web models/align OUT
    python -m http.server --directory OUT

OUT/index.html, *.js, style.css   the page, as it lies in the folder `web` beside this file
OUT/runtime                       onnxruntime-web and the tokenizer, of npm packages
OUT/config.json, OUT/onnx ...     the model, as the format `onnx` writes it, with parity.json

What is unusual: the folder needs no build step and no program on a server. A web worker in the
browser decodes images, resizes them with the same arithmetic as Pillow and embeds them. Nothing
leaves the device.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Sequence
from pathlib import Path

from edge_glass.encoders.checkpoint import load_checkpoint
from edge_glass.encoders.dual_encoder_config import MODEL as DUAL_ENCODER
from edge_glass.fusion.export import onnx
from edge_glass.fusion.export.npm_package import NpmPackage, package_files

PAGE, RUNTIME = "web", "runtime"
PACKAGES = (
    NpmPackage(
        name="onnxruntime-web",
        version="1.30.0",
        integrity=(
            "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4"
            "CXAfKYQ=="
        ),
        files={
            "dist/ort.wasm.bundle.min.mjs": (
                "1KcF8CWAZeqtTcvLgKPtOMXIbkWeh++LDCQpDhQ5ARVxHAL1VNL5rr0OI+MxTbmNIANldE/A/q+O4gSKgS"
                "MjWQ=="
            ),
            "dist/ort-wasm-simd-threaded.wasm": (
                "Gt7e1iIDIZ/PXEhM/OVleqWHVom0kEI/hs8cod0crXcV9jDGM39B23HuQnlOOgDOC3x4k5pxIgtdgzaL9u"
                "p3MA=="
            ),
        },
    ),
    NpmPackage(
        name="@huggingface/tokenizers",
        version="0.2.0",
        integrity=(
            "sha512-LidMHe1FpcSYH4vcSjXooda34pC0M8m1gmDOv7SQi6Iv+ib1zX7J3sHBCC9/3FPCkn2k1b55FneVqMR"
            "xrr99pg=="
        ),
        files={
            "dist/tokenizers.min.mjs": (
                "9tTHZz2JthHlIo4tXqHWCbqtoUWhoJM2sBHeoQvXv5/ECZW39qZ1utfmSi59uSbUwXT7mBunTozIsj0tMD"
                "XWiQ=="
            ),
            "LICENSE": (
                "3Gto0TuM+VlkS5NfEZKwLHGqelz2U71DtEgPqJ7sjU0/FqInjsjDtAqx/bIzsxc6eP2DWQ1vc54Mno/1bC"
                "glVw=="
            ),
        },
    ),
)
RENAMED = {"LICENSE": "tokenizers.LICENSE.txt"}


def write_folder(
    model: Path,
    folder: Path,
    *,
    data: Path,
    precisions: Sequence[str],
    runtime_folder: Path | None = None,
) -> None:
    """Writes the page, the runtime and the graphs of a dual encoder.

    The page uses int8 if it is among the precisions. The graphs are compared with the model in
    torch as in the format `onnx`.

    Args:
        model: folder of a dual encoder.
        folder: an empty folder.
        data: folder of the prepared data, whose validation splits the graphs are compared on.
        precisions: `fp32` and `int8`, or one of them.
        runtime_folder: a node_modules folder with `PACKAGES`; None to fetch them with npm.

    Raises:
        ParityError: if a graph differs by more than the limits.
        ValueError: if the folder holds no dual encoder, or a package can't be had.
    """
    values, _ = load_checkpoint(model)
    if values.get("model") != DUAL_ENCODER:
        raise ValueError(
            f"{model} holds no dual encoder, which is what the page searches with; give a folder "
            "such as models/align"
        )
    runtime = folder / RUNTIME
    runtime.mkdir()
    for package in PACKAGES:  # first, because the graphs take a minute
        for name, content in package_files(package, runtime_folder).items():
            file_name = Path(name).name
            (runtime / RENAMED.get(file_name, file_name)).write_bytes(content)
    onnx.write_folder(model, folder, data=data, precisions=precisions)
    for source in (importlib.resources.files("edge_glass.fusion.export") / PAGE).iterdir():
        (folder / source.name).write_bytes(source.read_bytes())

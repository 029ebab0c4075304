"""Runs a notebook so that the same code and data give the same bytes.

Time stamps, process paths, memory addresses, progress bars and timings are taken out of the
outputs. Random ids become counters, and widgets are dropped. Streams that the kernel happened to
send in pieces are joined.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from edge_glass.tools.atomic_file import write_file
from edge_glass.tools.notebook import NotebookError, read_notebook
from edge_glass.tools.project_root import find_root

_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_ADDRESS = re.compile(r"\b0x[0-9a-f]{6,16}\b")
_STAMP = re.compile(r"\b\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}(:\d{2}([.,]\d+)?)?(Z|[+-]\d{2}:?\d{2})?")
# `%time`, and the bars of tqdm and rich: what they print differs every time.
_TIMING = re.compile(
    r"^(CPU times:|Wall time:|.*\d+%\|.*\||.*\b\d+(\.\d+)?\s?(it/s|s/it)\b"
    r"|\d[\d.]* [mµn]?s ± "
    r"|Matplotlib (is building the font cache|created a temporary cache)).*(\n|$)",  # once
    re.MULTILINE,
)
_LIBRARIES = re.compile(r"[^\s'\"(]*/(site-packages/)")  # where an environment keeps them
_TEXTS = ("text/plain", "text/html", "text/markdown", "text/latex", "image/svg+xml",
          "application/javascript")  # fmt: skip
_WIDGET = "application/vnd.jupyter.widget-view+json"
# Ids that libraries draw anew each time: of plotly, of a pandas Styler, and any in an id attribute.
_UUID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
_STYLER = re.compile(r"\bT_([0-9a-f]{5,32})(?![0-9a-f])")
_ELEMENT = re.compile(r"""\bid=["'][^"'<>]*?([0-9a-f]{32})(?![0-9a-f])""")
_PNG_METADATA = (b"tEXt", b"zTXt", b"iTXt", b"tIME", b"eXIf")


class ExecutionError(Exception):
    """A notebook did not run to its end. The message names the cell and its error."""


def execute_file(path: Path, output: Path, *, timeout: int = 600) -> None:
    """Run the notebook `path` in its own folder and write it, with clean outputs, to `output`.

    A notebook with a failing cell is not written.

    Args:
        path: what to run.
        output: where to write; `path` itself is fine.
        timeout: seconds that one cell may take.

    Raises:
        ExecutionError: A cell fails, takes too long, or there is no kernel.
        NotebookError: `path` is not a notebook.
        FileRefusedError: A file cannot be read or written.
    """
    write_file(output, execute_text(path, timeout=timeout).encode())


def execute_text(path: Path, *, timeout: int = 600) -> str:
    """Run the notebook `path` and return the text of the executed one; see `execute_file`."""
    return executed(read_notebook(path).text.removeprefix("\ufeff"), path, timeout=timeout)


def executed(text: str, path: Path, *, timeout: int = 600) -> str:
    """Run a notebook given as text, as if it stood at `path`; see `execute_file`."""
    import nbformat
    from jupyter_client.kernelspec import NoSuchKernel
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    notebook = _parsed(text, path)
    folder = path.resolve().parent
    started = [0]  # the cells begun so far: the last one is the one that fails
    try:
        with TemporaryDirectory(prefix="notebook-") as settings:
            client = NotebookClient(
                notebook,
                km=_kernel(notebook.metadata.get("kernelspec", {}), Path(settings)),
                timeout=timeout,
                resources={"metadata": {"path": str(folder)}},
                record_timing=False,
                extra_arguments=["--log-level=ERROR"],
                on_cell_start=lambda cell, cell_index: started.append(cell_index),  # noqa: ARG005
            )
            client.execute(env=_environment(Path(settings)), cleanup_kc=True)
    except CellExecutionError as error:
        raise ExecutionError(
            f"{path}: {_named(notebook, started[-1])} raised {_reason(error)}"
        ) from None
    except CellTimeoutError:
        raise ExecutionError(
            f"{path}: {_named(notebook, started[-1])} took more than {timeout} s; raise --timeout"
        ) from None
    except DeadKernelError:
        raise ExecutionError(
            f"{path}: the kernel died in {_named(notebook, started[-1])}; out of memory?"
        ) from None
    except NoSuchKernel as error:
        raise ExecutionError(
            f"{path}: no kernel {error.name!r}; pip install 'edge-glass-tools[kernel]'"
        ) from None
    clean(notebook, root=find_root(path))
    result: str = nbformat.writes(notebook)  # type: ignore[no-untyped-call]
    return result + "\n"


def _kernel(spec: Mapping[str, str], settings: Path) -> Any:
    """Return a manager of the notebook's kernel; `python3` is always the Python that runs this.

    A kernel spec of that name in the user's home may belong to a different environment.
    """
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager

    manager = AsyncKernelManager(
        kernel_name=spec.get("name", "python3"), connection_file=str(settings / "kernel.json")
    )
    if manager.kernel_name == "python3":
        manager.kernel_spec_manager = KernelSpecManager(kernel_dirs=[])
    return manager


def _environment(settings: Path) -> dict[str, str]:
    """Return the kernel's environment: none of the user's own settings change an output."""
    style = settings / "matplotlibrc"
    style.touch()
    return {
        **os.environ,
        "IPYTHONDIR": str(settings / "ipython"),
        "MATPLOTLIBRC": str(style),
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        # A set of strings prints in the order of their hashes, which are random by default.
        "PYTHONHASHSEED": "0",
        # Whether ipywidgets is installed would show in the outputs, and nothing else of it.
        "PYTHONWARNINGS": "ignore:IProgress not found",
    }


def clean(notebook: Any, *, root: Path) -> None:
    """Take out of an executed notebook, in place, what differs between two equal runs.

    Args:
        notebook: an nbformat 4 notebook node.
        root: the project's folder, which is written as `.`.
    """
    notebook.metadata.pop("widgets", None)
    notebook.metadata.get("language_info", {}).pop("version", None)
    ids = _Ids()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            kept = [out for out in cell.outputs if _WIDGET not in out.get("data", {})]
            cell.outputs = _joined_streams([_clean_output(out, root, ids) for out in kept])


class _Ids:
    """Exchanges random ids by counters of the same form, in the order of their first use."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def exchanged(self, text: str) -> str:
        text = _UUID.sub(lambda match: self._counter(match[0].replace("-", ""), match[0]), text)
        if "T_" in text and "<style" in text:
            text = _STYLER.sub(lambda match: f"T_{self._counter(match[1], match[1])}", text)
        for found in dict.fromkeys(_ELEMENT.findall(text)):
            text = text.replace(found, self._counter(found, found))
        return text

    def _counter(self, digits: str, old: str) -> str:
        if old not in self._known:
            if old in self._known.values():
                return old  # a counter already, as in a notebook that was executed before
            number = f"{len(self._known) + 1:0{len(digits)}d}"
            at = iter(number)
            self._known[old] = "".join("-" if each == "-" else next(at) for each in old)
        return self._known[old]

    def inside(self, value: Any) -> Any:
        """Exchange the ids in all strings of a JSON value."""
        if isinstance(value, str):
            return self.exchanged(value)
        if isinstance(value, list):
            return [self.inside(item) for item in value]
        if isinstance(value, dict):
            return {key: self.inside(item) for key, item in value.items()}
        return value


def _clean_output(output: Any, root: Path, ids: _Ids) -> Any:
    if output.output_type == "stream":
        output.text = _clean_text(_TIMING.sub("", _last_frames(output.text)), root)
    for kind, value in output.get("data", {}).items():
        if kind == "image/png" and isinstance(value, str):
            output.data[kind] = _clean_png(value)
        elif kind in _TEXTS and isinstance(value, str):
            output.data[kind] = ids.exchanged(_clean_text(value, root))
        elif kind.endswith("json"):
            output.data[kind] = ids.inside(value)
    if output.output_type == "error":
        output.traceback = [_clean_text(line, root) for line in output.traceback]
    return output


def _joined_streams(outputs: list[Any]) -> list[Any]:
    joined: list[Any] = []
    for output in outputs:
        last = joined[-1] if joined else None
        is_stream = output.output_type == "stream"
        if is_stream and last is not None and last.get("name") == output.name:
            last.text += output.text
        else:
            joined.append(output)
    return [out for out in joined if out.output_type != "stream" or out.text]


def _last_frames(text: str) -> str:
    """Keep what a terminal shows of lines that were overwritten with carriage returns."""
    lines = text.replace("\r\n", "\n").split("\n")
    return "\n".join(line.rstrip("\r").rsplit("\r", 1)[-1] for line in lines)


def _clean_text(text: str, root: Path) -> str:
    text = _LIBRARIES.sub(r"\1", _ANSI.sub("", text)).replace(str(root), ".")
    text = text.replace(str(Path.home()), "~") if Path.home() != Path("/") else text
    text = re.sub(r"/tmp/ipykernel_\d+/\d+\.py", "<cell>", text)
    return _STAMP.sub("<time>", _ADDRESS.sub("0x…", text))


def _clean_png(value: str) -> str:
    """Drop the chunks of a PNG that hold no pixels: software, time, remarks."""
    data = base64.b64decode(value)
    out, at = [data[:8]], 8
    while at + 8 <= len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        kind, end = data[at + 4 : at + 8], at + 12 + length
        if kind not in _PNG_METADATA:
            out.append(data[at:end])
        at = end
    return binascii.b2a_base64(b"".join(out), newline=True).decode()


def _parsed(text: str, path: Path) -> Any:
    import nbformat

    try:
        notebook = nbformat.reads(text, as_version=4)  # type: ignore[no-untyped-call]
        nbformat.validate(notebook)
    except nbformat.ValidationError as error:
        raise NotebookError(f"{path}: is not a valid notebook: {error.message}") from None
    return notebook


def _named(notebook: Any, index: int) -> str:
    source = notebook.cells[index].source.strip()
    line = source.splitlines()[0] if source else ""
    return f"cell {index + 1} [{notebook.cells[index].get('id', '')}] (`{line}`)"


def _reason(error: Any) -> str:
    return f"{error.ename}: {_ANSI.sub('', error.evalue)}"

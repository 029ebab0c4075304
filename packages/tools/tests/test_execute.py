"""Notebooks are run for real, in a kernel."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from pathlib import Path

import nbformat
import pytest

from edge_glass.tools.create.template import TemplateCell, assemble
from edge_glass.tools.execute import ExecutionError, clean, execute_file


def _write(path: Path, *sources: str) -> Path:
    path.write_text(assemble([TemplateCell(kind="code", source=each) for each in sources]))
    return path


def test_same_bytes_twice_without_times_addresses_and_paths(tmp_path: Path) -> None:
    path = _write(
        tmp_path / "a.ipynb",
        "import os, sys, time\nprint(os.getcwd(), object())\nprint('2024-05-06 07:08:09.5')",
        "%time x = {'a', 'b', 'c', 'd'}\nprint(x)\nprint('to stderr', file=sys.stderr)",
        "for n in range(3):\n    print(f'\\r{n}: 12.{n} it/s', end='', flush=True)",
        "print('one', flush=True); time.sleep(0.1); print('two')",
    )
    first, second = tmp_path / "1.ipynb", tmp_path / "2.ipynb"
    execute_file(path, first)
    execute_file(path, second)
    assert first.read_bytes() == second.read_bytes()
    notebook = nbformat.read(first, as_version=4)
    nbformat.validate(notebook)
    outputs = [cell.outputs for cell in notebook.cells]
    assert outputs[0][0].text == ". <object object at 0x…>\n<time>\n"
    assert [output.name for output in outputs[1]] == ["stdout", "stderr"]
    assert outputs[2] == []
    assert [output.text for output in outputs[3]] == ["one\ntwo\n"]
    assert [cell.execution_count for cell in notebook.cells] == [1, 2, 3, 4]


def test_random_ids_become_counters_and_widgets_are_dropped(tmp_path: Path) -> None:
    """As plotly, a pandas Styler, folium and ipywidgets write them."""
    path = _write(
        tmp_path / "a.ipynb",
        "import uuid\nfrom IPython.display import HTML, display\nu = str(uuid.uuid4())\n"
        "h = uuid.uuid4().hex\nt = h[:5]\n"
        'display(HTML(f\'<div id="{u}"></div><script>Plotly.newPlot("{u}", [])</script>\'))\n'
        "display(HTML(f'<style>#T_{t}_row0 {{}}</style><td id=\"T_{t}_row0\">3</td>'))\n"
        "display(HTML(f'<div id=\"map_{h}\"></div><script>var map_{h} = 1</script>'))\n"
        "display({'application/vnd.jupyter.widget-view+json': {'model_id': h},\n"
        "         'text/plain': 'FloatProgress(value=0.3)'}, raw=True)\n"
        "display({'application/vnd.plotly.v1+json': {'data': [{'uid': u}]}}, raw=True)",
        "display(HTML(f'<p id=\"{u}\">{uuid.uuid4()} 0123456789abcdef0123456789abcdef</p>'))",
    )
    first, second, third = (tmp_path / f"{number}.ipynb" for number in (1, 2, 3))
    execute_file(path, first)
    execute_file(path, second)
    execute_file(first, third)
    assert first.read_bytes() == second.read_bytes() == third.read_bytes()
    notebook = nbformat.read(first, as_version=4)
    one, two = (f"00000000-0000-0000-0000-00000000000{number}" for number in (1, 4))
    html = [output.data["text/html"] for output in notebook.cells[0].outputs[:3]]
    assert html[0] == f'<div id="{one}"></div><script>Plotly.newPlot("{one}", [])</script>'
    assert html[1] == '<style>#T_00002_row0 {}</style><td id="T_00002_row0">3</td>'
    assert html[2].count("map_" + "3".rjust(32, "0")) == 2
    assert len(notebook.cells[0].outputs) == 4  # no widget
    assert notebook.cells[0].outputs[3].data["application/vnd.plotly.v1+json"] == {
        "data": [{"uid": one}]
    }
    # A digest in a text is no id.
    digest = "0123456789abcdef0123456789abcdef"
    assert notebook.cells[1].outputs[0].data["text/html"] == f'<p id="{one}">{two} {digest}</p>'


def test_outputs_know_nothing_of_the_user_and_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings in the home folder, a kernel spec there, and where libraries lie stay outside."""
    startup = tmp_path / "home/.ipython/profile_default/startup/0.py"
    startup.parent.mkdir(parents=True)
    startup.write_text("print('from the user')")
    spec = tmp_path / "home/.local/share/jupyter/kernels/python3/kernel.json"
    spec.parent.mkdir(parents=True)
    spec.write_text(json.dumps({"argv": ["/nonexistent"], "display_name": "x", "language": "x"}))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(spec.parents[2]))
    path = _write(
        tmp_path / "a.ipynb",
        "import os, sys, warnings\nprint(os.environ['MATPLOTLIBRC'].endswith('matplotlibrc'))",
        "print(sys.prefix + '/lib/python3.11/site-packages/x.py:1: a warning')",
        "print('Matplotlib is building the font cache; this may take a moment.', file=sys.stderr)",
    )
    execute_file(path, path)
    outputs = [cell.outputs for cell in nbformat.read(path, as_version=4).cells]
    assert [output.text for output in outputs[0]] == ["True\n"]
    assert [output.text for output in outputs[1]] == ["site-packages/x.py:1: a warning\n"]
    assert outputs[2] == []


def test_a_failing_cell_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.ipynb", "x = 1", "# what fails\ny = x / 0", "z = 1")
    output = tmp_path / "out.ipynb"
    with pytest.raises(ExecutionError, match=r"cell 2 \[\w+\] \(`# what fails`\) raised Zero") as e:
        execute_file(path, output)
    assert "division by zero" in str(e.value)
    assert not output.exists()


def test_a_slow_cell_is_named(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.ipynb", "x = 1", "import time; time.sleep(60)")
    with pytest.raises(ExecutionError, match=r"cell 2 .* took more than 1 s"):
        execute_file(path, path, timeout=1)


def test_an_unknown_kernel_says_what_to_install(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.ipynb", "x = 1")
    content = json.loads(path.read_text())
    content["metadata"]["kernelspec"]["name"] = "none-such"
    path.write_text(json.dumps(content))
    with pytest.raises(ExecutionError, match=r"no kernel 'none-such'.*\[kernel\]"):
        execute_file(path, path)


def _png(*chunks: tuple[bytes, bytes]) -> bytes:
    data = b"\x89PNG\r\n\x1a\n"
    for kind, body in chunks:
        data += struct.pack(">I", len(body)) + kind + body
        data += struct.pack(">I", zlib.crc32(kind + body))
    return data


def test_pictures_lose_their_metadata_only() -> None:
    picture = [(b"IHDR", b"x" * 13), (b"IDAT", b"pixels"), (b"IEND", b"")]
    marked = [picture[0], (b"tEXt", b"Software\0matplotlib"), (b"tIME", b"1234567"), *picture[1:]]
    output = nbformat.v4.new_output(  # type: ignore[no-untyped-call]
        "display_data", data={"image/png": base64.b64encode(_png(*marked)).decode()}
    )
    cell = nbformat.v4.new_code_cell("x", outputs=[output])  # type: ignore[no-untyped-call]
    notebook = nbformat.v4.new_notebook(cells=[cell])  # type: ignore[no-untyped-call]
    clean(notebook, root=Path("/nowhere"))
    assert base64.b64decode(notebook.cells[0].outputs[0].data["image/png"]) == _png(*picture)

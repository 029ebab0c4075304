"""The commands as a user runs them, in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from corpus_cases import CORPUS


def run(*arguments: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    code = "from edge_glass.tools.cli import main; main()"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    path = tmp_path / "a.ipynb"
    path.write_bytes((CORPUS / "plain_cuda.ipynb").read_bytes())
    return path


def test_diff_check_write(notebook: Path, tmp_path: Path) -> None:
    old = notebook.read_bytes()
    shown = run("patch", "devices", "a.ipynb", folder=tmp_path)
    assert shown.returncode == 0
    assert "-model = nn.Linear(3, 2).cuda()" in shown.stdout
    assert "+model = nn.Linear(3, 2).to(device_cuda_0)" in shown.stdout
    assert "1 notebooks: 1 would change, 0 failed" in shown.stdout
    assert run("patch", "devices", "--check", "a.ipynb", folder=tmp_path).returncode == 1
    assert notebook.read_bytes() == old
    written = run("patch", "devices", "--write", "a.ipynb", folder=tmp_path)
    assert written.returncode == 0
    assert "a.ipynb: 2 cells changed, backup a.ipynb.bak" in written.stdout
    assert (tmp_path / "a.ipynb.bak").read_bytes() == old
    assert run("patch", "devices", "--check", "a.ipynb", folder=tmp_path).returncode == 0


def test_bad_files_are_named_and_the_others_go_on(notebook: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.ipynb").touch()
    (tmp_path / "cut.ipynb").write_bytes(notebook.read_bytes()[:-50])
    (tmp_path / "text.ipynb").write_text("not a notebook")
    (tmp_path / "folder.ipynb").mkdir()
    locked = tmp_path / "locked.ipynb"
    locked.write_bytes(notebook.read_bytes())
    locked.chmod(0o444)
    names = ["empty", "cut", "text", "folder", "missing", "locked", "a"]
    before = {p: p.read_bytes() for p in tmp_path.iterdir() if p.is_file() and p != notebook}
    done = run("patch", "devices", "--write", *[f"{n}.ipynb" for n in names], folder=tmp_path)
    assert done.returncode == 2
    errors = done.stderr.splitlines()
    expected = ["is empty", "ends too early", "expected a JSON object", "is a directory",
                "no such file", "is read-only"]  # fmt: skip
    assert len(errors) == len(expected)
    for name, part, line in zip(names, expected, errors, strict=False):
        assert line.startswith(f"error: {name}.ipynb: ")
        assert part in line
    assert "7 notebooks: 1 changed, 6 failed" in done.stdout
    for path, data in before.items():
        assert path.read_bytes() == data
    assert not list(tmp_path.glob("*.tmp"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["patch", "devices", "--devices", "gpu", "a.ipynb"], "'gpu' is unknown"),
        (["patch", "devices", "--write", "--check", "a.ipynb"], "choose one of"),
        (["patch", "paths", "--map", "x", "a.ipynb"], "expected two parts"),
        (["patch", "transforms", "--fit", "squash", "a.ipynb"], "expected pad or crop"),
        (["patch", "nosuch", "a.ipynb"], "No such command"),
        (["create", "vlm", "--set", "x=1"], "unknown"),
        (["create", "vlm", "--output", "c.txt"], "does not end in .ipynb"),
    ],
)
def test_bad_options(arguments: list[str], message: str, notebook: Path, tmp_path: Path) -> None:
    done = run(*arguments, folder=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr


def test_patch_all_names_its_own_option(tmp_path: Path) -> None:
    cell = {"cell_type": "code", "source": "def fit(*, num_epochs): pass\nfit(epochs=3)"}
    text = json.dumps({"cells": [cell], "nbformat": 4, "nbformat_minor": 4})
    (tmp_path / "a.ipynb").write_text(text)
    done = run("patch", "all", "a.ipynb", folder=tmp_path)
    assert "`patch all --keyword epochs=num_epochs` renames it" in done.stdout
    option = ["--keyword", "epochs=num_epochs"]
    done = run("patch", "all", *option, "--write", "a.ipynb", folder=tmp_path)
    assert "fit(num_epochs=3)" in (tmp_path / "a.ipynb").read_text()


def test_create_refuses_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.ipynb")
    for output in ("/dev/null/x.ipynb", "pipe.ipynb", f"{'a' * 300}.ipynb"):
        done = run("create", "vlm", "--force", "--output", output, folder=tmp_path)
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"error: {output}: ")


def test_create_check_and_refuse_to_overwrite(tmp_path: Path) -> None:
    for name, file in [("alignment", "05_alignment_evaluation"), ("vlm", "06_vlm_evaluation")]:
        path = tmp_path / f"notebooks/{file}.ipynb"
        assert run("create", name, folder=tmp_path).returncode == 0
        first = path.read_bytes()
        again = run("create", name, folder=tmp_path)
        assert again.returncode == 1
        assert "--force replaces it" in again.stderr
        assert run("create", name, "--force", folder=tmp_path).returncode == 0
        assert path.read_bytes() == first


def test_create_execute_fails_with_the_cell(tmp_path: Path) -> None:
    done = run("create", "vlm", "--execute", "--set", "project=nowhere", folder=tmp_path)
    assert done.returncode == 1
    assert "raised FileNotFoundError" in done.stderr
    assert "cell 4" in done.stderr
    assert not list(tmp_path.rglob("*.ipynb"))


def test_execute_and_check(tmp_path: Path) -> None:
    cell = {"cell_type": "code", "execution_count": None, "id": "a", "metadata": {}, "outputs": [],
            "source": "6 * 7"}  # fmt: skip
    kernel = {"name": "python3", "display_name": "Python 3"}
    path = tmp_path / "a.ipynb"
    path.write_text(json.dumps({"cells": [cell], "metadata": {"kernelspec": kernel}, "nbformat": 4,
                                "nbformat_minor": 5}))  # fmt: skip
    assert run("execute", "a.ipynb", folder=tmp_path).returncode == 0
    assert json.loads(path.read_text())["cells"][0]["outputs"][0]["data"]["text/plain"] == ["42"]
    done = run("check", "a.ipynb", "missing.ipynb", folder=tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines() == ["missing.ipynb: no such file"]


def test_help_needs_no_heavy_import(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom edge_glass.tools.cli import app\nfrom typer.testing import CliRunner\n"
        "assert 'Example' in CliRunner().invoke(app, ['patch', 'devices', '--help']).output\n"
        "assert not {'libcst', 'nbformat', 'nbclient', 'IPython'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


def test_a_third_party_patch_by_entry_point(notebook: Path, tmp_path: Path) -> None:
    """A distribution on the path, as pip would install it, adds `patch shout`."""
    (tmp_path / "shout.py").write_text(
        "from edge_glass.tools.patch.syntax.rewrite import Note, Rewrite\n"
        "class Shout:\n"
        "    name = 'shout'\n"
        "    def __init__(self, end='!'): self.end = end\n"
        "    def rewrite(self, cells, path, /):\n"
        "        texts = {c.index: c.text + '\\n# ' + self.end for c in cells\n"
        "                 if not c.text.endswith(self.end)}\n"
        "        notes = [Note(i, 'changed', 'shouted') for i in texts]\n"
        "        return Rewrite(texts=texts, notes=notes)\n"
    )
    info = tmp_path / "shout-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shout\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[edge_glass.notebook_patches]\nshout = shout:Shout\n")
    done = run("patch", "shout", "--write", "--set", "end=hey", "a.ipynb", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "# hey" in notebook.read_text()
    assert (
        run("patch", "shout", "--check", "--set", "end=hey", "a.ipynb", folder=tmp_path).returncode
        == 0
    )
    refused = run("patch", "shout", "--set", "nosuch=1", "a.ipynb", folder=tmp_path)
    assert refused.returncode == 2
    assert "does not take these options" in refused.stderr

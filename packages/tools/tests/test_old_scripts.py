"""The notebooks that the hot-fix scripts were for, and the README's table of scripts."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from edge_glass.tools.check import check_file
from edge_glass.tools.cli import app
from edge_glass.tools.notebook import read_notebook
from edge_glass.tools.patch.batch import Job, Mode, patch_files
from edge_glass.tools.patch.collate.collate_patch import CollatePatch
from edge_glass.tools.patch.transforms.transforms_patch import TransformsPatch
from old_notebooks import BOOKS, DEVICES, HELPERS, write
from two_devices import Module, Tensor, world

README = Path(__file__).parents[1] / "README.md"
DOCS = Path(__file__).parents[3] / "docs/notebooks.md"


def run(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, [str(each) for each in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.output


@pytest.fixture
def books(tmp_path: Path) -> dict[str, Path]:
    (tmp_path / "helpers.py").write_text(HELPERS)
    return {name: write(tmp_path / f"{name}.ipynb", cells) for name, (cells, _) in BOOKS.items()}


ALL = ("patch", "all", "--devices", "cuda:0,cuda:1")


def test_all_patches_make_the_three_notebooks_right(books: dict[str, Path]) -> None:
    output = run(*ALL, "--write", *books.values())
    assert "3 notebooks: 3 changed, 0 failed" in output
    for name, (cells, after) in BOOKS.items():
        sources = [cell.source for cell in read_notebook(books[name]).cells]
        assert sources == [after.get(number, cell) for number, cell in enumerate(cells)], name
    again = run(*ALL, "--check", *books.values())
    assert "3 notebooks: 0 would change, 0 failed" in again


def test_the_report_of_the_three(books: dict[str, Path]) -> None:
    output = " ".join(run(*ALL, *books.values()).split())
    assert "language cuda:1 14.75 GiB 7.62B parameters (known for Qwen/Qwen2.5-7B" in output
    assert "LoRA: 0.5% of them × 16 bytes, assumed" in output
    assert "encoder cuda:0 ? its size is unknown, not counted" in output
    assert (
        "`collate_fn` now returns `answers`, which cell 4 reads, from the rows' `answer`" in output
    )
    assert "now `val_transform = image_pipeline(336, is_training=False)`" in output
    assert "reads `tokenizer`, which no cell defines" in output


def test_the_patched_devices_run_on_two_devices(
    books: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(*ALL, "--write", books["devices"])
    modules = world()
    modules |= {"mylab.align": modules["mylab"], "mylab.language": modules["mylab"]}
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    namespace: dict[str, Any] = {"loader": [{"image": Tensor()}]}
    for cell in read_notebook(books["devices"]).cells:
        exec(compile(cell.source, "cell", "exec"), namespace)
    models = {name: each.device for name, each in namespace.items() if isinstance(each, Module)}
    assert models == {"encoder": "cuda:0", "language": "cuda:1", "bridge": "cuda:0"}
    assert namespace["tokens"].device == "cuda:0"
    with pytest.raises(RuntimeError, match="a tensor on cpu"):  # as it was before
        exec(compile(DEVICES[3] + "\nsee(torch.zeros(1))", "cell", "exec"), dict(namespace))
    namespace["see"](Tensor("cpu"))


def test_a_given_size_and_a_spread_decoder(books: dict[str, Path]) -> None:
    sized = run("patch", "devices", "--devices", "cuda:0,cuda:1", "--size", "AlignedEncoder=30B",
                "--size", "bridge=1GiB", "--memory", "80GiB", books["devices"])  # fmt: skip
    flat = " ".join(sized.split())
    assert "encoder cpu 111.76 GiB 30.00B parameters (given by --size) × 4 bytes" in flat
    assert "bridge cuda:0 1.00 GiB 1GiB given by --size" in flat
    spread = run("patch", "devices", "--devices", "cuda:0,cuda:1", "--memory", "12GiB",
                 books["devices"])  # fmt: skip
    assert "device_map='balanced' if torch.cuda.device_count() > 1 else {'': 'cpu'}" in spread
    bad = run("patch", "devices", "--size", "x=large", books["devices"])
    assert "expected parameters (7.6B, 350M) or 15GiB" in bad


def _eval_notebook(folder: Path) -> Path:
    """A notebook of the kind that `fix_eval_notebook` was for, in a project."""
    for name in ("src/lab/__init__.py", "configs/eval.yaml", "runs/a/best.pt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    (folder / "dvc.yaml").touch()
    (folder / "notebooks").mkdir()
    cells = [
        "import sys\nsys.path.append('../src')\nimport torch",
        "import sys\nfrom pathlib import Path\nsys.path.insert(0, str(Path.cwd().parent / 'src'))\n"
        "import torch\nimport lab",
        "config = open('configs/eval.yaml').read()\nstate = torch.load('checkpoints/best.pt')\n"
        "class Net: ...\nmodel = Net()\nmodel.load_state_dict(state, strict=False)",
    ]
    output = {"output_type": "stream", "name": "stdout", "text": ["old\n"]}
    return write(folder / "notebooks/eval.ipynb", cells, outputs=[output], execution_count=7)


def test_an_evaluation_notebook_is_repaired(tmp_path: Path) -> None:
    path = _eval_notebook(tmp_path)
    output = run("patch", "all", "--write", "--clear-outputs", path)
    sources = [cell.source for cell in read_notebook(path).cells]
    assert sources == [
        "import sys\nsys.path.append('../src')\nimport torch",
        "from pathlib import Path\nimport lab",
        "config = open('../configs/eval.yaml').read()\nstate = torch.load('../runs/a/best.pt')\n"
        "class Net: ...\nmodel = Net()\nmodel.load_state_dict(state, strict=False)",
    ]
    assert "write `torch.load('../runs/a/best.pt', weights_only=True)`" in output
    assert "write `model.load_state_dict(state)`" in output
    assert "outputs of 3 cells cleared" in output
    cells = json.loads(path.read_text())["cells"]
    assert [(cell["outputs"], cell["execution_count"]) for cell in cells] == [([], None)] * 3
    assert "0 would change" in run("patch", "all", "--check", "--clear-outputs", path)
    findings = check_file(path, max_bytes=2**20)
    assert len(findings) == 2  # the unsafe loading, which a person decides on


def test_parts_of_paths_and_keys_stay(tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").touch()
    for name in ("configs/eval.yaml", "notebooks/x"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    cells = [
        "a = root / 'configs/eval.yaml'\nb = files.get('configs/eval.yaml')\n"
        "c = os.path.join(root, 'configs/eval.yaml')\nd = open('configs/eval.yaml')"
    ]
    path = write(tmp_path / "notebooks/a.ipynb", cells)
    run("patch", "paths", "--write", path)
    (cell,) = read_notebook(path).cells
    assert cell.source == cells[0].replace("open('configs", "open('../configs")


def test_only_notebooks_with_something_to_report_are_listed(tmp_path: Path) -> None:
    quiet = write(tmp_path / "quiet.ipynb", ["%%bash\nls"])
    assert "quiet.ipynb" not in run("patch", "all", quiet)
    verbose = run("patch", "all", "-v", quiet)
    assert "quiet.ipynb: 0 cells would change" in verbose
    assert "cell 1: holds another language: %%bash" in verbose


def test_many_files_are_patched_in_several_processes(tmp_path: Path) -> None:
    """The same bytes and reports as one by one, in the order of the files."""
    (tmp_path / "helpers.py").write_text(HELPERS)
    cells = list(BOOKS.values())
    files = [write(tmp_path / f"{n:02}.ipynb", cells[n % 3][0]) for n in range(48)]
    bad = tmp_path / "bad.ipynb"
    bad.write_text("[")
    job = Job(patches=[TransformsPatch(), CollatePatch()])
    one_by_one = [
        report for path in [*files, bad] for report in patch_files([path], job, Mode.DIFF)
    ]
    assert list(patch_files([*files, bad], job, Mode.DIFF)) == one_by_one
    assert [report.path for report in one_by_one] == [*files, bad]
    assert one_by_one[-1].error is not None
    assert sum(report.changes for report in one_by_one) == 32


@pytest.mark.skipif(not DOCS.exists(), reason="a package without the repository")
def test_the_page_shows_these_diffs(
    books: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(books["devices"].parent)
    output = run(*ALL, "devices.ipynb", "collate.ipynb", "transforms.ipynb")
    shown = re.sub(r"\[\w+-\d\]", "[]", DOCS.read_text())
    for diff in re.findall(r"^--- .*?\n(?=\n)", output, re.MULTILINE | re.DOTALL):
        assert re.sub(r"\[c\d\]", "[]", diff) in shown


# The README's table, row by row.

ROWS = dict(
    re.findall(r"^\| `(\w+)` \| (.+?) \|$", README.read_text().partition("script | command")[2],
               re.MULTILINE)
)  # fmt: skip


def test_the_table_names_every_script() -> None:
    assert set(ROWS) == {"create_alignment_eval_notebook", "create_eval_notebook",
                         "fix_eval_notebook", "optimize_gpu_usage", "fix_collate_fn",
                         "fix_notebook_transforms"}  # fmt: skip


@pytest.mark.parametrize(
    ("script", "book"),
    [("optimize_gpu_usage", "devices"), ("fix_collate_fn", "collate"),
     ("fix_notebook_transforms", "transforms")],
)  # fmt: skip
def test_the_command_of_a_hot_fix(script: str, book: str, books: dict[str, Path]) -> None:
    (command,) = re.findall(r"`edge-glass-notebooks (.+?)`", ROWS[script])
    run(*command.replace("NB…", str(books[book])).split())
    cells, after = BOOKS[book]
    sources = [cell.source for cell in read_notebook(books[book]).cells]
    assert sources == [after.get(number, cell) for number, cell in enumerate(cells)]


def test_the_commands_of_the_repair_script(tmp_path: Path) -> None:
    path = _eval_notebook(tmp_path)
    patch, check = re.findall(r"`edge-glass-notebooks (.+?)`", ROWS["fix_eval_notebook"])
    assert "1 notebooks: 1 changed" in run(*patch.replace("NB…", str(path)).split())
    assert "torch.load" in run(*check.replace("NB…", str(path)).split())


@pytest.mark.parametrize("script", ["create_alignment_eval_notebook", "create_eval_notebook"])
def test_the_commands_that_create(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (command,) = re.findall(r"`edge-glass-notebooks (.+?)`", ROWS[script])
    assert "written" in run(*command.split())
    assert len(list(tmp_path.glob("notebooks/*.ipynb"))) == 1

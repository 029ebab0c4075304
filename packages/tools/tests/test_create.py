from __future__ import annotations

import ast
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import nbformat
import pytest
from typer.testing import CliRunner

from edge_glass.tools.create.alignment_evaluation import alignment_evaluation
from edge_glass.tools.create.command import app
from edge_glass.tools.create.template import assemble, parse_parameters, render
from edge_glass.tools.create.vlm_evaluation import vlm_evaluation

TEMPLATES = [alignment_evaluation, vlm_evaluation]
Template = Callable[[Mapping[str, object]], str]


@pytest.mark.parametrize("template", TEMPLATES)
def test_valid_deterministic_and_short_cells(template: Template) -> None:
    text = template({})
    assert template({}) == text
    content = json.loads(text)
    nbformat.validate(content)
    tags = [cell["metadata"].get("tags") for cell in content["cells"]]
    assert tags.count(["parameters"]) == 1
    for cell in content["cells"]:
        if cell["cell_type"] == "code":
            ast.parse("".join(cell["source"]))
            assert len(cell["source"]) <= 25
            assert all(len(line) <= 101 for line in cell["source"])


@pytest.mark.parametrize("template", TEMPLATES)
def test_names_are_defined_before_they_are_used(template: Template) -> None:
    """Each cell reads only names that it or a cell above it binds."""
    bound = set(dir(__builtins__)) | set(__builtins__ if isinstance(__builtins__, dict) else ())
    for cell in json.loads(template({}))["cells"]:
        if cell["cell_type"] != "code":
            continue
        nodes = list(ast.walk(ast.parse("".join(cell["source"]))))
        for node in nodes:
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                bound.add(node.id)
            elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                bound.add(node.name)
            elif isinstance(node, ast.arg):
                bound.add(node.arg)
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                bound |= {(a.asname or a.name).split(".")[0] for a in node.names}
        used = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
        assert used <= bound


def test_ids_depend_on_content_only() -> None:
    first = json.loads(render("# %%\nx = 1\n# %%\ny = 1\n# %%\nx = 1\n", {}, {}))["cells"]
    second = json.loads(render("# %%\nnew = 1\n# %%\nx = 1\n# %%\ny = 1\n", {}, {}))["cells"]
    assert len({cell["id"] for cell in first}) == 3
    assert [cell["id"] for cell in second[1:]] == [cell["id"] for cell in first[:2]]
    assert json.loads(assemble([]))["cells"] == []


def test_parameters_replace_defaults() -> None:
    cells = json.loads(alignment_evaluation(parse_parameters(["split=test_x", "dim=64"])))["cells"]
    source = "".join(cells[1]["source"])
    assert 'split = "test_x"' in source
    assert "dim = 64" in source


@pytest.mark.parametrize("template", TEMPLATES)
def test_every_parameter_is_used_below(template: Template) -> None:
    _, first, *cells = json.loads(template({}))["cells"]
    names = {line.split(" = ")[0] for line in first["source"]}
    assert names >= {"model_folder", "data", "split", "device", "num_threads"}
    below = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    used = {node.id for node in ast.walk(ast.parse(below)) if isinstance(node, ast.Name)}
    assert names <= used


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["nosuch=1"], "'nosuch' is unknown; there are project"),
        (["dim=many"], r"dim is 'many' \(str\), expected int"),
        (["dim"], "expected name=value"),
    ],
)
def test_bad_parameters(texts: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        alignment_evaluation(parse_parameters(texts))


@pytest.mark.parametrize("template", ["alignment", "vlm"])
def test_a_model_that_had_nothing_to_learn_from_gives_a_notebook_with_the_reason(
    template: str, tmp_path: Path
) -> None:
    folder = tmp_path / "models" / ("align" if template == "alignment" else "vlm_qa")
    folder.mkdir(parents=True)
    (folder / "nothing_to_do.tsv").write_text("the data set has none\n")
    output = tmp_path / "notebooks" / "x.ipynb"
    done = CliRunner().invoke(app, [template, "--output", str(output), "--execute"])
    assert done.exit_code == 0, done.output
    content = nbformat.reads(output.read_text(), as_version=4)
    nbformat.validate(content)
    title, cell = content["cells"]
    assert title["source"].startswith("# ")
    assert cell["source"] == "There is nothing to show: the data set has none."


def test_no_right_or_no_wrong_answer_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    sources = ["".join(cell["source"]) for cell in json.loads(vlm_evaluation({}))["cells"]]
    (source,) = (each for each in sources if each.startswith("def show("))
    exec(source, {"right": [], "wrong": []})  # as the notebook's kernel does
    assert capsys.readouterr().out == "Right: none\nWrong: none\n"

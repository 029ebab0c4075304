"""Configuration files are YAML 1.2, as DVC writes them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.hydra import apply_overrides

from edge_glass.encoders.components import ConfigError
from edge_glass.training.params import load_params
from edge_glass.training.runtime.yaml_file import parse_yaml, read_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5e-05", 5e-5),
        ("5E5", 5e5),
        ("-.5e-3", -5e-4),
        ("1e3", 1000.0),
        ("1.0e-3", 1e-3),
        ("10", 10),
        ("017", 17),
        ("0o17", 15),
        ("0x1F", 31),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("null", None),
        ("12:30", "12:30"),
        ("2024-01-01", "2024-01-01"),
        ("'5e-5'", "5e-5"),
    ],
)
def test_scalars(text: str, value: Any) -> None:
    found = parse_yaml(f"a: {text}", where="p")["a"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", 'p, line 3: found duplicate key "a"; keep one of the two'),
        ("x: {steps: 1, steps: 2}", 'p, line 1: found duplicate key "steps"'),
        ("a: [1", "p, line 1: not valid YAML: expected ',' or ']'"),
        ("a: !!python/name:os.system x", "p, line 1: not valid YAML: could not determine"),
        ("a: !!binary aGk=", "p, line 1: not valid YAML: could not determine"),
        ("- 1", "p: expected a table, found list"),
        ("", "p: the file is empty; expected a table of options"),
        (
            "a: \x01",
            "p: holds the character .* YAML does not allow; save the file as text in UTF-8",
        ),
        ("a: " + "[" * 5000, "p: nested too deeply; expected a few levels of tables"),
        ("a: " + "9" * 5000, "p: not valid YAML: Exceeds the limit"),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message.replace('[', '.')}"):
        parse_yaml(text, where="p")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file; run the command in the project's folder"):
        read_yaml(tmp_path / "params.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_yaml(tmp_path)
    (tmp_path / "latin.yaml").write_bytes("a: \xe9".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"latin\.yaml: not text in UTF-8; save it as"):
        read_yaml(tmp_path / "latin.yaml")


def test_what_dvc_writes_for_an_experiment_is_read(tmp_path: Path) -> None:
    """`dvc exp run -S vlm_qa.sample.optim.learning_rate=5e-5` writes `5e-05` into the file."""
    file = tmp_path / "params.yaml"
    shutil.copy(Path(__file__).parents[4] / "params.yaml", file)
    rates = ["vlm_qa.sample.optim.learning_rate=5e-5", "align.sample.optim.weight_decay=1e-2"]
    apply_overrides(file, rates)
    assert "5e-05" in file.read_text()
    params = load_params(file)
    assert params.vlm_qa.optim.learning_rate == 5e-5
    assert params.align.optim.weight_decay == 0.01

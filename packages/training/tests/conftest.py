"""A temporary project with a tiny PixMo."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from tiny_pixmo import PARAMS, build_data


@pytest.fixture
def params() -> dict[str, Any]:
    """A fresh copy of the tiny configuration, to change at will."""
    return copy.deepcopy(PARAMS)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, params: dict[str, Any]) -> Path:
    """A working folder with tiny data and params.yaml; the current folder while the test runs."""
    monkeypatch.chdir(tmp_path)
    build_data(tmp_path / "data")
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    return tmp_path

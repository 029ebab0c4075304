"""Other people's evaluators: skipped where they are not installed (tox run -e evaluators)."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
import torch

collect_ignore_glob = (
    []
    if all(importlib.util.find_spec(name) for name in ("lmms_eval", "clip_benchmark"))
    else ["test_*.py"]
)


def declare_operators() -> torch.library.Library | None:
    """Declares torchvision's operators if its build does not fit torch.

    PyPI's torchvision for Linux is built for CUDA: beside torch for CPUs its compiled operators
    can't be loaded, and the import fails. The evaluators need the package, and none of them.
    """
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None or torch.version.cuda is not None:
        return None
    folder = Path(spec.origin).parent
    names: set[str] = set()
    for path in (folder / "_meta_registrations.py", *folder.glob("ops/*.py")):
        names |= set(re.findall(r'(?:register_meta\("|torchvision::)(\w+)', path.read_text()))
    library = torch.library.Library("torchvision", "DEF")
    for name in sorted(names):
        library.define(f"{name}(Tensor input) -> Tensor")
    return library


OPERATORS = None if collect_ignore_glob else declare_operators()


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Caches of the evaluators go to a folder of the test."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))

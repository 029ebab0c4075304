"""The code that bytes depend on: the project's own sources, and the libraries below them."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PORTIONS = ("encoders", "decoders", "fusion", "training")
# what a worker of `fetch`, `prepare` and `encode` uses
WORKER_LIBRARIES = (
    "aiohttp", "numpy", "pillow", "pyarrow", "sentence-transformers", "torch", "transformers",
)  # fmt: skip
LIBRARIES = (
    *WORKER_LIBRARIES, "accelerate", "bitsandbytes", "deepspeed", "peft", "safetensors",
    "tokenizers", *(f"edge-glass-{portion}" for portion in PORTIONS),
)  # fmt: skip


def installed_versions(names: tuple[str, ...] = LIBRARIES) -> dict[str, str]:
    """Returns the versions of those libraries that are installed."""
    versions = {}
    for name in names:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue  # of an extra
    return versions


@cache
def source_hash() -> str:
    """Returns a SHA-256 of all Python files of the project, with their names."""
    digest = hashlib.sha256()
    for portion in PORTIONS:
        folder = Path(str(import_module(f"edge_glass.{portion}").__file__)).parent
        for source in sorted(folder.rglob("*.py")):
            digest.update(f"{source.relative_to(folder)}\n".encode() + source.read_bytes())
    return digest.hexdigest()

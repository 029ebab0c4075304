"""The code that bytes depend on: the project's own sources, and the libraries below them."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from edge_glass.training.runtime.pipeline import PORTIONS, installed_source, source_files

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
    """Returns a SHA-256 of all Python files that run, with their names."""
    digest = hashlib.sha256()
    for portion in PORTIONS:
        for name, path in source_files(installed_source(f"edge_glass/{portion}")).items():
            digest.update(f"{portion}/{name}\n".encode() + path.read_bytes())
    return digest.hexdigest()

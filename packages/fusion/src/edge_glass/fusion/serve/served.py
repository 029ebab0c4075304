"""The models and the index that a server holds, loaded once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge_glass.encoders.file_names import shown
from edge_glass.encoders.files import sha256_of
from edge_glass.fusion.search.embedder import RUNTIMES, Embedder, load_embedder
from edge_glass.fusion.search.index import ImageIndex
from edge_glass.fusion.search.query import update_folder
from edge_glass.fusion.serve.answerer import Answerer, load_answerer

VLM, ALIGN = Path("models/vlm_qa"), Path("models/align")
GRAPHS = (".onnx", ".data", ".pte")
HASHED = (".json", ".safetensors", ".jinja", *GRAPHS)
UNHASHED = ("chain.json", "parity.json")  # facts about a model, not the model


@dataclass(frozen=True, kw_only=True)
class ModelName:
    """A model as clients see it.

    Attributes:
        name: the name of its folder.
        sha256: of the names and contents of its files.
    """

    name: str
    sha256: str

    @property
    def fingerprint(self) -> str:
        """The beginning of the hash, in the form of OpenAI's `system_fingerprint`."""
        return f"fp_{self.sha256[:16]}"


@dataclass(frozen=True, kw_only=True)
class Served:
    """What a server holds; a part that it was started without is None.

    Attributes:
        vlm: answers questions.
        vlm_name: name and hash of its folder.
        embedder: the dual encoder.
        align_name: name and hash of its folder.
        images: the folder that the page searches.
        index: embeddings of its images.
    """

    vlm: Answerer | None = None
    vlm_name: ModelName | None = None
    embedder: Embedder | None = None
    align_name: ModelName | None = None
    images: Path | None = None
    index: ImageIndex | None = None

    def names(self) -> list[ModelName]:
        """Returns the models, those that chat first."""
        return [each for each in (self.vlm_name, self.align_name) if each is not None]


def load_served(
    *,
    vlm: Path | None,
    align: Path | None,
    images: Path | None = None,
    index: Path | None = None,
    runtime: str = "torch",
    notify: Callable[[str], None] = lambda _message: None,
) -> Served:
    """Loads the models, and brings the index of a folder of images up to date.

    If neither `vlm` nor `align` is given, `models/vlm_qa` and `models/align` are served if they
    exist. `notify` receives messages for people.

    Raises:
        OSError: if a folder does not exist.
        ValueError: if there is nothing to serve, or a folder holds something else.
    """
    if runtime not in RUNTIMES:
        raise ValueError(f"runtime is {runtime}, expected one of {', '.join(RUNTIMES)}")
    if vlm is None and align is None:
        vlm, align = (each if each.is_dir() else None for each in (VLM, ALIGN))
        if vlm is None and align is None:
            raise ValueError(
                f"neither {VLM} nor {ALIGN} exists; give the folder of a model with --vlm or "
                "--align"
            )
    if images is not None and align is None:
        raise ValueError("--images needs a dual encoder; give its folder with --align")
    if index is not None and images is None:
        raise ValueError("--index needs the folder of its images; give it with --images")
    answerer = None if vlm is None else load_answerer(vlm, runtime)
    embedder = None if align is None else load_embedder(align, runtime)
    if embedder is not None:  # now, and not in the first request
        embedder.prepare_images()
        embedder.embed_text("ready")
    found = None
    if images is not None and embedder is not None:
        found, updater = update_folder(images, embedder, index_folder=index, notify=notify)
        if updater.left_out:
            notify(f"images left out: {len(updater.left_out)}; `edge-glass search` names them")
    return Served(
        vlm=answerer,
        vlm_name=None if vlm is None else model_name(vlm),
        embedder=embedder,
        align_name=None if align is None else model_name(align),
        images=images,
        index=found,
    )


def model_name(folder: Path) -> ModelName:
    """Returns the name of a model's folder, and a hash of its files.

    Of subfolders only graphs count: a training state, for example, is not the model.
    """
    lines = [
        f"{path.relative_to(folder).as_posix()} {sha256_of(path)}\n"
        for path in sorted(folder.rglob("*"))
        if path.suffix in (HASHED if path.parent == folder else GRAPHS)
        and path.name not in UNHASHED
        and path.is_file()
    ]
    digest = hashlib.sha256("".join(lines).encode()).hexdigest()
    return ModelName(name=shown(folder.resolve().name), sha256=digest)

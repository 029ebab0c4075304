"""Models on the Hugging Face Hub: a folder or a hub id becomes a folder, and a folder is published.

The server is that of huggingface_hub: HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE apply.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_glass.encoders.checkpoint import CheckpointError
from edge_glass.encoders.towers.pretrained import COMMIT, HUB_ID

# What a model's folder may hold: no pickle and no code. The state of the last step is not read.
FILES = ("*.json", "*.safetensors", "*.jinja", "*.txt", "*.model", "README.md")
NOT_PUBLISHED = ("last/*", ".*")


class HubError(OSError):
    """The hub can't be reached, or refuses a request: names the model and the remedy."""


def find_model_folder(model: str | os.PathLike[str], revision: str | None = None) -> Path:
    """Returns the folder of a model; a hub id is downloaded at its commit.

    Args:
        model: a folder, or a hub id (owner/name) if there is no such folder.
        revision: the commit of a hub id, 40 hexadecimal digits; a folder ignores it.

    Raises:
        CheckpointError: if there is no such folder, and a hub id has no commit.
        HubError: if the download fails.
    """
    folder, name = Path(model), os.fspath(model)
    if folder.is_dir():
        return folder
    if not HUB_ID.fullmatch(name):
        raise CheckpointError(
            f"{name} does not exist, so it is not a checkpoint: run the stage that writes it, or "
            "give a hub id (owner/name) with its commit as revision"
        )
    if revision is None or not COMMIT.fullmatch(revision):
        raise CheckpointError(
            f"{name} does not exist, so it is not a checkpoint: run the stage that writes it; if "
            f"it is a hub id, give its commit of 40 hexadecimal digits as revision (found "
            f"{revision!r}), because a branch moves"
        )
    from huggingface_hub import snapshot_download

    with _explained(f"download {name} at {revision}"):
        return Path(
            snapshot_download(
                name,
                revision=revision,
                allow_patterns=list(FILES),
                ignore_patterns=list(NOT_PUBLISHED),
            )
        )


def publish_folder(folder: Path, repo_id: str, *, card: str, private: bool = False) -> str:
    """Uploads the files of a model in one commit, and returns the commit.

    Args:
        folder: the model.
        repo_id: owner/name; made if it does not exist.
        card: the content of README.md.
        private: whether a new repository is private.

    Raises:
        HubError: if the hub refuses it.
        ValueError: if `repo_id` is not of this form.
    """
    check_hub_id(repo_id)
    from huggingface_hub import CommitOperationAdd, HfApi

    found = sorted({path for pattern in FILES for path in folder.rglob(pattern)})
    names = [path.relative_to(folder).as_posix() for path in found if path.is_file()]
    kept = [name for name in names if not name.startswith(("last/", ".")) and name != "README.md"]
    operations = [CommitOperationAdd(name, folder / name) for name in kept]
    operations.append(CommitOperationAdd("README.md", card.encode()))
    api = HfApi()
    with _explained(f"publish {repo_id}"):
        api.create_repo(repo_id, private=private, exist_ok=True)
        done = api.create_commit(repo_id, operations, commit_message="Upload the model")
    return str(done.oid)


def check_hub_id(repo_id: str) -> None:
    """Checks the form of a hub id."""
    if not HUB_ID.fullmatch(repo_id):
        raise ValueError(f"{repo_id!r} is not a hub id: expected owner/name, such as me/my-model")


@contextmanager
def _explained(action: str) -> Iterator[None]:
    """Turns the errors of huggingface_hub into one line with the remedy."""
    try:
        yield
    except HubError:
        raise
    except (OSError, ValueError) as error:  # its errors are subclasses, with several lines each
        reason = next((line for line in str(error).splitlines() if line.strip()), repr(error))
        raise HubError(
            f"can't {action} ({reason.strip()}): check the id, the commit, the network and "
            "HF_TOKEN (`hf auth login`)"
        ) from error

"""The predictions and ranks of a run: a folder, a git revision or a DVC experiment."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

PREDICTIONS = "predictions"
REMEDY = (
    "expected the folder of a project, a git revision (HEAD~1) or a DVC experiment (`dvc exp show` "
    "lists them)"
)


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run whose scores are compared.

    Attributes:
        name: as it was given.
        files: text of each file below `predictions`, by its path there, such as
            "vlm_qa/val.jsonl".
    """

    name: str
    files: Mapping[str, str] = field(repr=False)


def read_run(name: str) -> Run:
    """Reads the predictions of a folder, or of a revision of the current folder's repository."""
    folder = Path(name)
    if folder.is_dir():
        root = folder / PREDICTIONS
        paths = [path for path in sorted(root.glob("*/*")) if path.is_file()]
        files = {
            path.relative_to(root).as_posix(): path.read_text(encoding="utf-8", errors="replace")
            for path in paths
        }
    else:
        commit = _commit(name)
        listed = _git("ls-tree", "-r", "-z", "--name-only", commit, "--", f"{PREDICTIONS}/") or ""
        files = {
            path.removeprefix(f"{PREDICTIONS}/"): _git("show", f"{commit}:./{path}") or ""
            for path in listed.split("\0")
            if path
        }
    if not files:
        raise ValueError(
            f"{name}: found no predictions/*/* there; run `dvc repro evaluate_align "
            "evaluate_vlm_qa`, and commit what they write"
        )
    return Run(name=name, files=files)


def _commit(name: str) -> str:
    """Returns the commit of a revision or of an experiment."""
    if _git("rev-parse", "--git-dir") is None:
        raise ValueError(f"{name}: no such folder, and this is no git repository; {REMEDY}")
    option = name.startswith("-")  # git would read it as one
    found = None if option else _git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
    if found is not None:
        return found.strip()
    refs = (_git("for-each-ref", "--format=%(refname)", "refs/exps") or "").split()
    matching = [ref for ref in refs if ref.rpartition("/")[2] == name]
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise ValueError(
            f"{name}: found {len(matching)} experiments of this name; give one of "
            f"{', '.join(matching)}"
        )
    raise ValueError(f"{name}: no such folder, revision or experiment; {REMEDY}")


def _git(*arguments: str) -> str | None:
    """Returns the output of git, None if it fails."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, check=False)
    except FileNotFoundError:
        raise ValueError("git is not installed; compare two folders instead") from None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None

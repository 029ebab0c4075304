"""A clone has the committed bytes, whatever git is set to: `dvc.lock` holds hashes of them."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]


def git(*arguments: str, folder: Path = ROOT) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_a_clone_made_on_windows_has_the_bytes_of_the_commit(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    settings = ("-c", "core.autocrlf=true", "-c", "core.eol=crlf")
    git(*settings, "clone", "--quiet", str(ROOT), str(clone))
    committed = {}
    for line in git("ls-tree", "-r", "HEAD").splitlines():
        description, _, name = line.partition("\t")
        committed[name] = description.split()[2]
    # without filters: the hash of the file as it is on the disk
    paths = "\n".join(committed)
    hashed = subprocess.run(
        ["git", "-C", str(clone), "hash-object", "--no-filters", "--stdin-paths"],
        input=paths, check=True, capture_output=True, text=True,
    ).stdout.split()  # fmt: skip
    assert dict(zip(committed, hashed, strict=True)) == committed

"""Files of a pinned npm package, checked by their hashes.

They come from `npm pack`, which uses the registry and the cache that npm is set up with, or from a
folder that `npm install` filled.
"""

from __future__ import annotations

import base64
import hashlib
import io
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SECONDS = 300  # that a download may take


@dataclass(frozen=True, kw_only=True)
class NpmPackage:
    """An npm package of one version.

    Attributes:
        name: with its scope, if it has one.
        version: the only one that is used.
        integrity: of the archive, as npm prints it for `npm view NAME@VERSION dist.integrity`.
        files: the wanted files by path in the package, each with its hash (SHA-512, base64).
    """

    name: str
    version: str
    integrity: str
    files: Mapping[str, str]

    @property
    def pinned(self) -> str:
        """Returns `name@version`, as npm reads it."""
        return f"{self.name}@{self.version}"


def package_files(package: NpmPackage, folder: Path | None = None) -> dict[str, bytes]:
    """Returns the wanted files of a package, by path in the package.

    Args:
        package: the package and its hashes.
        folder: a folder as `npm install` names it `node_modules`; None to run `npm pack`.

    Raises:
        ValueError: if npm is missing or fails, or a hash differs.
        FileNotFoundError: if the folder lacks a file.
    """
    if folder is None:
        found = _unpacked(package, _download(package))
    else:
        found = {name: _read(folder / package.name / name, package) for name in package.files}
    for name, expected in package.files.items():
        if sha512(found[name]) != expected:
            where = "the archive" if folder is None else folder / package.name
            raise ValueError(
                f"{name} in {where} is not that of {package.pinned} (its SHA-512 differs); install "
                f"this version: npm install {package.pinned}"
            )
    return found


def sha512(content: bytes) -> str:
    """Returns the SHA-512 of a content in base64, as npm writes it."""
    return base64.b64encode(hashlib.sha512(content).digest()).decode()


def _read(path: Path, package: NpmPackage) -> bytes:
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist; give the node_modules folder that `npm install "
            f"{package.pinned}` writes"
        )
    return path.read_bytes()


def _download(package: NpmPackage) -> bytes:
    remedy = (
        f"install npm and connect to a registry, or give a node_modules folder that has "
        f"{package.pinned} with --runtime-folder"
    )
    npm = shutil.which("npm")
    if npm is None:
        raise ValueError(f"npm is not installed, but {package.pinned} is needed; {remedy}")
    with tempfile.TemporaryDirectory() as scratch:
        command = [npm, "pack", package.pinned, "--ignore-scripts", "--prefer-offline"]
        try:
            subprocess.run(
                [*command, "--pack-destination", scratch],
                capture_output=True,
                check=True,
                cwd=scratch,
                text=True,
                timeout=SECONDS,
            )
        except subprocess.CalledProcessError as error:
            lines = [line for line in error.stderr.splitlines() if line.strip()] or ["no message"]
            reason = lines[0].removeprefix("npm error ").strip()
            raise ValueError(f"npm can't fetch {package.pinned} ({reason}); {remedy}") from None
        except subprocess.TimeoutExpired:
            raise ValueError(
                f"npm did not fetch {package.pinned} in {SECONDS} seconds; {remedy}"
            ) from None
        archives = list(Path(scratch).glob("*.tgz"))
        if len(archives) != 1:
            raise ValueError(f"npm pack wrote {len(archives)} archives, expected 1; {remedy}")
        return archives[0].read_bytes()


def _unpacked(package: NpmPackage, archive: bytes) -> dict[str, bytes]:
    found = f"sha512-{sha512(archive)}"
    if found != package.integrity:
        raise ValueError(
            f"the archive of {package.pinned} has the integrity {found}, expected "
            f"{package.integrity}; use the public npm registry, or clean npm's cache"
        )
    contents = {}
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        for name in package.files:
            member = tar.extractfile(f"package/{name}")
            assert member is not None  # the archive is the one that was read for `files`
            contents[name] = member.read()
    return contents

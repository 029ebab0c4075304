"""Files of npm packages are those that were pinned, or a one-line error names the remedy."""

from __future__ import annotations

import io
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from edge_glass.fusion.export.npm_package import NpmPackage, package_files, sha512

CONTENT = b"export const answer = 42;\n"


def archive(content: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for name in ("dist/a.mjs", "dist/unused.mjs"):
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return file.getvalue()


ARCHIVE = archive(CONTENT)
PACKAGE = NpmPackage(
    name="@some/package",
    version="1.2.3",
    integrity=f"sha512-{sha512(ARCHIVE)}",
    files={"dist/a.mjs": sha512(CONTENT)},
)


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Puts a program `npm` on the path; it runs the file `script`."""
    program = tmp_path / "bin" / "npm"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\n. "{tmp_path}/script"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return tmp_path / "script"


def test_the_archive_of_npm_is_unpacked(npm: Path, tmp_path: Path) -> None:
    (tmp_path / "a.tgz").write_bytes(ARCHIVE)
    npm.write_text(
        f'[ "$1 $2 $5" = "pack @some/package@1.2.3 --pack-destination" ] || exit 3\n'
        f'cp "{tmp_path}/a.tgz" "$6/some-package-1.2.3.tgz"\n'
    )
    assert package_files(PACKAGE) == {"dist/a.mjs": CONTENT}
    with pytest.raises(ValueError, match=r"has the integrity sha512-.*, expected sha512-other;"):
        package_files(replace(PACKAGE, integrity="sha512-other"))
    with pytest.raises(ValueError, match=r"a.mjs in the archive is not that of @some/package@1"):
        package_files(replace(PACKAGE, files={"dist/a.mjs": "other"}))


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (
            "echo 'npm error code ENOTFOUND\nnpm error network' >&2; exit 1",
            r"npm can't fetch @some/package@1\.2\.3 \(code ENOTFOUND\); install npm and connect",
        ),
        ("exit 1", r"\(no message\); install npm"),
        ("exit 0", "wrote 0 archives, expected 1; .* --runtime-folder"),
    ],
)
def test_without_a_registry_the_remedy_is_named(npm: Path, script: str, message: str) -> None:
    npm.write_text(script)
    with pytest.raises(ValueError, match=message) as error:
        package_files(PACKAGE)
    assert "\n" not in str(error.value)


def test_without_npm_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match=r"npm is not installed, .* with --runtime-folder"):
        package_files(PACKAGE)


def test_a_folder_is_checked(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"a\.mjs does not exist; give the node_modules"):
        package_files(PACKAGE, tmp_path)
    path = tmp_path / "@some" / "package" / "dist" / "a.mjs"
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    assert package_files(PACKAGE, tmp_path) == {"dist/a.mjs": CONTENT}
    path.write_bytes(CONTENT + b"//")
    with pytest.raises(ValueError, match=r"is not that of @some/package@1\.2\.3 \(its SHA-512"):
        package_files(PACKAGE, tmp_path)

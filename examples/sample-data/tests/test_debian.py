import hashlib
import io
import tarfile
from pathlib import Path

import pytest
from debian import DebianPackage, fetch_deb, read_deb, read_debian_packages
from sources import IntegrityError


def deb(files: dict[str, bytes]) -> bytes:
    """An ar archive as dpkg-deb writes it: three members, padded to even places."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:xz") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo("./" + name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    parts = [
        ("debian-binary", b"2.0\n"),
        ("control.tar.xz", b"odd"),
        ("data.tar.xz", buffer.getvalue()),
    ]
    found = b"!<arch>\n"
    for name, data in parts:
        header = f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n"
        found += header.encode() + data + b"\n" * (len(data) % 2)
    return found


def test_files_of_a_package_are_read(tmp_path: Path) -> None:
    path = tmp_path / "p.deb"
    path.write_bytes(deb({"usr/b.svg": b"2", "usr/a.svg": b"1", "usr/c.txt": b"3"}))
    assert read_deb(path, ".svg") == {"usr/a.svg": b"1", "usr/b.svg": b"2"}


@pytest.mark.parametrize("data", [b"PK", b"!<arch>\n"])
def test_what_is_no_package_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "p.deb").write_bytes(data)
    with pytest.raises(ValueError, match=r"p\.deb"):
        read_deb(tmp_path / "p.deb", ".svg")


def test_a_cached_package_is_checked(tmp_path: Path) -> None:
    good = hashlib.sha256(b"data").hexdigest()
    package = DebianPackage(name="p", version="1:2-3", sha256=good)
    assert package.filename == "p_1%3a2-3_all.deb"
    path = tmp_path / package.filename
    path.write_bytes(b"data")
    assert fetch_deb(package, tmp_path) == path
    path.write_bytes(b"different")
    with pytest.raises(IntegrityError, match="expected"):
        fetch_deb(package, tmp_path)


def test_the_pinned_packages() -> None:
    packages = read_debian_packages(Path(__file__).parents[1] / "packages.json")
    assert set(packages) == {"openclipart-svg", "wamerican"}
    assert all(len(package.sha256) == 64 for package in packages.values())

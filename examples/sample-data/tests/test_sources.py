import io
import sys
import tarfile
from pathlib import Path

import pytest
from sources import IntegrityError, Package, Tarball, download, fetch, integrity, read_packages


def tarball(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def test_a_cached_tarball_is_checked_and_read(tmp_path: Path) -> None:
    data = tarball({"info.json": b'{"a": 1}', "x/y.txt": b"text"})
    package = Package(hand="h", name="@scope/set", version="1.0.0", integrity=integrity(data))
    (tmp_path / "scope-set-1.0.0.tgz").write_bytes(data)
    files = Tarball(fetch(package, tmp_path))
    assert files.names() == ["info.json", "x/y.txt"]
    assert files.json("info.json") == {"a": 1}
    with pytest.raises(KeyError, match=r"no 'z\.txt'"):
        files.read("z.txt")


def test_another_tarball_is_refused(tmp_path: Path) -> None:
    package = Package(hand="h", name="set", version="1.0.0", integrity=integrity(b"expected"))
    (tmp_path / "set-1.0.0.tgz").write_bytes(b"found")
    with pytest.raises(IntegrityError, match="delete the file and build again"):
        fetch(package, tmp_path)


def test_a_download_that_fails_ends_with_one_message(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no-such-program is not installed"):
        download(["no-such-program", "x"], tmp_path)
    code = "import sys; sys.exit('a line\\nversion not found')"
    with pytest.raises(SystemExit, match="failed: version not found; check the connection"):
        download([sys.executable, "-c", code], tmp_path)


def test_integrity_is_the_registry_format() -> None:
    # printf abc | openssl dgst -sha512 -binary | base64 -w0
    assert integrity(b"abc") == (
        "sha512-3a81oZNherrMQXNJriBBMRLm+k6JqX6iCp7u5ktV05ohkpkqJ0/BqDa6PCOj/uu9RU1EI2Q86A4qmslPpUyknw=="
    )


def test_the_pinned_list_names_every_hand_once() -> None:
    packages = read_packages(Path(__file__).parents[1] / "packages.json")
    hands = [package.hand for package in packages]
    assert sorted(hands) == sorted({*hands})
    assert {"noto", "noto_v1", "twemoji", "emojione", "fxemoji", "fluent_3d", ""} == {*hands}
    assert all(package.integrity.startswith("sha512-") for package in packages)

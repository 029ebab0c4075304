"""Files and folders appear whole or not at all, whoever else writes and whoever dies."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge_glass.encoders import files
from edge_glass.encoders.files import (
    WriteError,
    output_folder,
    replace_folder,
    replacing,
    rounded,
    write_atomic,
    write_json,
)

ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
    )


def test_a_file_is_replaced_with_the_rights_of_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file[1]"
    old = os.umask(0o027)
    try:
        write_atomic(path, b"one")
        write_atomic(path, b"two")
    finally:
        os.umask(old)
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o640
    assert names(path.parent) == ["file[1]"]


def test_a_name_as_long_as_the_system_allows(tmp_path: Path) -> None:
    path = tmp_path / ("é" * 127)  # 254 bytes
    write_atomic(path, b"one")
    assert path.read_bytes() == b"one"


def test_json_bytes(tmp_path: Path) -> None:
    write_json(tmp_path / "sub" / "a.json", {"b": 1.5, "a": "ä"})
    assert (tmp_path / "sub" / "a.json").read_bytes() == '{\n  "b": 1.5,\n  "a": "ä"\n}\n'.encode()


def test_rounding_reaches_all_floats_and_nothing_else() -> None:
    found = rounded({"a": (0.12345678, [1, True, "0.12345678"]), "b": None})
    assert found == {"a": [0.1235, [1, True, "0.12345678"]], "b": None}


def test_an_error_leaves_the_old_file(tmp_path: Path) -> None:
    write_atomic(tmp_path / "file", b"old")
    for error in (RuntimeError, KeyboardInterrupt):
        with pytest.raises(error), replacing(tmp_path / "file", tmp_path / "scratch") as path:  # noqa: PT012
            path.write_text("new")
            assert path.parent == tmp_path / "scratch"
            raise error
    assert names(tmp_path) == ["file", "scratch"]
    assert names(tmp_path / "scratch") == []
    assert (tmp_path / "file").read_text() == "old"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_has_a_remedy(tmp_path: Path, code: int) -> None:
    for context in (replacing(tmp_path / "out"), output_folder(tmp_path / "out")):
        with (
            pytest.raises(WriteError, match=r"out .*free some space on the disk of") as caught,
            context,
        ):
            raise OSError(code, os.strerror(code))
        assert caught.value.errno == code
    assert names(tmp_path) == []


def test_a_link_to_a_folder_stays_and_its_folder_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk/old").write_text("one")
    (tmp_path / "out").symlink_to("disk")
    with output_folder(tmp_path / "out") as work:
        (work / "new").write_text("two")
    assert (tmp_path / "out").is_symlink()
    assert names(tmp_path / "disk") == ["new"]
    assert names(tmp_path) == ["disk", "out"]


def test_errors_of_the_block_itself_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"), replacing(tmp_path / "file"):
        (tmp_path / "nowhere").read_bytes()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_rights_has_a_remedy(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(WriteError, match=r"Permission denied.*make the folder writable"):
        write_atomic(tmp_path / "file", b"")
    tmp_path.chmod(0o700)


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match=r"can't write .*file.*: check the path"):
        write_atomic(tmp_path / "file" / "sub", b"")


SAVER = """
import sys
from pathlib import Path
from edge_glass.encoders.files import write_atomic
for number in range(200):
    write_atomic(Path(sys.argv[1]), sys.argv[2].encode() * 50_000)
"""


def test_writers_of_one_path_all_succeed(tmp_path: Path) -> None:
    savers = [start(SAVER, tmp_path / "file", letter) for letter in "abc"]
    assert [saver.communicate()[1] for saver in savers] == [""] * 3
    content = (tmp_path / "file").read_bytes()
    assert content in (letter * 50_000 for letter in (b"a", b"b", b"c"))
    assert names(tmp_path) == ["file"]


KILLED = """
import sys, time
from pathlib import Path
from edge_glass.encoders.files import replacing
with replacing(Path(sys.argv[1])) as path:
    path.write_text("half")
    print(path, flush=True)
    time.sleep(60)
"""


def test_orphans_of_dead_writers_go_and_files_of_live_ones_stay(tmp_path: Path) -> None:
    with start(KILLED, tmp_path / "file") as dead, start(KILLED, tmp_path / "file") as live:
        assert dead.stdout is not None
        assert live.stdout is not None
        orphan, at_work = (Path(each.stdout.readline().strip()) for each in (dead, live))
        dead.kill()
        dead.wait()
        other = tmp_path / ".file.0123abcd-1-00000000.tmp"  # of a different machine
        other.touch()
        write_atomic(tmp_path / "file", b"whole")
        assert names(tmp_path) == sorted([at_work.name, other.name, "file"])
        old = time.time() - files.ORPHAN_SECONDS - 1
        os.utime(other, (old, old))
        write_atomic(tmp_path / "file", b"whole")
        assert names(tmp_path) == sorted([at_work.name, "file"])
        live.kill()
    assert not orphan.exists()


def test_a_folder_is_replaced_when_the_work_succeeds(tmp_path: Path) -> None:
    final = tmp_path / "out"
    for text in ("one", "two"):
        with output_folder(final) as work:
            (work / "file").write_text(text)
            assert not (final / "file").exists() or (final / "file").read_text() == "one"
        assert (final / "file").read_text() == text
    assert names(tmp_path) == ["out"]
    with pytest.raises(RuntimeError), output_folder(final) as work:  # noqa: PT012
        (work / "file").write_text("half")
        raise RuntimeError
    assert (final / "file").read_text() == "two"
    assert names(tmp_path) == ["out"]


def test_a_system_that_can_not_exchange_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_exchange", lambda one, other: False)
    final = tmp_path / "out"
    for text in ("one", "two"):
        with output_folder(final) as work:
            (work / "file").write_text(text)
    assert (final / "file").read_text() == "two"
    assert names(tmp_path) == ["out"]
    # a kill between the two renames: the next start puts the old folder back
    final.rename(tmp_path / ".out.old")
    with pytest.raises(RuntimeError), output_folder(final):
        raise RuntimeError
    assert (final / "file").read_text() == "two"


REPLACER = """
import sys
from pathlib import Path
from edge_glass.encoders.files import output_folder
number = 0
while True:
    with output_folder(Path(sys.argv[1])) as work:
        (work / "a").write_text(str(number))
        (work / "b").write_text(str(number))
    number += 1
    print(number, flush=True)
"""


def test_killed_at_any_moment_a_whole_folder_is_left(tmp_path: Path) -> None:
    final = tmp_path / "out"
    for times in (3, 7, 12):
        with start(REPLACER, final) as process:
            assert process.stdout is not None
            for _ in range(times):
                process.stdout.readline()
            process.kill()
        assert (final / "a").read_text() == (final / "b").read_text()


def test_a_reader_never_finds_the_folder_missing(tmp_path: Path) -> None:
    final = tmp_path / "out"
    final.mkdir()
    if not files._exchange(final, final):
        pytest.skip("this system can't exchange two names in one step")
    with start(REPLACER, final) as process:
        assert process.stdout is not None
        process.stdout.readline()
        for _ in range(5000):
            assert final.is_dir()
        process.kill()


def test_replacing_a_folder_by_one_elsewhere_on_the_disk(tmp_path: Path) -> None:
    (tmp_path / "work" / "deep").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").touch()
    replace_folder(tmp_path / "work", tmp_path / "out")
    assert names(tmp_path) == ["out"]
    assert names(tmp_path / "out") == ["deep"]

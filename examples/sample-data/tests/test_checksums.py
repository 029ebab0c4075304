from pathlib import Path

from checksums import checksums, differences, read_checksums, write_checksums


def test_a_changed_missing_or_extra_file_is_named(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "captions").mkdir(parents=True)
    (data / "captions" / "a").write_bytes(b"abc")
    (data / "b").write_bytes(b"")
    expected = checksums(data)
    # sha256sum of "abc"
    assert expected["captions/a"].startswith("ba7816bf8f01cfea")
    write_checksums(expected, tmp_path / "list")
    assert read_checksums(tmp_path / "list") == expected
    assert differences(checksums(data), expected) == []

    (data / "captions" / "a").write_bytes(b"abd")
    (data / "b").rename(data / "c")
    found = differences(checksums(data), expected)
    assert [line.split(":")[0] for line in found] == ["b", "c", "captions/a"]

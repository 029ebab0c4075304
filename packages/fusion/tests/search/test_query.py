from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from edge_glass.encoders.dual_encoder import DualEncoder
from edge_glass.fusion.search.query import (
    SearchResult,
    draw_search,
    query_image_path,
    search_folder,
    update_folder,
)
from edge_glass.fusion.search.torch_embedder import TorchEmbedder, one_torch_thread


def names(result: SearchResult) -> list[str]:
    return [each.path.name for each in result.found]


@pytest.mark.parametrize("dim", [None, 24, 8, 4])
def test_scores_are_the_models_and_the_best_come_first(
    image_folder: Path, dual: DualEncoder, dual_folder: Path, dim: int | None
) -> None:
    result = search_folder("a red car", image_folder, model_folder=dual_folder, dim=dim, top=100)
    assert [each.rank for each in result.found] == list(range(1, 9))
    with one_torch_thread():
        query = dual.encode_text(["a red car"], truncate_dim=dim)
        images = dual.encode_image([Image.open(f.path) for f in result.found], truncate_dim=dim)
    scores = [each.score for each in result.found]
    # the search rounds embeddings to 2**-26
    np.testing.assert_allclose(scores, (images @ query.T)[:, 0], atol=1e-6)
    assert scores == sorted(scores, reverse=True)
    few = search_folder("a red car", image_folder, model_folder=dual_folder, dim=dim, top=3)
    assert few.found == result.found[:3]
    assert (result.num_encoded, few.num_encoded, few.num_images) == (8, 0, 8)


def test_a_score_is_the_same_bits_in_a_folder_of_one_and_of_many(
    image_folder: Path, dual_folder: Path, tmp_path: Path
) -> None:
    whole = search_folder("a dog", image_folder, model_folder=dual_folder, top=100)
    for each in whole.found:
        alone = tmp_path / "alone" / each.path.stem
        alone.mkdir(parents=True)
        (alone / each.path.name).write_bytes(each.path.read_bytes())
        (found,) = search_folder("a dog", alone, model_folder=dual_folder).found
        assert found.score == each.score


def test_an_image_finds_itself_first(image_folder: Path, dual_folder: Path) -> None:
    query = str(image_folder / "more" / "cyan.png")
    result = search_folder(query, image_folder, model_folder=dual_folder, top=2)
    assert names(result)[0] == "cyan.png"
    assert result.found[0].score == 1.0
    assert result.found[1].score < 1.0


def test_a_text_query_builds_no_vision_encoder(image_folder: Path, dual_folder: Path) -> None:
    search_folder("a dog", image_folder, model_folder=dual_folder)
    model = DualEncoder.from_pretrained(dual_folder, load_encoders=False)
    index, updater = update_folder(image_folder, TorchEmbedder(dual_folder, model))
    assert model.vision is None
    assert updater.num_encoded == 0
    assert len(index.paths()) == 8


def test_other_weights_encode_all_again_and_say_so(
    image_folder: Path, dual: DualEncoder, dual_folder: Path, tmp_path: Path
) -> None:
    first = search_folder("a dog", image_folder, model_folder=dual_folder)
    torch.manual_seed(1)
    DualEncoder(dual.config).save_pretrained(tmp_path / "other")
    told: list[str] = []
    other = search_folder(
        "a dog", image_folder, model_folder=tmp_path / "other", notify=told.append
    )
    assert other.num_encoded == 8
    assert told == ["the index is of a different model: all images are encoded again"]
    assert [each.score for each in other.found] != [each.score for each in first.found]
    dual.save_pretrained(tmp_path / "same")  # equal content at another time
    search_folder("a dog", image_folder, model_folder=dual_folder)
    again = search_folder("a dog", image_folder, model_folder=tmp_path / "same")
    assert again.num_encoded == 0
    assert again.found == first.found


def test_a_broken_index_is_built_again(image_folder: Path, dual_folder: Path) -> None:
    first = search_folder("a dog", image_folder, model_folder=dual_folder)
    place = image_folder / ".edge_glass_index"
    (place / "model.safetensors").write_bytes(b"torn")
    told: list[str] = []
    again = search_folder("a dog", image_folder, model_folder=dual_folder, notify=told.append)
    assert again.found == first.found
    assert again.num_encoded == 8
    assert "the index is built again" in told[0]


def test_the_index_can_lie_elsewhere(image_folder: Path, dual_folder: Path, tmp_path: Path) -> None:
    search_folder("a dog", image_folder, model_folder=dual_folder, index_folder=tmp_path / "index")
    assert (tmp_path / "index" / "model.safetensors").is_file()
    assert not (image_folder / ".edge_glass_index").exists()


def test_a_model_is_not_written_over_by_an_index(image_folder: Path, dual: DualEncoder) -> None:
    dual.save_pretrained(image_folder / "model")
    before = (image_folder / "model" / "model.safetensors").read_bytes()
    with pytest.raises(ValueError, match="is not an image index; choose a different folder"):
        search_folder(
            "a dog",
            image_folder,
            model_folder=image_folder / "model",
            index_folder=image_folder / "model",
        )
    assert (image_folder / "model" / "model.safetensors").read_bytes() == before


def test_every_existing_file_is_an_image_query(
    image_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(image_folder)
    Path("dog").write_bytes(Path("red.png").read_bytes())
    Path("a red car.png").write_bytes(Path("red.png").read_bytes())
    assert query_image_path("red.png") == Path("red.png")
    assert query_image_path("a red car.png") == Path("a red car.png")
    assert query_image_path("./dog") == Path("dog")
    assert query_image_path("dog") == Path("dog")
    for text in ("cat", "a red car", "cats/dogs", "a file called photo", "word " * 9000):
        assert query_image_path(text) is None
    with pytest.raises(FileNotFoundError, match=r"rd\.png: no such image"):
        query_image_path("rd.png")
    with pytest.raises(FileNotFoundError, match=r"my photo\.HEIC: no such image"):
        query_image_path("my photo.HEIC")


def test_a_link_to_itself_is_named(image_folder: Path) -> None:
    link = image_folder / "loop.jpg"
    link.symlink_to(link)
    with pytest.raises(ValueError, match=r"loop\.jpg: a link that leads back to itself"):
        search_folder(str(link), image_folder, model_folder=image_folder / "model")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query": "  "}, "the query is empty"),
        ({"query": "a dog \udcff"}, r"the query a dog \\xff is not UTF-8"),
        ({"top": 0}, "top is 0, expected at least 1"),
        ({"dim": 5}, r"dim is 5, expected one that the model was trained at: \[24, 8, 4\]"),
        ({"folder": Path("nowhere")}, "nowhere: no such folder"),
        ({"model_folder": Path("nowhere")}, "so it is not a checkpoint"),
    ],
)
def test_wrong_arguments_are_named_before_any_work(
    image_folder: Path, dual_folder: Path, change: dict[str, object], message: str
) -> None:
    given = {"query": "a dog", "folder": image_folder, "model_folder": dual_folder} | change
    with pytest.raises((ValueError, OSError), match=message):
        search_folder(**given)  # type: ignore[arg-type]
    assert not (image_folder / ".edge_glass_index").exists()


def test_a_folder_without_a_readable_image_is_an_error(dual_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no readable image"):
        search_folder("a dog", tmp_path, model_folder=dual_folder)
    (tmp_path / "page.png").write_text("<html>")
    with pytest.raises(ValueError, match=r"no readable image \(of 1 found: page\.png: not an i"):
        search_folder("a dog", tmp_path, model_folder=dual_folder)
    with pytest.raises(ValueError, match=r"page\.png: not a readable image"):
        search_folder(str(tmp_path / "page.png"), tmp_path, model_folder=dual_folder)


def test_sheets_of_text_and_image(image_folder: Path, dual_folder: Path, tmp_path: Path) -> None:
    for name, query in (("text.png", "a dog"), ("image.png", str(image_folder / "red.png"))):
        result = search_folder(query, image_folder, model_folder=dual_folder)
        draw_search(tmp_path / name, query, image_folder, result)
        with Image.open(tmp_path / name) as sheet:
            assert sheet.width > 900


def test_an_existing_file_is_an_image_or_an_error(
    image_folder: Path, dual_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(image_folder)
    Path("IMG_0001.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + bytes(64))
    Path("notes").write_text("a dog")
    for query in ("IMG_0001.HEIC", "notes"):
        with pytest.raises(ValueError, match=f"{query}: not a readable image"):
            search_folder(query, image_folder, model_folder=dual_folder)
    result = search_folder("a dog", image_folder, model_folder=dual_folder)
    assert list(result.left_out) == ["IMG_0001.HEIC"]


def test_links_without_an_end_are_left_out_and_the_rest_is_searched(
    image_folder: Path, dual_folder: Path
) -> None:
    (image_folder / "loop.jpg").symlink_to("loop.jpg")
    result = search_folder("a dog", image_folder, model_folder=dual_folder)
    assert result.num_images == 8
    assert result.left_out == {"loop.jpg": "a link that leads back to itself"}


def test_an_index_that_can_not_be_saved_is_reported_and_the_search_answers(
    image_folder: Path, dual_folder: Path, tmp_path: Path
) -> None:
    expected = search_folder("a dog", image_folder, model_folder=dual_folder)
    (tmp_path / "file").touch()
    reported: list[str] = []
    result = search_folder(
        "a dog",
        image_folder,
        model_folder=dual_folder,
        index_folder=tmp_path / "file" / "index",
        notify=reported.append,
    )
    assert result.found == expected.found
    (message,) = reported
    assert message.startswith("the index is not saved, the next search encodes again: ")


def test_an_unknown_runtime_or_precision_is_refused(image_folder: Path, dual_folder: Path) -> None:
    with pytest.raises(ValueError, match="runtime is tvm, expected one of torch, onnx"):
        search_folder("a", image_folder, model_folder=dual_folder, runtime="tvm")
    with pytest.raises(ValueError, match="precision is int4, expected one of"):
        search_folder("a", image_folder, model_folder=dual_folder, precision="int4")

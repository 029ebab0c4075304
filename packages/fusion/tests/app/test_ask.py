"""Questions about image files: one by one, in a chat, and what can be wrong with them."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from edge_glass.decoders.sampling import Sampling
from edge_glass.fusion.app.ask import (
    Chat,
    ask_image,
    describe_image,
    load_model,
    run_chat,
)
from edge_glass.fusion.app.image_file import read_image
from edge_glass.fusion.generation import stream_answer

QUESTIONS = ["how many dogs are there?", "where is the cat?", "what colour is it?", "what?"]


def noise(path: Path, seed: int) -> Path:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (40, 50, 3), generator=generator, dtype=torch.uint8)
    Image.fromarray(pixels.numpy()).save(path)
    return path


def asked(path: Path, questions: list[str], folder: Path) -> list[str]:
    return ["".join(pieces) for pieces in ask_image(path, questions, folder)]


def test_a_chat_says_what_ask_says(vlm_folder: Path, tmp_path: Path) -> None:
    first, second = noise(tmp_path / "1.png", 1), noise(tmp_path / "my 2.png", 2)
    shown: list[str] = []
    lines = [
        *QUESTIONS[:2],
        "",
        f"/image {second}\n",
        "  what colour is it? \n",
        "/quit",
        "what?",
    ]
    run_chat(Chat(load_model(vlm_folder), first), lines, shown.append)
    expected = asked(first, QUESTIONS[:2], vlm_folder)
    expected += asked(second, [QUESTIONS[2]], vlm_folder)
    assert shown == expected
    assert len(set(shown)) > 1


def test_an_error_ends_a_script_and_not_a_conversation(vlm_folder: Path, tmp_path: Path) -> None:
    image = noise(tmp_path / "1.png", 1)
    chat = Chat(load_model(vlm_folder), image)
    lines = [
        "/image nowhere.png",
        "/sing",
        "/image",
        "what " * 80,
        "/image ~no_user/a.png",
        "what \udcff",
        "what?",
    ]
    shown: list[str] = []
    errors: list[str] = []
    run_chat(chat, lines, shown.append, errors.append)
    assert shown == asked(image, ["what?"], vlm_folder)  # the old image stays
    assert [error.split(":")[0] for error in errors[:2]] == [
        "nowhere.png",
        "/sing is not a command; use /new, /image FILE or /quit",
    ]
    assert "/image needs a file" in errors[2]
    assert "positions, but max_positions is 64; shorten the text" in errors[3]
    assert errors[4].startswith("~no_user/a.png: no such image")
    assert errors[5] == r"what \xff: not UTF-8; write the text in UTF-8"
    with pytest.raises(FileNotFoundError, match="no such image"):
        run_chat(chat, lines, shown.append)
    assert len(shown) == 1


def test_a_chat_keeps_its_history_until_it_is_cleared(vlm_folder: Path, tmp_path: Path) -> None:
    model, image = load_model(vlm_folder), noise(tmp_path / "1.png", 1)
    sampling = Sampling(temperature=4.0, seed=1)
    chat = Chat(model, image, sampling, keep_history=True)
    pieces: list[str] = []
    first = chat.reply(QUESTIONS[0])
    second = chat.reply(QUESTIONS[2], pieces.append)
    assert chat.history == [QUESTIONS[0], first, QUESTIONS[2], second]
    assert "".join(pieces) == second
    assert len(pieces) > 1

    def answered(number: int, *history: str) -> str:
        return "".join(
            stream_answer(
                model, chat.features, QUESTIONS[2], history, sampling=sampling, example=number
            )
        )

    assert second == answered(1, QUESTIONS[0], first or "") != answered(1)
    assert chat.reply("/new") is None
    assert chat.reply(QUESTIONS[2]) == answered(2)
    with pytest.raises(ValueError, match="or begin a new conversation with /new"):
        chat.reply("what " * 58)
    assert chat.reply(f"/image {image}") is None
    assert chat.reply(QUESTIONS[2]) == answered(3)
    assert not Chat(model, image).keeps_history  # it was not trained on conversations


def test_an_answer_ends_at_its_limits(vlm_folder: Path, tmp_path: Path) -> None:
    model, image = load_model(vlm_folder), noise(tmp_path / "1.png", 1)
    features = model.encode([read_image(image)] * 2)

    def answers(**options: Any) -> list[str]:
        sampling = Sampling(temperature=2.0, **options)
        asked = model.answer_features(features, QUESTIONS[:2], sampling=sampling)
        pieces = stream_answer(model, features[:1], QUESTIONS[0], sampling=sampling)
        assert asked[0] == "".join(pieces)
        return asked

    whole, longer = answers(), answers(max_new_tokens=20)
    # special tokens are not shown, so an answer may have fewer words than tokens
    assert answers(max_new_tokens=2)[0] == " ".join(whole[0].split()[:2])
    assert max(len(each.split()) for each in longer) > 6  # the limit in the model's config
    word = whole[0].split()[2]
    assert answers(stop=(word,)) == [each.split(word)[0].strip() for each in whole]


def test_a_model_that_learned_to_describe_describes(vlm_folder: Path, tmp_path: Path) -> None:
    image = noise(tmp_path / "1.png", 1)
    with pytest.raises(ValueError, match="did not learn to describe images; train it with"):
        list(describe_image(image, vlm_folder))
    folder = tmp_path / "model"
    shutil.copytree(vlm_folder, folder)
    config = json.loads((folder / "config.json").read_text())
    config["max_description_tokens"] = 20
    (folder / "config.json").write_text(json.dumps(config))
    sampling = Sampling(temperature=2.0)
    text, other = ("".join(describe_image(image, folder, words, sampling)) for words in (None, 12))
    model = load_model(folder)
    longer = replace(sampling, max_new_tokens=20)
    expected = model.answer([read_image(image)], ["Describe this image."], sampling=longer)
    assert text == expected[0] != other


def test_an_image_is_read_upright_as_rgb(tmp_path: Path) -> None:
    image = Image.new("L", (30, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    image.save(tmp_path / "turned.jpg", exif=exif)
    read = read_image(tmp_path / "turned.jpg")
    assert (read.size, read.mode) == ((20, 30), "RGB")


def test_a_broken_image_is_named(tmp_path: Path) -> None:
    whole = noise(tmp_path / "whole.png", 1).read_bytes()
    for name, content in (("cut.png", whole[:500]), ("empty.png", b""), ("page.png", b"<html>")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"{name}: not a readable image"):
            read_image(tmp_path / name)


def test_a_path_that_cannot_be_read_is_one_line_in_words(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to("a.png")
    for name, reason in (
        ("a.png", "a link that leads back to itself"),
        ("x" * 300, r"can't be read \(File name too long\)"),
        (".", r"can't be read \(Is a directory\)"),
    ):
        with pytest.raises(OSError, match=f": {reason}$"):
            read_image(tmp_path / name)


def test_what_is_asked_is_checked_before_the_model_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="question 2 of 2 is empty"):
        asked(tmp_path / "nowhere.png", ["what?", " "], tmp_path)
    with pytest.raises(FileNotFoundError, match="no such image"):
        asked(tmp_path / "nowhere.png", ["what?"], tmp_path)


def test_a_folder_that_is_no_model_is_named(
    vlm_folder: Path, dual_folder: Path, tmp_path: Path
) -> None:
    image = noise(tmp_path / "1.png", 1)
    with pytest.raises(ValueError, match=f"{tmp_path} is not a checkpoint"):
        asked(image, ["what?"], tmp_path)
    with pytest.raises(ValueError, match="format is None, expected 'edge-glass-vlm/2'"):
        asked(image, ["what?"], dual_folder)
    partly = tmp_path / "partly"
    partly.mkdir()
    for name in ("config.json", "model.safetensors"):
        (partly / name).write_bytes((vlm_folder / name).read_bytes())
    with pytest.raises(ValueError, match=r"tokenizer\.json does not exist; copy the model's whole"):
        asked(image, ["what?"], partly)
    config = (vlm_folder / "config.json").read_text()
    (partly / "tokenizer.json").write_bytes((vlm_folder / "tokenizer.json").read_bytes())
    (partly / "config.json").write_text(config.replace('"grid"', '"grit"'))
    with pytest.raises(ValueError, match=r"missing \['grid'\], unknown \['grit'\]"):
        asked(image, ["what?"], partly)

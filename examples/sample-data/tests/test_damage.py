import io
from collections import Counter
from typing import Any

import pytest
from damage import (
    ANSWER_DAMAGE,
    CAPTION_DAMAGE,
    SCENE_DAMAGE,
    assign,
    damage_captions,
    damage_questions,
)
from pictures import encode
from PIL import Image

PICTURE = encode(Image.linear_gradient("L").resize((64, 64)).convert("RGB"), 80)


def condition(row: dict[str, Any]) -> str:
    """What an honest reader finds wrong with a picture."""
    try:
        picture = Image.open(io.BytesIO(row["image"]["bytes"]))
        picture.load()
    except OSError as error:
        return "truncated" if "truncated" in str(error) else "html"
    return "aspect" if picture.width > 10 * picture.height else "sound"


def caption_rows(count: int) -> list[dict[str, Any]]:
    return [
        {
            "image_url": f"u{index}",
            "caption": "text",
            "image": {"bytes": PICTURE, "path": "p"},
        }
        for index in range(count)
    ]


def question_rows(scenes: int) -> list[dict[str, Any]]:
    return [
        {
            "image_url": f"u{scene}",
            "question": f"q{number}",
            "answer": "a",
            "messages": [f"q{number}", "a"],
            "image": {"bytes": PICTURE, "path": "p"},
        }
        for scene in range(scenes)
        for number in range(5)
    ]


@pytest.mark.parametrize("split", ["train", "val_concept", "test_concept"])
def test_captions_lose_as_many_rows_as_stated(split: str) -> None:
    rows = caption_rows(200)
    damage_captions(rows, split, seed=0)
    found = Counter(map(condition, rows))
    found["empty"] = sum(row["caption"] == "" for row in rows)
    found["blank"] = sum(row["caption"].isspace() for row in rows)
    expected = CAPTION_DAMAGE.get(split, {})
    assert {kind: found[kind] for kind in expected} == expected
    # No row is broken in two ways.
    assert found["sound"] - found["empty"] - found["blank"] == 200 - sum(expected.values())


@pytest.mark.parametrize("split", ["train", "val_scene", "test_scene"])
def test_questions_lose_as_many_rows_as_stated(split: str) -> None:
    rows = question_rows(100)
    damage_questions(rows, split, seed=0)
    found = Counter(map(condition, rows))
    for kind, scenes in SCENE_DAMAGE.get(split, {}).items():
        assert found[kind] == 5 * scenes
    expected = ANSWER_DAMAGE.get(split, {})
    assert sum(row["answer"] == "" for row in rows) == expected.get("empty", 0)
    assert sum(row["answer"].isspace() for row in rows) == expected.get("blank", 0)
    for row in rows:
        assert row["messages"] == [row["question"], row["answer"]]
        # A row is broken in one way only.
        assert condition(row) == "sound" or row["answer"] == "a"


def test_which_rows_break_does_not_depend_on_their_order() -> None:
    keys = [str(index) for index in range(50)]
    damage = {"empty": 3, "html": 2}
    assert assign(keys, damage, 0) == assign(keys[::-1], damage, 0)
    assert assign(keys, damage, 0) != assign(keys, damage, 1)


def test_more_damage_than_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="3 rows to break among 2"):
        assign(["a", "b"], {"empty": 3})

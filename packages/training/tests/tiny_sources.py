"""Tiny sources of every format that `import` reads, as their authors write them; one reader."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from edge_glass.training.ingest.detection import READERS, find_format
from edge_glass.training.ingest.reading.records import Drop, Record
from edge_glass.training.ingest.reading.source import Source
from edge_glass.training.parquet.schemas import IMAGE
from tiny_pixmo import COLOURS, picture

NAMES = [f"{colour}.png" for colour in COLOURS]
QUESTION = "what colour is it?"


def read(root: Path, **options: Any) -> tuple[list[Record], list[Drop]]:
    """Returns what the reader of the format that is found makes of a source."""
    source = Source(path=root, **options)
    found = list(READERS[find_format(source)[0]](source))
    records = [each for each in found if isinstance(each, Record)]
    return records, [each for each in found if isinstance(each, Drop)]


def write_images(folder: Path, number: int = 0, names: list[str] = NAMES) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(picture(Path(name).stem.rpartition("_")[2], number))


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1))


def write_lines(path: Path, rows: list[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def table(root: Path) -> None:
    write_images(root / "images")
    with (root / "captions.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "title"])
        writer.writerows([f"images/{name}", f"a {name[:-4]} disc, round"] for name in NAMES)


def pairs(root: Path) -> None:
    write_images(root)
    for name in NAMES:
        (root / name).with_suffix(".txt").write_text(f"a {name[:-4]} disc\n")


def imagefolder(root: Path) -> None:
    for number, split in enumerate(("train", "validation")):
        write_images(root / split, number)
        rows = [{"file_name": name, "text": f"a {name[:-4]} disc"} for name in NAMES]
        write_lines(root / split / "metadata.jsonl", rows)


def image_cells(number: int = 0) -> pa.Array:
    cells = [{"bytes": picture(colour, number), "path": f"{colour}.png"} for colour in COLOURS]
    return pa.array(cells, IMAGE)


def parquet(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    texts = pa.array([f"a {colour} disc" for colour in COLOURS])
    pq.write_table(pa.table({"image": image_cells(), "text": texts}), root / "0.parquet")


def raw_questions(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    columns = {
        "image_bytes": pa.array([picture(colour, 0) for colour in COLOURS], pa.large_binary()),
        "question": pa.array(["[USER] what colour is it?"] * len(COLOURS)),
        "answer": pa.array([f"[ASSISTANT] {colour}" for colour in COLOURS]),
        "source": pa.array(["colours"] * len(COLOURS)).dictionary_encode(),
    }
    pq.write_table(pa.table(columns), root / "qa.parquet", row_group_size=3)


def llava(root: Path) -> None:
    write_images(root / "images")
    rows = [
        {
            "id": colour,
            "image": f"{colour}.png",
            "conversations": [
                {"from": "human", "value": "<image>\nwhat colour is it?"},
                {"from": "gpt", "value": colour},
                {"from": "human", "value": "is it a disc?"},
                {"from": "gpt", "value": "yes"},
            ],
        }
        for colour in COLOURS
    ]
    write_json(root / "llava.json", rows)


def messages(root: Path) -> None:
    write_images(root / "images")
    rows = [
        {
            "messages": [
                {"role": "system", "content": "be brief"},
                {"role": "user", "content": "<image>what colour is it?"},
                {"role": "assistant", "content": colour},
            ],
            "images": [f"images/{colour}.png"],
        }
        for colour in COLOURS[:4]
    ]
    rows += [
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "image", "image": f"images/{colour}.png"},
                        {"type": "text", "text": "what colour is it?"},
                    ],
                },
                {"role": "assistant", "content": [{"type": "text", "text": colour}]},
            ]
        }
        for colour in COLOURS[4:]
    ]
    write_lines(root / "data.jsonl", rows)


def coco(root: Path) -> None:
    for place, split in enumerate(("train2014", "val2014")):
        names = [f"COCO_{split}_{n:012d}.png" for n in range(4)]
        folder = root / split
        folder.mkdir(parents=True)
        for number, name in enumerate(names):
            (folder / name).write_bytes(picture(COLOURS[number], place))
        captions = [
            {"id": 10 * n + k, "image_id": n, "caption": f"a {COLOURS[n]} disc, take {k}"}
            for k in range(2)
            for n in range(4)
        ]
        images = [{"id": n, "file_name": name} for n, name in enumerate(names)]
        value = {"info": {"year": 2014}, "images": images, "annotations": captions}
        write_json(root / f"annotations/captions_{split}.json", value)


def karpathy(root: Path) -> None:
    write_images(root / "val2014")
    splits = ["train", "restval", "val", "test"]
    images = [
        {
            "filename": name,
            "filepath": "val2014",
            "split": splits[number % 4],
            "sentences": [{"raw": f"a {name[:-4]} disc"}, {"raw": "a disc", "tokens": ["a"]}],
        }
        for number, name in enumerate(NAMES)
    ]
    write_json(root / "dataset_coco.json", {"images": images, "dataset": "coco"})


def vqa(root: Path) -> None:
    folder = root / "train2014"
    folder.mkdir(parents=True)
    for number, colour in enumerate(COLOURS):
        (folder / f"COCO_train2014_{number:012d}.jpg").write_bytes(picture(colour, 0))
    questions = [
        {"question_id": 10 * n + k, "image_id": n, "question": text}
        for n in range(len(COLOURS))
        for k, text in enumerate(("what colour is it?", "is it a disc?"))
    ]
    write_json(
        root / "v2_OpenEnded_mscoco_train2014_questions.json",
        {"info": {}, "data_subtype": "train2014", "questions": questions},
    )
    annotations = [
        {
            "question_id": each["question_id"],
            "image_id": each["image_id"],
            "answer_type": "yes/no" if each["question_id"] % 10 else "other",
            "multiple_choice_answer": answer,
            "answers": [
                {"answer": answer if k < 8 else "dark", "answer_confidence": "yes", "answer_id": k}
                for k in range(10)
            ],
        }
        for each in reversed(questions)
        for answer in ["yes" if each["question_id"] % 10 else COLOURS[each["image_id"]]]
    ]
    write_json(root / "v2_mscoco_train2014_annotations.json", {"annotations": annotations})


def write_tar(path: Path, members: list[tuple[str, bytes]], mode: str = "w") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def webdataset(root: Path, mode: str = "w") -> None:
    suffix = ".tar.gz" if mode.endswith("gz") else ".tar"
    for shard in range(2):
        members: list[tuple[str, bytes]] = []
        for number, colour in enumerate(COLOURS[4 * shard : 4 * shard + 4]):
            key = f"{shard}/{number:04d}"
            members.append((f"{key}.png", picture(colour, 0)))
            if shard == 0:
                members.append((f"{key}.txt", f"a {colour} disc".encode()))
            else:
                row = {"caption": f"a {colour} disc", "width": 48}
                members.append((f"{key}.json", json.dumps(row).encode()))
        write_tar(root / f"{shard:05d}{suffix}", members, mode)


SVG = """<?xml version="1.0"?>
<svg xmlns="http://www.w3.org/2000/svg" width="40mm" height="20mm" viewBox="0 0 40 20"
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"
 xmlns:cc="http://web.resource.org/cc/" xmlns:dc="http://purl.org/dc/elements/1.1/">
 <metadata><rdf:RDF><cc:Work rdf:about="">
  <dc:title>a {colour} box</dc:title>
  <dc:subject><rdf:Bag><rdf:li>box</rdf:li><rdf:li>{colour}</rdf:li></rdf:Bag></dc:subject>
  <dc:creator><cc:Agent><dc:title>Somebody</dc:title></cc:Agent></dc:creator>
 </cc:Work></rdf:RDF></metadata>
 <rect width="40" height="20" fill="{colour}"/>{more}
</svg>"""


def svg(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    for colour in COLOURS:
        (root / f"{colour}.svg").write_text(SVG.format(colour=colour, more=""))


def classes(root: Path) -> None:
    for number, split in enumerate(("train", "val")):
        for name in NAMES:
            write_images(root / split / f"{name[:-4]}_disc", number, [name])


SOURCES: dict[str, Callable[[Path], None]] = {
    "table": table,
    "pairs": pairs,
    "imagefolder": imagefolder,
    "parquet": parquet,
    "llava": llava,
    "messages": messages,
    "coco": coco,
    "karpathy": karpathy,
    "vqa": vqa,
    "webdataset": webdataset,
    "svg": svg,
    "classes": classes,
}

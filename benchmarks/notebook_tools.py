"""The notebook tools on 200 notebooks of 100 cells: all patches in one run, in under 30 seconds.

Run:    python benchmarks/notebook_tools.py
Needs:  edge-glass-tools

Each notebook is cells of the kinds that real ones have: one in eight concerns a given patch, the
rest is analysis, plots, prose and magics. The files are read, patched, proven and written, and then
patched again, which must change nothing. `--dense` makes every cell one that concerns some patch.
Wall time is what a user waits, fsync of every file included; the CPU time of all processes beside
it shows whether the machine was busy otherwise.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

from edge_glass.tools.check import check_file
from edge_glass.tools.patch.batch import Job, Mode, patch_files
from edge_glass.tools.patch.collate.collate_patch import CollatePatch
from edge_glass.tools.patch.devices.devices_patch import DevicesPatch
from edge_glass.tools.patch.devices.memory_plan import parse_devices
from edge_glass.tools.patch.keywords import KeywordsPatch
from edge_glass.tools.patch.paths.paths_patch import PathsPatch
from edge_glass.tools.patch.review import review
from edge_glass.tools.patch.setup import SetupPatch
from edge_glass.tools.patch.transforms.transforms_patch import TransformsPatch

TARGET_SECONDS = 30.0

HELPERS = '''def image_pipeline(size, *, is_training):
    """Returns the image transform."""
'''
HEAD = """import matplotlib.pyplot as plt
import torch
from torch.utils.data import DataLoader
from torchvision import transforms
from helpers import image_pipeline
from mylab.language import QwenDecoder
device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
"""
CONCERNED = [
    "x{n} = torch.zeros(3, 4).cuda()\ny{n} = model(x{n}.to('cuda'))\nprint(y{n}.shape)",
    "def collate_{n}(batch):\n    texts = [row['caption'] for row in batch]\n"
    "    return {'caption': texts}\n\nloader = DataLoader(data, collate_fn=collate_{n})\n"
    "for b in loader:\n    print(b['image'])",
    "t{n} = transforms.Compose([\n    transforms.Resize((224, 224)),\n    transforms.ToTensor(),\n"
    "    transforms.Normalize([0.5, 0.5, 0.5], [0.5, 0.5, 0.5]),\n])",
    "rows{n} = read('/home/ann/project/data/train.parquet')\nprint(len(rows{n}))",
    "import torch\nimport sys\nsys.path.append('..')\nt{n} = image_pipeline(336, is_train=True)",
    "llm{n} = QwenDecoder('Qwen/Qwen2.5-0.5B-Instruct', device_map='auto')\n"
    "net{n} = torch.nn.Linear(3, 4).to(device)\n"
    "def see{n}(pixels):\n    return llm{n}(net{n}(pixels))",
]
OTHERS = [
    "%matplotlib inline\n!nvidia-smi\nscores = []",
    "for epoch in range(10):\n    total = 0.0\n    for batch in loader:\n"
    "        loss = step(batch)\n        total += float(loss)\n    scores.append(total)\n"
    "    print(f'{epoch}: {total:.3f}')",
    "fig, ax = plt.subplots(figsize=(6, 4))\nax.plot(scores, label='loss')\n"
    "ax.set_xlabel('epoch')\nax.legend()\nplt.show()",
    "best = max(enumerate(scores), key=lambda pair: pair[1])\nbest",
    "class Table:\n    def __init__(self, rows):\n        self.rows = rows\n\n"
    "    def mean(self, key):\n        return sum(r[key] for r in self.rows) / len(self.rows)",
    "summary = {name: round(value, 3) for name, value in results.items() if value > 0}\nsummary",
    "# What follows is the comparison.\nassert len(scores) == 10",
]


def make_notebooks(folder: Path, count: int, cells: int, dense: bool) -> list[Path]:
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    paths = []
    for book in range(count):
        sources = [HEAD]
        for n in range(cells - 1):
            pick = CONCERNED if dense or n % 2 == 0 else OTHERS
            sources.append(pick[(n // 2 + book) % len(pick)].replace("{n}", str(n)))
        entries = [
            {"cell_type": "code", "execution_count": n, "id": f"c{n}", "metadata": {},
             "outputs": [{"name": "stdout", "output_type": "stream", "text": ["0.123\n"] * 20}],
             "source": source.splitlines(keepends=True)}
            for n, source in enumerate(sources)
        ]  # fmt: skip
        notebook = {"cells": entries, "metadata": {"kernelspec": kernel}, "nbformat": 4,
                    "nbformat_minor": 5}  # fmt: skip
        path = folder / "notebooks" / f"{book:03}.ipynb"
        path.write_text(json.dumps(notebook, indent=1) + "\n")
        paths.append(path)
    return paths


def cpu_seconds() -> float:
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--notebooks", type=int, default=200)
    parser.add_argument("--cells", type=int, default=100)
    parser.add_argument("--dense", action="store_true", help="every cell concerns some patch")
    options = parser.parse_args()

    job = Job(
        patches=[
            PathsPatch(),
            TransformsPatch(),
            KeywordsPatch(),
            CollatePatch(),
            DevicesPatch(devices=parse_devices("cuda:0,cuda:1", "24GiB")),
            SetupPatch(),
        ],
        review=review,
    )
    seconds = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "notebooks").mkdir()
        (folder / "notebooks/helpers.py").write_text(HELPERS)
        (folder / "data").mkdir()
        (folder / "data/train.parquet").touch()
        (folder / "dvc.yaml").touch()
        paths = make_notebooks(folder, options.notebooks, options.cells, options.dense)
        size = sum(path.stat().st_size for path in paths)
        print(f"{len(paths)} notebooks of {options.cells} cells, {size / 2**20:.0f} MiB")
        for title in ("patch all", "again"):
            wall, cpu = time.perf_counter(), cpu_seconds()
            reports = list(patch_files(paths, job, Mode.WRITE))
            wall, cpu = time.perf_counter() - wall, cpu_seconds() - cpu
            changed = sum(len(report.changed_cells) for report in reports)
            failed = [report.error for report in reports if report.error]
            if failed or bool(changed) != (title == "patch all"):
                raise SystemExit(f"{title}: {changed} cells changed, failed: {failed[:1]}")
            print(f"{title:9} {wall:6.1f} s wall, {cpu:6.1f} s CPU, {changed} cells changed")
            seconds.append(wall)
        wall = time.perf_counter()
        findings = sum(len(check_file(path, max_bytes=10**9)) for path in paths)
        print(f"check     {time.perf_counter() - wall:6.1f} s wall, {findings} findings")
    verdict = "reached" if seconds[0] < TARGET_SECONDS else "MISSED"
    print(f"all patches {seconds[0]:.1f} s; target {TARGET_SECONDS:.0f} s: {verdict}")


if __name__ == "__main__":
    main()

"""Trains `vlm_qa` with other seeds and stores what its evaluation gives: python docs/seeds.py 1 2.

One seed is not a result: the README quotes the range over seeds beside the committed run. Only
`vlm_qa` gets the other seed; data, features and the aligned pooling are those of this project, so
run `dvc repro` first. Each seed works in a temporary copy and takes as long as the two stages do.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
STORED = ROOT / "docs" / "seeds" / "vlm_qa.json"
METRICS = Path("metrics") / "evaluate_vlm_qa.json"
INPUTS = ("artifacts/prepared", "artifacts/features", "models/align", "docker")
SEED = re.compile(r"^seed: (\d+)", re.MULTILINE)


def copy_project(folder: Path, seed: str) -> None:
    """Makes a project in `folder` that shares this one's inputs and differs in its seed."""
    shutil.copytree(
        ROOT / "packages", folder / "packages", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in INPUTS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(ROOT / name)
    for name in ("dvc.yaml", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    params, count = SEED.subn(f"seed: {seed}", (ROOT / "params.yaml").read_text())
    if count != 1:
        sys.exit(f"params.yaml has {count} lines `seed: NUMBER`, expected one")
    (folder / "params.yaml").write_text(params)


def run(seed: str) -> object:
    """Returns the metrics of `evaluate_vlm_qa` after training with this seed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy_project(folder, seed)
        sources = map(str, folder.glob("packages/*/src"))
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sources)}
        command = Path(sys.executable).parent / "edge-glass"
        for stage in ("vlm-qa", "evaluate-vlm-qa"):
            subprocess.run([command, stage], cwd=folder, env=environment, check=True)
        return json.loads((folder / METRICS).read_text())


def main(seeds: list[str]) -> None:
    found = SEED.search((ROOT / "params.yaml").read_text())
    if not seeds or not all(seed.isdecimal() for seed in seeds) or found is None:
        sys.exit(__doc__)
    # the committed run is stored too: it shows to which results the other seeds belong
    stored = {found[1]: json.loads((ROOT / METRICS).read_text())}
    for seed in seeds:
        stored[seed] = run(seed)
        print(f"seed {seed} done", flush=True)
    STORED.parent.mkdir(exist_ok=True)
    text = json.dumps(dict(sorted(stored.items(), key=lambda item: int(item[0]))), indent=1)
    STORED.write_text(text + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])

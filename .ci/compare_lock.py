"""Compares what the pipeline just made with the commit, and names the first difference.

`dvc.lock` holds the checksum of every output, so it equals the committed one if and only if every
byte does. Metrics and plots are in git themselves; they are compared for a better message.

    python .ci/compare_lock.py
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import yaml


def git(*arguments: str) -> str:
    # the checkout may belong to a different user (the container's), and git must not write there
    options = ["--no-optional-locks", "-c", "diff.autoRefreshIndex=false"]
    options += ["-c", f"safe.directory={Path.cwd()}"]
    command = ["git", *options, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def entries(lock: str) -> dict[str, str]:
    """Returns what each stage read and wrote, in pipeline order: description and checksum."""
    found = {}
    for name, stage in (yaml.safe_load(lock) or {}).get("stages", {}).items():
        found[f"{name}: command"] = str(stage["cmd"])
        for kind in ("deps", "params", "outs"):
            listed = stage.get(kind, [])
            if kind == "params":
                for file, values in (listed or {}).items():
                    for key, value in values.items():
                        found[f"{name}: parameter {key} of {file}"] = str(value)
                continue
            for entry in listed:
                what = "dependency" if kind == "deps" else "output"
                found[f"{name}: {what} {entry['path']}"] = str(entry.get("md5", entry.get("hash")))
    return found


def differences(expected: dict[str, str], produced: dict[str, str]) -> list[str]:
    """Prints and returns what differs, in pipeline order."""
    differ = [
        name
        for name in dict.fromkeys((*expected, *produced))
        if expected.get(name) != produced.get(name)
    ]
    for position, name in enumerate(differ):
        start = "first difference" if position == 0 else "then"
        print(f"{start}: {name}\n  committed {expected.get(name)}\n  produced {produced.get(name)}")
    return differ


def main() -> int:
    """Returns 0 if everything is equal, else 1 after it has printed what differs."""
    produced = entries(Path("dvc.lock").read_text(encoding="utf-8"))
    committed = entries(git("show", "HEAD:dvc.lock"))
    differ = differences(committed, produced)
    changed = git("status", "--porcelain", "--untracked-files=no")
    if changed:
        print(f"files in git that the pipeline changed:\n{changed}", flush=True)
        print(git("diff", "--stat"))
    if differ or changed:
        return 1
    print(f"equal to the commit: {len(committed)} entries of dvc.lock and every file in git")
    return 0


if __name__ == "__main__":
    sys.exit(main())

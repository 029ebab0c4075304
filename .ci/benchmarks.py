"""Runs benchmark scripts one after the other; without arguments, all of `benchmarks/`.

python .ci/benchmarks.py benchmarks/SCRIPT.py
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def main(scripts: list[str]) -> int:
    """Returns how many scripts failed."""
    failures = 0
    for script in scripts or sorted(map(str, Path("benchmarks").glob("[a-z]*.py"))):
        print(f"--- {script}", flush=True)
        failures += subprocess.run([sys.executable, script], check=False).returncode != 0
    return failures


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Runs the fast tests of all packages, those of the repository, and mypy: one process per suite.

python .ci/suites.py              all suites, as many at once as there are cores, four at most
python .ci/suites.py types repo   these only
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

# no cache: suites that run at once would write the same folder
PYTEST = ("-m", "pytest", "-p", "no:cacheprovider", "--quiet")
SOURCES = tuple(map(str, sorted(Path("packages").glob("*/src"))))
# the longest first, so that none of them is left to run alone at the end
SUITES = {
    "training": (*PYTEST, "packages/training/tests"),
    "fusion": (*PYTEST, "packages/fusion/tests"),
    "encoders": (*PYTEST, "packages/encoders/tests"),
    "repo": (*PYTEST, "tests", "examples"),
    "decoders": (*PYTEST, "packages/decoders/tests"),
    "types": ("-m", "mypy", "--strict", *SOURCES),
    "tools": (*PYTEST, "packages/tools/tests"),
}


def run(name: str) -> tuple[str, int, str, float]:
    """Returns the suite's name, exit status, output and seconds."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *SUITES[name]],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    return name, done.returncode, done.stdout, time.perf_counter() - start


def main(names: list[str]) -> int:
    """Returns 1 if a suite failed, 2 if a name is unknown."""
    if unknown := set(names) - set(SUITES):
        print(f"no suite {', '.join(sorted(unknown))}; there are {', '.join(SUITES)}")
        return 2
    failed = []
    with ThreadPoolExecutor(max_workers=min(4, len(os.sched_getaffinity(0)))) as pool:
        for future in as_completed([pool.submit(run, name) for name in names or SUITES]):
            name, status, output, seconds = future.result()
            print(f"--- {name}: status {status}, {seconds:.0f} s\n{output}", flush=True)
            if status != 0:
                failed.append(name)
    print(f"failed: {', '.join(failed)}" if failed else "all suites passed")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

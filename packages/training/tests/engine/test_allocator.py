"""Freed memory is kept, and a user's own settings of malloc are respected."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

# how many pages eight blocks of 64 MiB take anew, each when the one before it has been freed
SCRIPT = """
import resource
from edge_glass.training.engine.allocator import keep_freed_memory
kept = {call}
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
before = faults()
for _ in range(8):
    b"x" * 2**26
print(kept, faults() - before)
"""


def pages(call: str, **settings: str) -> tuple[str, int]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(call=call)],
        capture_output=True, text=True, check=True, env={**os.environ, **settings},
    )  # fmt: skip
    kept, faults = done.stdout.split()
    return kept, int(faults)


@pytest.mark.skipif(sys.platform != "linux", reason="malloc of glibc")
def test_a_block_takes_the_pages_of_an_earlier_one() -> None:
    kept, faults = pages("keep_freed_memory()")
    assert kept == "True"
    assert faults < 0.25 * pages("None")[1]  # only the first block is new


def test_a_users_own_setting_stays() -> None:
    assert pages("keep_freed_memory()", MALLOC_TOP_PAD_="131072")[0] == "False"

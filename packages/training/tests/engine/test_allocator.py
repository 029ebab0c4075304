"""Freed memory is kept, and a user's own settings of malloc are respected."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest

from edge_glass.training.engine.allocator import USERS_CHOICE

pytestmark = pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library has no mallopt"
)

# prints how many new pages eight times three blocks of 24 MiB take, each time after all were freed
SCRIPT = """
import resource
from edge_glass.training.engine.allocator import keep_freed_memory
kept = {call}
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
before = faults()
for _ in range(8):
    [b"x" * (24 << 20) for _ in range(3)]
print(kept, faults() - before)
"""


def pages(call: str, **settings: str) -> tuple[str, int]:
    others = {name: value for name, value in os.environ.items() if name not in USERS_CHOICE}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(call=call)],
        capture_output=True, text=True, check=True, env=others | settings,
    )  # fmt: skip
    kept, faults = done.stdout.split()
    return kept, int(faults)


def test_blocks_take_the_pages_of_earlier_ones() -> None:
    kept, faults = pages("keep_freed_memory()")
    assert kept == "True"
    assert faults < 0.25 * pages("None")[1]  # only the first three are new


@pytest.mark.parametrize(
    "setting", ["MALLOC_TOP_PAD_=131072", "GLIBC_TUNABLES=glibc.malloc.perturb=1"]
)
def test_a_users_own_setting_stays(setting: str) -> None:
    name, _, value = setting.partition("=")
    assert pages("keep_freed_memory()", **{name: value})[0] == "False"

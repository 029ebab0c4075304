from __future__ import annotations

import subprocess
import sys

from edge_glass.decoders.causal_lm_config import CausalLmConfig
from edge_glass.decoders.tables import DECODERS
from edge_glass.decoders.trm import TinyRecursiveConfig


def test_names() -> None:
    assert {"trm", "causal_lm", "qwen2_5_tiny", "qwen2_5_7b", "smollm2_135m"} <= set(DECODERS)
    assert DECODERS["trm"] is TinyRecursiveConfig
    assert {config for name, config in DECODERS.items() if name != "trm"} == {CausalLmConfig}


def test_heavy_libraries_wait_until_they_are_needed() -> None:
    code = (
        "import sys, edge_glass.decoders\n"
        "print('torch' in sys.modules)\n"
        "import edge_glass.decoders.tables, edge_glass.decoders.sampling\n"
        "heavy = ('transformers', 'peft', 'bitsandbytes', 'tokenizers')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert found.split("\n") == ["False", "[]", ""]

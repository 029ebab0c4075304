"""Lets tests import the modules beside them, such as `corpus_cases`."""

from __future__ import annotations

import sys
from pathlib import Path

# Import mode "importlib" leaves sys.path alone, because two packages may both have test_base.py.
sys.path.insert(0, str(Path(__file__).parent))

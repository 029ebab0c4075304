"""The builder is a folder of scripts: its modules are found as a script finds them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

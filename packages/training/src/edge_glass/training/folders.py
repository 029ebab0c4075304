"""Where the stages write, seen from the project's folder; `dvc.yaml` names the same places."""

from __future__ import annotations

from pathlib import Path

PREPARED = Path("artifacts/prepared")
FEATURES = Path("artifacts/features")
STATE = Path("artifacts/state")
ALIGNED = Path("models/align")
VLM = Path("models/vlm_qa")

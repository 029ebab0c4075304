"""Where the stages write, relative to the project's folder; `dvc.yaml` names the same paths."""

from __future__ import annotations

from pathlib import Path

PREPARED = Path("artifacts/prepared")
FEATURES = Path("artifacts/features")
STATE = Path("artifacts/state")
TOKENS = Path("artifacts/tokens")  # not an output of a stage: made again if missing
ALIGNED = Path("models/align")
VLM = Path("models/vlm_qa")

LOGS = Path("logs")  # what differs from machine to machine: no stage has it as an output

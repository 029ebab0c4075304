"""Where the stages write, seen from the project's folder; `dvc.yaml` names the same places."""

from __future__ import annotations

from pathlib import Path

PREPARED = Path("artifacts/prepared")
FEATURES = Path("artifacts/features")
STATE = Path("artifacts/state")
ALIGNED = Path("models/align")
VLM = Path("models/vlm_qa")

LOGS = Path("logs")  # beside the pipeline: what differs from machine to machine is no output
CHAIN = "chain.json"  # of hashes, in the folder of a stage that trains: an output
CERTIFICATE = "certificate.json"  # the chain with the machine's facts, in `LOGS / stage`

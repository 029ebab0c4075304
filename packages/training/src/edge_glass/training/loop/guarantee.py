"""Which level of reproducibility tests prove for a training run; see docs/reproducibility.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_glass.training.params import Params


UP_TO_R3 = "R0 to R3 (the same bytes again, on this model of CPU)"
UP_TO_R4 = "R0 to R4 (the same bytes again, on any x86-64 CPU with AVX2)"
UP_TO_R1 = "R0 and R1 (the same bytes again, in this number of processes on this model of CPU)"
WITH_LIVE = "R0 and R2 (the bytes of cached features, on this model of CPU): features is live"
NONE = "no level"


def proven_level(params: Params, stage: str) -> str:
    """Returns the levels that tests prove for this configuration, and why not more.

    The text is part of `chain.json`, an output of the stage.
    """
    if params.device != "cpu":
        return f"{NONE} on a GPU; docs/reproducibility.md has what was tried there"
    if stage == "vlm_qa" and params.launch.name == "ddp":
        return f"{NONE}: DistributedDataParallel adds in its own order"
    if stage == "vlm_qa" and params.launch.name == "deepspeed_zero2":
        return UP_TO_R1
    if stage == "vlm_qa" and params.vlm_qa.uses_captions:
        return UP_TO_R1
    quantization = getattr(params.decoder.config, "quantization", "none")
    if stage == "vlm_qa" and quantization == "8bit":
        return f"{NONE}: no test holds the bytes of a decoder in 8 bit"
    if stage == "vlm_qa" and quantization == "4bit":
        return UP_TO_R1
    if params.features == "live":
        return WITH_LIVE
    if params.reproducibility == "native":
        return f"{UP_TO_R3}; reproducibility: portable gives R4"
    if stage == "align" and params.align.augmentation is not None:
        return f"{UP_TO_R3}: with augmentation, encoding is part of training"
    return UP_TO_R4

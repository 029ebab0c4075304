"""The bytes that the stages write, and DVC's copy of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge_glass.training.features.cache import FeatureIndex
from edge_glass.training.features.shards import shard_bytes, shard_sizes
from edge_glass.training.plan.need import ADAM, BEST, Need
from edge_glass.training.plan.workload import TEXTS_PER_IMAGE, Workload

if TYPE_CHECKING:
    from edge_glass.training.params import Params


@dataclass(frozen=True, kw_only=True)
class Disk:
    """What a stage writes.

    Attributes:
        outputs: bytes that DVC copies into its cache, unless the file system has reflinks.
        state: bytes from which a run resumes, which DVC does not copy.
    """

    outputs: int = 0
    state: int = 0

    def needed(self) -> int:
        """Returns the bytes with DVC's copy."""
        return 2 * self.outputs + self.state


def disk_needs(
    params: Params, index: FeatureIndex, work: Workload, needs: dict[str, Need]
) -> dict[str, Disk]:
    """Returns what each stage writes; `prepare` copies the images."""
    kept = 1 + ADAM + BEST + bool(params.vlm_qa.ema_decay)
    trained = {stage: need.trained for stage, need in needs.items()}
    return {
        "prepare": Disk(outputs=work.data_bytes),
        "encode": Disk(outputs=feature_bytes(params, index, work)),
        # the best weights and the last ones
        "align": Disk(outputs=2 * trained["align"], state=(1 + ADAM + BEST) * trained["align"]),
        "vlm_qa": Disk(outputs=trained["vlm_qa"], state=kept * trained["vlm_qa"]),
    }


def feature_bytes(params: Params, index: FeatureIndex, work: Workload) -> int:
    """Returns the size of the feature cache: images x patches x width, and a vector per text."""
    config, total = params.encode, 0
    if params.features == "cache":
        for kind, number in work.encoded(index.image_sizes).items():
            shape = (math.prod(index.grids[kind]), index.vision_width)
            total += sum(
                shard_bytes((rows, *shape), config.dtype)
                for rows in shard_sizes(number, config.rows_per_shard)
            )
    texts = work.captions * TEXTS_PER_IMAGE
    return total + texts * index.text_width * np.dtype(np.float32).itemsize

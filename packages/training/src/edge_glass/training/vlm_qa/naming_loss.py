"""A loss that names what the patches of an image show, from the words of its answers alone.

Which patch shows an object is not known. A name's score in an image is therefore its largest over
the patches, as in multiple-instance learning (Ilse et al. 2018, arXiv:1802.04712, section 2.1). For
each name in an image's answers the loss is the cross entropy of its score against those of all
names that neither the answers nor the questions about the image have: those may be there too.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from edge_glass.fusion.patch_readings import PatchReadings

NOT_COUNTED = -1e9  # not infinity, whose gradient is NaN if an image has all names


def naming_loss(
    readings: PatchReadings,
    patches: Float[Tensor, "B P d"],
    input_ids: Int[Tensor, "B T"],
    labels: Int[Tensor, "B T"],
) -> Float[Tensor, ""]:
    """Returns the summed loss of the names in the answers about each image.

    Args:
        readings: the names.
        patches: unit vectors of an image's patches.
        input_ids: questions and answers.
        labels: the tokens of answers, negative elsewhere.
    """
    scores = readings.scores(patches).float().amax(dim=1)  # (B, K)
    names = readings.token_ids
    asked = (input_ids[:, :, None] == names).any(dim=1)  # (B, K)
    answered = (labels[:, :, None] == names).any(dim=1)
    others = scores.masked_fill(asked | answered, NOT_COUNTED).logsumexp(dim=1, keepdim=True)
    losses = torch.logaddexp(scores, others) - scores
    return losses.masked_fill(~answered, 0.0).sum()

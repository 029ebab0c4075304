"""Placeholders: one image that many different links return, such as a card "not available".

Many sites answer for a deleted image with a card instead of 404. Each link looks fine alone; what
gives the card away is that different links return the same bytes. They are found when all images
are done, so they do not depend on the order of arrival.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge_glass.training.fetch.ledger import CODES, Ledger

KEPT = (CODES["ok"], CODES["placeholder"])


@dataclass(frozen=True, kw_only=True)
class Placeholder:
    """One image behind many links.

    Attributes:
        sha256: of its bytes, hex.
        images: the numbers of the links, in input order.
        dropped: how many of them have lost it.
    """

    sha256: str
    images: list[int]
    dropped: int


def find_placeholders(ledger: Ledger, links: int) -> list[Placeholder]:
    """Returns the images that at least `links` links return, those of most links first."""
    images = np.flatnonzero(np.isin(ledger.status, KEPT))
    hashes = np.zeros(len(images), "S64")
    for place, image in enumerate(images.tolist()):
        record = ledger.last_record(image)
        assert record is not None
        hashes[place] = record["sha256"]
    names, inverse, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    found = []
    for number in np.flatnonzero(counts >= links).tolist():
        same = images[inverse == number]
        dropped = int((ledger.status[same] == CODES["placeholder"]).sum())
        sha256 = names[number].decode()
        found.append(Placeholder(sha256=sha256, images=same.tolist(), dropped=dropped))
    return sorted(found, key=lambda each: (-len(each.images), each.sha256))
